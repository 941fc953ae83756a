"""The folder that an attempt has for itself: how much is in it, and its end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def size_bytes(folder: Path) -> int:
    """What the files in a flat folder take on the disk; it may change while we look."""
    total = 0
    # The child may take a file, or the folder itself, away: that is judged at its end.
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def remove(folder: Path) -> None:
    """Remove the folder with all in it, whatever a child made of the permissions.

    Raises OSError for what cannot be removed all the same.
    """
    if folder.exists():
        shutil.rmtree(folder, onerror=_make_removable)


def _make_removable(_remove: Callable[[str], object], name: str, _why: object) -> None:
    entry = Path(name)
    if not entry.parent.exists():
        return
    entry.parent.chmod(0o700)
    if entry.is_dir() and not entry.is_symlink():
        entry.chmod(0o700)
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
