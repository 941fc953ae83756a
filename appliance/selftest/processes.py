"""Processes as /proc tells of them: who is below whom, and which is a nursery."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

NURSERY = "appliance.processors.nursery"
"""The module that a nursery runs; a child, forked from it, has the same words."""


@dataclass(frozen=True)
class Relative:
    """A process below the server: a nursery, or a child in it."""

    pid: int
    parent_pid: int
    job_type: str


def kill(pid: int, *, parent_pid: int | None = None) -> bool:
    """SIGKILL, unless the process is gone, or its parent is another one: then it is a stranger
    with an old number. Whether it was sent."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if parent_pid is not None and _stat(pid)[1:2] != [str(parent_pid)]:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def children_of(pid: int) -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found |= {int(child) for child in (thread / "children").read_text().split()}
    return found


def _stat(pid: int) -> list[str]:
    """From the state on; empty when the process is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _words(pid: int) -> list[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def job_type(pid: int) -> str | None:
    """Of a nursery: the word after the module's name."""
    words = _words(pid)
    if NURSERY not in words:
        return None
    return words[words.index(NURSERY) + 1]


def is_nursery_or_child(pid: int) -> bool:
    """Still there, and not a stranger that has been given the number meanwhile."""
    return _stat(pid)[:1] not in ([], ["Z"]) and job_type(pid) is not None
