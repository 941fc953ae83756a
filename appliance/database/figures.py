"""What the dashboard and the metrics count now; what they counted before is in `history`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from appliance.database import dead_letters
from appliance.database.protocol import Statement, Transaction
from appliance.database.records import record
from appliance.jobs import JobStatus, JobType


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


class Kept(NamedTuple):
    """Files in the store."""

    files: int
    size_bytes: int


class Stored(NamedTuple):
    """What there is of one type of jobs."""

    originals: Kept
    results: Kept


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


def stored() -> Transaction[dict[JobType, Stored]]:
    """Of every type."""
    rows = yield Statement("stored")
    found = {(row["type"], row["kind"]): Kept(row["files"], row["bytes"]) for row in rows}
    return {one: Stored(found[one, "original"], found[one, "result"]) for one in JobType}


def running(*, limit: int = 500) -> Transaction[list[RunningJob]]:
    """What is being worked on, the longest under way first."""
    rows = yield Statement("running_jobs", {"limit": limit})
    return [record(RunningJob, row) for row in rows]
