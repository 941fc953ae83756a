"""The transactions of a job's life, one function a move, written once for every dialect.

Moves that a worker makes name the attempt: when the lease is gone they touch nothing and
return None, and the worker must forget the job. The others return None when the job is not in
a state that allows the move. What reads jobs is in `job_reads`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.clock import CLOCK_SKEW_S
from appliance.database import dead_letters, deliveries, turns
from appliance.database.job_reads import by_ids, get
from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json
from appliance.jobs import LARGE_BYTES, Claim, Job, JobError, JobStatus, ResultFile, Scan

# --- receiving ----------------------------------------------------------------------------


def create(jobs: Sequence[Job]) -> Transaction[None]:
    """Record uploads and their jobs, all or none. Each job's id names its upload too."""
    for job in jobs:
        yield Statement(
            "insert_upload",
            {
                "id": job.id,
                "owner": job.owner,
                "filename": job.filename,
                "content_type": job.content_type,
                "size_bytes": job.size_bytes,
                "sha256": job.sha256,
                "storage_key": job.storage_key,
                "received_at": job.created_at,
            },
        )
        turn = yield from turns.take(job.type, job.priority, job.owner)
        yield Statement(
            "insert_job",
            {
                "id": job.id,
                "upload_id": job.id,
                "owner": job.owner,
                "type": job.type,
                "preset": job.preset,
                "priority": job.priority,
                "turn": turn,
                "large": int(job.size_bytes > LARGE_BYTES),
                "max_retries": job.max_retries,
                "created_at": job.created_at,
                "scan": as_json(job.scan),
                "metadata": as_json(job.metadata),
                "callback_url": job.callback_url,
            },
        )
        yield _history(job.id, job.owner, job.created_at, JobStatus.PENDING, 0, "received")


def create_again(
    job_id: str, *, of: str, preset: str, priority: int, max_retries: int, now: float, actor: str
) -> Transaction[Job | None]:
    """Record a new job on the same upload as the job `of`: its owner's, its metadata, whatever
    state that one is in. None when there is no such job, or no original, any more."""
    lanes = yield Statement("lane_of_job", {"id": of})
    if not lanes:
        return None
    job_type, owner = lanes[0]["type"], lanes[0]["owner"]
    turn = yield from turns.take(job_type, priority, owner)
    rows = yield Statement(
        "insert_job_again",
        {
            "id": job_id,
            "of": of,
            "preset": preset,
            "priority": priority,
            "turn": turn,
            "max_retries": max_retries,
            "created_at": now,
        },
    )
    if not rows:
        return None
    detail = f"from the original of {of}, asked for by {actor}"
    yield _history(job_id, owner, now, JobStatus.PENDING, 0, detail)
    return (yield from get(job_id))


# --- working ------------------------------------------------------------------------------


def claim(job_id: str, *, worker: str, now: float) -> Transaction[Claim | None]:
    """Take the lease of a PENDING job; None when somebody else has it or it is settled."""
    claims = yield from claim_all([job_id], worker=worker, now=now)
    return claims[0] if claims else None


def claim_all(job_ids: Sequence[str], *, worker: str, now: float) -> Transaction[list[Claim]]:
    """Take the leases of those that are PENDING; the others somebody else has, or are settled."""
    rows = yield Statement("claim_jobs", {"ids": as_json(job_ids), "worker": worker, "now": now})
    if not rows:
        return []
    claimed = as_json([row["id"] for row in rows])
    yield Statement("pass_turns", {"ids": claimed})
    yield Statement("begin_attempts", {"ids": claimed})
    yield Statement("add_claims_to_history", {"ids": claimed})
    jobs = yield from by_ids([row["id"] for row in rows])
    return [Claim(job=job, attempt=job.attempt) for job in jobs]


def progress(job_id: str, *, attempt: int, fraction: float, step: str) -> Transaction[str | None]:
    """Record how far the attempt is; returns the owner, None when the lease is gone."""
    rows = yield Statement(
        "progress_job", {"id": job_id, "attempt": attempt, "progress": fraction, "step": step}
    )
    return rows[0]["owner"] if rows else None


def publish(
    job_id: str, *, attempt: int, position: int, file: ResultFile
) -> Transaction[str | None]:
    """Let a result be seen while its attempt goes on; returns the owner, None when the lease is
    gone. `position` is the place among the results. Every move out of PROCESSING takes it back,
    but `complete`, which lists it again."""
    rows = yield Statement("publish_result", {"id": job_id, "attempt": attempt})
    if not rows:
        return None
    yield _file(job_id, position, file)
    owner: str = rows[0]["owner"]
    return owner


def record_scan(job_id: str, *, attempt: int, scan: Scan) -> Transaction[bool]:
    """Keep the verdict on the original; False when the lease is gone."""
    rows = yield Statement("record_scan", {"id": job_id, "attempt": attempt, "scan": as_json(scan)})
    return bool(rows)


def complete(
    job_id: str,
    *,
    attempt: int,
    now: float,
    result: Mapping[str, Any],
    files: Sequence[ResultFile],
    preset_version: int | None = None,
) -> Transaction[Job | None]:
    """Settle: all results become visible and the job is COMPLETED, at once.

    `files` are all of them, those that were published before as well."""
    rows = yield Statement(
        "complete_job",
        {
            "id": job_id,
            "attempt": attempt,
            "now": now,
            "result": as_json(result),
            "preset_version": preset_version,
        },
    )
    if not rows:
        return None
    yield _withdrawal(job_id)
    for position, file in enumerate(files):
        yield _file(job_id, position, file)
    yield _end_attempt(job_id, attempt, now, "completed")
    yield _history(job_id, rows[0]["owner"], now, JobStatus.COMPLETED, attempt, None)
    return (yield from _ended(job_id, told=rows[0]["told"]))


def retry(
    job_id: str,
    *,
    attempt: int,
    now: float,
    next_attempt_at: float,
    error: JobError,
    error_class: str,
    stderr_tail: str | None,
) -> Transaction[Job | None]:
    """Settle as RETRYING: the fault may go away."""
    rows = yield Statement(
        "retry_job",
        {
            "id": job_id,
            "attempt": attempt,
            "now": now,
            "next_attempt_at": next_attempt_at,
            "error": as_json(error),
        },
    )
    if not rows:
        return None
    yield _withdrawal(job_id)
    yield _end_attempt(job_id, attempt, now, "retry", error, error_class, stderr_tail)
    yield _history(job_id, rows[0]["owner"], now, JobStatus.RETRYING, attempt, error.message)
    return (yield from get(job_id))


def fail(
    job_id: str,
    *,
    attempt: int,
    now: float,
    error: JobError,
    error_class: str,
    stderr_tail: str | None,
    outcome: str = "failed",
) -> Transaction[Job | None]:
    """Settle as FAILED, with a dead letter for review."""
    rows = yield Statement(
        "fail_job", {"id": job_id, "attempt": attempt, "now": now, "error": as_json(error)}
    )
    if not rows:
        return None
    yield from dead_letters.keep(
        job_id,
        owner=rows[0]["owner"],
        job_type=rows[0]["type"],
        error=error,
        error_class=error_class,
        now=now,
    )
    yield _withdrawal(job_id)
    yield _end_attempt(job_id, attempt, now, outcome, error, error_class, stderr_tail)
    yield _history(job_id, rows[0]["owner"], now, JobStatus.FAILED, attempt, error.message)
    return (yield from _ended(job_id, told=rows[0]["told"]))


def release(
    job_id: str, *, attempt: int, now: float, outcome: str, detail: str
) -> Transaction[Job | None]:
    """Back to PENDING without counting a retry. `outcome` is `handed_back` or `lost`."""
    rows = yield Statement("release_job", {"id": job_id, "attempt": attempt})
    if not rows:
        return None
    yield _withdrawal(job_id)
    yield _end_attempt(job_id, attempt, now, outcome)
    yield _history(job_id, rows[0]["owner"], now, JobStatus.PENDING, attempt, detail)
    return (yield from get(job_id))


# --- waiting, and what people do ------------------------------------------------------------


def due(*, now: float, limit: int) -> Transaction[list[str]]:
    """Ids of jobs that are RETRYING and have waited long enough."""
    rows = yield Statement("due_jobs", {"now": now, "skew_s": CLOCK_SKEW_S, "limit": limit})
    return [row["id"] for row in rows]


def stage(job_ids: Sequence[str], *, now: float) -> Transaction[list[Job]]:
    """Make PENDING again what is still RETRYING of them, at the end of its owner's lane."""
    staged = []
    for job_id in job_ids:
        turn = yield from _new_turn(job_id)
        rows = yield Statement("stage_job", {"id": job_id, "turn": turn})
        if not rows:
            continue
        yield _history(job_id, rows[0]["owner"], now, JobStatus.PENDING, rows[0]["attempt"], "due")
        job = yield from get(job_id)
        assert job is not None
        staged.append(job)
    return staged


def cancel(job_id: str, *, now: float, actor: str) -> Transaction[Job | None]:
    """End a job that is not final. Its worker, if it has one, finds its lease gone."""
    rows = yield Statement("cancel_job", {"id": job_id, "now": now})
    if not rows:
        return None
    attempt: int = rows[0]["attempt"]
    yield _withdrawal(job_id)
    yield _end_attempt(job_id, attempt, now, "cancelled")
    detail = f"cancelled by {actor}"
    yield _history(job_id, rows[0]["owner"], now, JobStatus.CANCELLED, attempt, detail)
    return (yield from _ended(job_id, told=rows[0]["told"]))


def redrive(
    job_id: str, *, now: float, actor: str, reviewed: bool = False
) -> Transaction[Job | None]:
    """Back to PENDING because a person asks for it, with all its retries anew.

    From FAILED, CANCELLED or RETRYING. With `reviewed`, only while it has a dead letter.
    """
    letter = yield Statement("delete_dead_letter", {"job_id": job_id})
    if reviewed and not letter:
        return None
    turn = yield from _new_turn(job_id)
    rows = yield Statement("redrive_job", {"id": job_id, "turn": turn})
    if not rows:
        return None
    detail = f"tried again by {actor}"
    yield _history(job_id, rows[0]["owner"], now, JobStatus.PENDING, rows[0]["attempt"], detail)
    return (yield from get(job_id))


def release_scan(job_id: str, *, actor: str) -> Transaction[bool]:
    """Unlock what the scanner found infected; False when there is nothing locked away."""
    rows = yield Statement("release_scan", {"id": job_id, "actor": actor})
    return bool(rows)


def _new_turn(job_id: str) -> Transaction[int]:
    rows = yield Statement("lane_of_job", {"id": job_id})
    if not rows:
        return 0
    row = rows[0]
    return (yield from turns.take(row["type"], row["priority"], row["owner"]))


# --- what every move writes -----------------------------------------------------------------


def _ended(job_id: str, *, told: bool) -> Transaction[Job | None]:
    """The job, now final, with what is to be sent of its end. Where nobody is told, nothing is
    written and nothing more is read."""
    job = yield from get(job_id)
    if job is not None and (told or job.callback_url is not None):
        yield from deliveries.tell(job)
    return job


def _file(job_id: str, position: int, file: ResultFile) -> Statement:
    return Statement(
        "insert_file", {"job_id": job_id, "position": position, **msgspec.structs.asdict(file)}
    )


def _withdrawal(job_id: str) -> Statement:
    """What the attempt that ends has published; the stored files are its worker's to delete."""
    return Statement("delete_job_files", {"id": job_id})


def _history(
    job_id: str, owner: str, at: float, status: JobStatus, attempt: int, detail: str | None
) -> Statement:
    return Statement(
        "add_history",
        {
            "job_id": job_id,
            "owner": owner,
            "at": at,
            "status": status,
            "attempt": attempt,
            "detail": detail,
        },
    )


def _end_attempt(
    job_id: str,
    number: int,
    now: float,
    outcome: str,
    error: JobError | None = None,
    error_class: str | None = None,
    stderr_tail: str | None = None,
) -> Statement:
    return Statement(
        "end_attempt",
        {
            "job_id": job_id,
            "number": number,
            "now": now,
            "outcome": outcome,
            "step": error.step if error else None,
            "error_code": error.code if error else None,
            "error_class": error_class,
            "message": error.message if error else None,
            "stderr_tail": stderr_tail,
        },
    )
