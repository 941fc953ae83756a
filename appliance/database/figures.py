"""What the dashboard and the metrics count."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from appliance.database import dead_letters
from appliance.database.protocol import Statement, Transaction
from appliance.database.records import record
from appliance.jobs import JobStatus, JobType

MINUTES = 60


@dataclass(frozen=True)
class QueueFigures:
    jobs: dict[tuple[JobType, JobStatus], int]
    """How many there are of each type in each state; no entry means none."""
    oldest_at: dict[JobType, float]
    """When the oldest PENDING job of a type was created; no entry where none is."""
    dead_letters: int

    def by_type(self, status: JobStatus) -> dict[JobType, int]:
        return {job_type: self.jobs.get((job_type, status), 0) for job_type in JobType}

    def total(self, status: JobStatus) -> int:
        return sum(self.by_type(status).values())


@dataclass(frozen=True)
class HourFigures:
    """The last hour by minute, oldest first; each list has MINUTES entries."""

    received: list[int] = field(default_factory=lambda: [0] * MINUTES)
    completed: list[int] = field(default_factory=lambda: [0] * MINUTES)
    failed: list[int] = field(default_factory=lambda: [0] * MINUTES)
    busy_s: list[float] = field(default_factory=lambda: [0.0] * MINUTES)
    """Time that the attempts of the completed jobs took, added up."""
    queued: list[int | None] = field(default_factory=lambda: [None] * MINUTES)
    """PENDING jobs at the minute's sample; None where none was taken."""
    active: list[int | None] = field(default_factory=lambda: [None] * MINUTES)
    """PROCESSING jobs, likewise."""


class RunningJob(msgspec.Struct, frozen=True):
    id: str
    type: JobType
    worker: str
    progress: float
    step: str | None
    started_at: float
    filename: str


def queue() -> Transaction[QueueFigures]:
    tallies = yield Statement("tallies")
    jobs = {(JobType(row["type"]), JobStatus(row["status"])): row["jobs"] for row in tallies}
    oldest_at = {}
    for job_type in JobType:
        if jobs.get((job_type, JobStatus.PENDING)):
            rows = yield Statement("oldest_waiting", {"type": job_type})
            if rows:
                oldest_at[job_type] = rows[0]["created_at"]
    dead = yield from dead_letters.count_all()
    return QueueFigures(jobs=jobs, oldest_at=oldest_at, dead_letters=dead)


def hour(*, now: float) -> Transaction[HourFigures]:
    first = int(now // 60) - MINUTES + 1
    rows = yield Statement("minutes_since", {"minute": first})
    figures = HourFigures()
    for row in rows:
        at = row["minute"] - first
        if at >= MINUTES:  # a clock was set back
            continue
        figures.received[at] += row["received"]
        figures.completed[at] += row["completed"]
        figures.failed[at] += row["failed"]
        figures.busy_s[at] += row["busy_s"]
        for sampled, name in ((figures.queued, "queued"), (figures.active, "active")):
            if row[name] is not None:
                sampled[at] = (sampled[at] or 0) + row[name]
    return figures


def running(*, limit: int = 500) -> Transaction[list[RunningJob]]:
    """What is being worked on, the longest under way first."""
    rows = yield Statement("running_jobs", {"limit": limit})
    return [record(RunningJob, row) for row in rows]


def sample(*, now: float) -> Transaction[None]:
    """Note for the present minute how many jobs wait and how many are worked on."""
    yield Statement("sample_minute", {"minute": int(now // 60)})


def forget_minutes(*, before: float) -> Transaction[None]:
    yield Statement("delete_old_minutes", {"before": int(before // 60)})
