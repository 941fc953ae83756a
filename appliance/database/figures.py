"""What the dashboard and the metrics count."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.database.protocol import Statement, Transaction
from appliance.jobs import JobStatus, JobType

MINUTES = 60


@dataclass(frozen=True)
class QueueFigures:
    queued: dict[JobType, int]
    oldest_at: dict[JobType, float]
    """When the oldest PENDING job of a type was created; no entry where none is."""
    processing: dict[JobType, int]
    retrying: int
    dead_letters: int


@dataclass(frozen=True)
class HourFigures:
    """The last hour by minute, oldest first; each list has MINUTES entries."""

    received: list[int]
    completed: list[int]
    failed: list[int]
    busy_s: list[float]
    """Time that the attempts of the completed jobs took, added up."""


def queue() -> Transaction[QueueFigures]:
    queued = yield Statement("queued_by_type")
    processing = yield Statement("processing_by_type")
    retrying = yield Statement("count_retrying")
    dead = yield Statement("count_dead_letters")
    return QueueFigures(
        queued=dict.fromkeys(JobType, 0) | {JobType(row["type"]): row["jobs"] for row in queued},
        oldest_at={JobType(row["type"]): row["oldest_at"] for row in queued},
        processing=dict.fromkeys(JobType, 0)
        | {JobType(row["type"]): row["jobs"] for row in processing},
        retrying=retrying[0]["jobs"],
        dead_letters=dead[0]["jobs"],
    )


def hour(*, now: float) -> Transaction[HourFigures]:
    since = now - MINUTES * 60
    received_rows = yield Statement("received_per_minute", {"since": since})
    finished_rows = yield Statement("finished_per_minute", {"since": since})
    figures = HourFigures(
        received=[0] * MINUTES,
        completed=[0] * MINUTES,
        failed=[0] * MINUTES,
        busy_s=[0.0] * MINUTES,
    )
    for row in received_rows:
        if 0 <= row["minute"] < MINUTES:
            figures.received[row["minute"]] = row["jobs"]
    for row in finished_rows:
        if not 0 <= row["minute"] < MINUTES:
            continue
        if row["status"] == JobStatus.COMPLETED:
            figures.completed[row["minute"]] = row["jobs"]
            figures.busy_s[row["minute"]] = row["busy_s"] or 0.0
        elif row["status"] == JobStatus.FAILED:
            figures.failed[row["minute"]] = row["jobs"]
    return figures
