"""Records as the tests need them."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.ids import new_id
from appliance.jobs import Job, JobError, JobStatus, JobType, ResultFile, Scan

FAULT = JobError(
    code="child_crashed", message="It broke.", step="resizing", permanent=False, attempts=1
)


def a_job(**changes: Any) -> Job:
    """A new job, PENDING, with the fields in `changes` set."""
    job_id = new_id()
    job = Job(
        id=job_id,
        owner="key:A",
        status=JobStatus.PENDING,
        type=JobType.IMAGE,
        filename="cat.jpg",
        content_type="image/jpeg",
        size_bytes=3,
        sha256="0" * 64,
        storage_key=f"raw/{job_id}/cat.jpg",
        preset="default",
        priority=5,
        attempt=0,
        retry_count=0,
        max_retries=3,
        progress=0.0,
        step=None,
        created_at=1_000_000.0,
        started_at=None,
        finished_at=None,
        next_attempt_at=None,
        worker=None,
        version=1,
        scan=Scan("not_scanned", "no scanner is set"),
        error=None,
        metadata={},
        result={},
    )
    return msgspec.structs.replace(job, **changes)


def a_result(job_id: str, attempt: int, name: str = "thumbnail.webp") -> ResultFile:
    return ResultFile(
        name=name,
        content_type="image/webp",
        size_bytes=5,
        sha256="1" * 64,
        storage_key=f"processed/{job_id}/{attempt}/{name}",
        width_px=320,
        height_px=240,
    )
