"""The vocabulary of a job's life: its states, the legal moves between them, its records.

A job is the work that one upload asks for. An attempt is one try at it by one worker, with a
number that only grows: the fencing token that every write of the attempt must name. The retry
count says how many attempts failed through a fault that may go away. Records are frozen:
change happens in the database, by one statement per move.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

DEFAULT_PRIORITY = 5
HIGHEST_PRIORITY = 9

LARGE_BYTES = 64 * 1024**2
"""A file above this may take long: where a pool has several workers, one stays free of them."""


class JobStatus(StrEnum):
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    RETRYING = "RETRYING"
    """Waiting for the time of its next attempt."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    """Given up; a dead letter keeps it for review."""
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Nothing more happens unless a person asks for it."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)

    @property
    def possible(self) -> tuple[str, ...]:
        """What a person may ask for in this state."""
        return _POSSIBLE[self]


LEGAL_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.PROCESSING, JobStatus.CANCELLED}),
    JobStatus.PROCESSING: frozenset(
        {
            JobStatus.COMPLETED,
            JobStatus.RETRYING,
            JobStatus.FAILED,
            JobStatus.PENDING,  # handed back by a draining worker, or rescued from a lost one
            JobStatus.CANCELLED,
        }
    ),
    JobStatus.RETRYING: frozenset({JobStatus.PENDING, JobStatus.CANCELLED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset({JobStatus.PENDING}),  # a person asks for another try
    JobStatus.CANCELLED: frozenset({JobStatus.PENDING}),
}


_POSSIBLE: dict[JobStatus, tuple[str, ...]] = {
    JobStatus.PENDING: ("cancel",),
    JobStatus.PROCESSING: ("cancel",),
    JobStatus.RETRYING: ("cancel", "retry"),
    JobStatus.COMPLETED: ("delete",),
    JobStatus.FAILED: ("retry", "delete"),
    JobStatus.CANCELLED: ("retry", "delete"),
}


class JobType(StrEnum):
    """Which kind of worker takes the job."""

    IMAGE = "IMAGE"
    PDF = "PDF"
    VIDEO = "VIDEO"
    ANY = "ANY"


class Scan(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    verdict: str
    """`clean`, `infected`, `not_scanned` or `scanner_unavailable` (so far: it is asked again)."""
    reason: str | None = None
    """What was found, or why it was not scanned."""
    engine: str | None = None
    """With the version of its signatures."""
    released_by: str | None = None
    """The admin who took an infected file for harmless."""

    @property
    def is_awaited(self) -> bool:
        """A scanner is set, and has not said what it thinks of the file."""
        return self.verdict == "scanner_unavailable" or self == AWAITED

    @property
    def locks_away(self) -> bool:
        """Nobody but an admin may have the bytes, and nothing works on them."""
        return self.verdict == "infected" and self.released_by is None


AWAITED = Scan(verdict="not_scanned", reason="not yet")
"""Of every new file where a scanner is set."""


class JobError(msgspec.Struct, frozen=True):
    """Why the last attempt failed, in words for the owner."""

    code: str
    message: str
    step: str
    permanent: bool
    attempts: int


class ResultFile(msgspec.Struct, frozen=True):
    """One file that an attempt produced, stored and checked."""

    name: str
    content_type: str
    size_bytes: int
    sha256: str
    storage_key: str
    width_px: int | None = None
    height_px: int | None = None


class Job(msgspec.Struct, frozen=True):
    id: str
    owner: str
    """Who sees it: `key:<id>`."""
    status: JobStatus
    type: JobType
    filename: str
    """For people only; cleaned of control characters and separators."""
    content_type: str
    """As found in the bytes, not as declared."""
    size_bytes: int
    sha256: str
    storage_key: str
    preset: str
    priority: int
    """0 to 9, larger first."""
    attempt: int
    """How often it was claimed: the number of the present or last attempt, 0 before the first."""
    retry_count: int
    max_retries: int
    progress: float
    """0 to 1, of the present attempt."""
    step: str | None
    """What the present attempt is doing, in a word or two."""
    created_at: float
    started_at: float | None
    finished_at: float | None
    next_attempt_at: float | None
    """When RETRYING ends."""
    worker: str | None
    version: int
    """Grows with every change, progress included."""
    scan: Scan
    error: JobError | None
    metadata: dict[str, Any]
    result: dict[str, Any]
    files: tuple[ResultFile, ...] = ()
    preset_version: int | None = None
    """Which version of the preset made the results."""
    callback_url: str | None = None
    """Where the upload wants the end of the job to be told."""
    files_left: str = "all"
    """`all`, or `original` or `results` where the others were deleted by their age."""
    original_expired_at: float | None = None
    """When the original was."""


class Attempt(msgspec.Struct, frozen=True):
    number: int
    worker: str
    started_at: float
    ended_at: float | None
    outcome: str | None
    """`completed`, `retry`, `failed`, `handed_back`, `lost` or `cancelled`; None while it runs."""
    step: str | None
    error_code: str | None
    error_class: str | None
    message: str | None
    stderr_tail: str | None


class HistoryEntry(msgspec.Struct, frozen=True):
    """One move in a job's life, in the order in which the moves were committed."""

    id: int
    job_id: str
    at: float
    status: JobStatus
    attempt: int
    detail: str | None


class Claim(msgspec.Struct, frozen=True):
    """A worker's right to work on a job: valid while the lease of this attempt is held."""

    job: Job
    attempt: int
