"""Directories whose names survive a power cut: a name is durable when its directory was synced."""

from __future__ import annotations

import os
from pathlib import Path


def make_directory(path: Path, *, mode: int = 0o750) -> None:
    """Make it and its parents where they are missing. Raises OSError."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True, mode=mode)
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
