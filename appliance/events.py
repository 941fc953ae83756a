"""What is said when a job changes. Events name what changed, never what it is now: whoever
cares reads that from the database, so a lost or doubled event does no harm."""

from __future__ import annotations

import msgspec

ALL_JOBS = "jobs"


def job_topic(job_id: str) -> str:
    return f"job:{job_id}"


def owner_topic(owner: str) -> str:
    return f"owner:{owner}"


def status_key(job_id: str) -> str:
    """Of the cached answer of GET /status/{jobId}."""
    return f"status:{job_id}"


class JobChanged(msgspec.Struct, frozen=True):
    job_id: str
    owner: str
    final: bool
