"""The job as its readers get it: over HTTP, in events, and in what webhooks are sent."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.clock import rfc3339
from appliance.jobs import Job, JobError, JobStatus, ResultFile

PERSONAL = "personal"
"""The one key of `result` that is not for everybody who may see the job."""


def has_personal_facts(job: Job) -> bool:
    return PERSONAL in job.result


def job_document(job: Job, reader: str) -> dict[str, Any]:
    """The job as POST /upload and GET /status give it to `reader` (`key:<id>`).

    Facts under `personal` (the camera, the day a picture was taken) are for the owner alone."""
    result = job.result
    if reader != job.owner and has_personal_facts(job):
        result = {name: fact for name, fact in result.items() if name != PERSONAL}
    return {
        "jobId": job.id,
        "status": job.status,
        "type": job.type,
        "filename": job.filename,
        "contentType": job.content_type,
        "sizeBytes": job.size_bytes,
        "sha256": job.sha256,
        "owner": job.owner,
        "preset": job.preset,
        "presetVersion": job.preset_version,
        "priority": job.priority,
        "attempt": _counted_attempt(job),
        "maxAttempts": job.max_retries + 1,
        "progress": round(job.progress, 4),
        "step": job.step,
        "createdAt": rfc3339(job.created_at),
        "startedAt": _time(job.started_at),
        "finishedAt": _time(job.finished_at),
        "nextAttemptAt": _time(job.next_attempt_at),
        "scan": job.scan,
        "error": None if job.error is None else error_document(job.error),
        "metadata": job.metadata,
        "result": result,
        "files": [file_document(job.id, file) for file in job.files],
        "filesLeft": job.files_left,
        "statusUrl": f"/status/{job.id}",
    }


def error_document(error: JobError) -> dict[str, Any]:
    return msgspec.structs.asdict(error)


def file_document(job_id: str, file: ResultFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "contentType": file.content_type,
        "sizeBytes": file.size_bytes,
        "sha256": file.sha256,
        "width": file.width_px,
        "height": file.height_px,
        "url": f"/jobs/{job_id}/files/{file.name}",
    }


_TRYING_OR_TRIED = (JobStatus.PROCESSING, JobStatus.COMPLETED, JobStatus.FAILED)


def _counted_attempt(job: Job) -> int:
    """Which of `maxAttempts` this is, or was. Attempts that were handed back count for none, so
    it can be smaller than the number of the attempt in the history."""
    return job.retry_count + (job.status in _TRYING_OR_TRIED)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
