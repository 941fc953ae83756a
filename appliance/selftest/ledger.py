"""What the clients were promised: their own record, outside of every process that is killed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Entry:
    """A file that was answered 202."""

    job_id: str
    filename: str
    size_bytes: int
    sha256: str
    seen: Any = None
    """The result as it was first seen: attempt and files of the COMPLETED job."""


@dataclass
class Ledger:
    entries: dict[str, Entry] = field(default_factory=dict)
    """By job id."""
    refused: int = 0
    """Answered 503 or 507: nothing was promised."""
    broken_off: int = 0
    """Not answered: nothing was promised, and the job may be there or not."""
    unexpected: list[str] = field(default_factory=list)
    """Any other answer, in a line each: good files get none."""

    def acknowledge(self, job_id: str, filename: str, content: bytes) -> Entry:
        digest = hashlib.sha256(content).hexdigest()
        entry = Entry(job_id, filename, len(content), digest)
        self.entries[job_id] = entry
        return entry

    def add(self, other: Ledger) -> None:
        self.entries |= other.entries
        self.refused += other.refused
        self.broken_off += other.broken_off
        self.unexpected += other.unexpected

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries.values())
