"""The transactions of a job's life, one function a move, written once for every dialect.

Moves that a worker makes name the attempt: when the lease is gone they touch nothing and
return None, and the worker must forget the job. The others return None when the job is not in
a state that allows the move.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from appliance.database.protocol import Row, Statement, Transaction
from appliance.jobs import (
    Attempt,
    Claim,
    HistoryEntry,
    Job,
    JobError,
    JobStatus,
    JobType,
    ResultFile,
    Scan,
)

R = TypeVar("R", bound=msgspec.Struct)
_encode = msgspec.json.encode


def _json(value: Any) -> str:
    return _encode(value).decode()


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
        yield Statement(
            "insert_job",
            {
                "id": job.id,
                "upload_id": job.id,
                "owner": job.owner,
                "type": job.type,
                "preset": job.preset,
                "priority": job.priority,
                "max_retries": job.max_retries,
                "created_at": job.created_at,
                "scan": _json(job.scan),
                "metadata": _json(job.metadata),
            },
        )
        yield _history(job.id, job.owner, job.created_at, JobStatus.PENDING, 0, "received")


# --- working ------------------------------------------------------------------------------


def ready(job_type: JobType, *, limit: int) -> Transaction[list[str]]:
    """Ids of the jobs to try next."""
    rows = yield Statement("ready_jobs", {"type": job_type, "limit": limit})
    return [row["id"] for row in rows]


def claim(job_id: str, *, worker: str, now: float) -> Transaction[Claim | None]:
    """Take the lease of a PENDING job; None when somebody else has it or it is settled."""
    rows = yield Statement("claim_job", {"id": job_id, "worker": worker, "now": now})
    if not rows:
        return None
    attempt: int = rows[0]["attempt"]
    yield Statement(
        "insert_attempt", {"job_id": job_id, "number": attempt, "worker": worker, "now": now}
    )
    yield _history(job_id, rows[0]["owner"], now, JobStatus.PROCESSING, attempt, None)
    job = yield from get(job_id)
    assert job is not None
    return Claim(job=job, attempt=attempt)


def progress(job_id: str, *, attempt: int, fraction: float, step: str) -> Transaction[str | None]:
    """Record how far the attempt is; returns the owner, None when the lease is gone."""
    rows = yield Statement(
        "progress_job", {"id": job_id, "attempt": attempt, "progress": fraction, "step": step}
    )
    return rows[0]["owner"] if rows else None


def complete(
    job_id: str,
    *,
    attempt: int,
    now: float,
    result: Mapping[str, Any],
    files: Sequence[ResultFile],
) -> Transaction[Job | None]:
    """Settle: the results become visible and the job is COMPLETED, at once."""
    rows = yield Statement(
        "complete_job", {"id": job_id, "attempt": attempt, "now": now, "result": _json(result)}
    )
    if not rows:
        return None
    for position, file in enumerate(files):
        yield Statement(
            "insert_file",
            {"job_id": job_id, "position": position, **msgspec.structs.asdict(file)},
        )
    yield _end_attempt(job_id, attempt, now, "completed")
    yield _history(job_id, rows[0]["owner"], now, JobStatus.COMPLETED, attempt, None)
    return (yield from get(job_id))


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
            "next_attempt_at": next_attempt_at,
            "error": _json(error),
        },
    )
    if not rows:
        return None
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
        "fail_job", {"id": job_id, "attempt": attempt, "now": now, "error": _json(error)}
    )
    if not rows:
        return None
    yield Statement(
        "insert_dead_letter",
        {
            "job_id": job_id,
            "now": now,
            "error_code": error.code,
            "message": error.message,
            "fingerprint": fingerprint(rows[0]["type"], error, error_class),
        },
    )
    yield _end_attempt(job_id, attempt, now, outcome, error, error_class, stderr_tail)
    yield _history(job_id, rows[0]["owner"], now, JobStatus.FAILED, attempt, error.message)
    return (yield from get(job_id))


def release(
    job_id: str, *, attempt: int, now: float, outcome: str, detail: str
) -> Transaction[Job | None]:
    """Back to PENDING without counting a retry. `outcome` is `handed_back` or `lost`."""
    rows = yield Statement("release_job", {"id": job_id, "attempt": attempt})
    if not rows:
        return None
    yield _end_attempt(job_id, attempt, now, outcome)
    yield _history(job_id, rows[0]["owner"], now, JobStatus.PENDING, attempt, detail)
    return (yield from get(job_id))


def stage(*, now: float, limit: int) -> Transaction[list[Job]]:
    """Make PENDING again what has waited long enough, the longest due first."""
    rows = yield Statement("stage_due_jobs", {"now": now, "limit": limit})
    for row in rows:
        yield _history(row["id"], row["owner"], now, JobStatus.PENDING, row["attempt"], "due")
    return (yield from _by_ids([row["id"] for row in rows]))


def next_due_at() -> Transaction[float | None]:
    rows = yield Statement("next_due_at")
    at: float | None = rows[0]["at"]
    return at


def fingerprint(job_type: str, error: JobError, error_class: str) -> str:
    """The same for jobs of one type that failed in the same way; 16 hexadecimal digits."""
    parts = (job_type, error.code, error_class, error.step)
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


# --- reading ------------------------------------------------------------------------------


def get(job_id: str) -> Transaction[Job | None]:
    rows = yield Statement("job", {"id": job_id})
    jobs = yield from _with_files(rows)
    return jobs[0] if jobs else None


def page(
    *,
    owner: str | None,
    status: JobStatus | None = None,
    job_type: JobType | None = None,
    q: str | None = None,
    before: str | None = None,
    limit: int,
) -> Transaction[list[Job]]:
    """Jobs newest first. `owner` None: everybody's. `q`: id, owner, or part of a file name."""
    escaped = None if q is None else q.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    rows = yield Statement(
        "jobs_page",
        {
            "owner": owner,
            "status": status,
            "type": job_type,
            "q": q,
            "pattern": None if escaped is None else f"%{escaped}%",
            "before": before,
            "limit": limit,
        },
    )
    return (yield from _with_files(rows))


def attempts(job_id: str) -> Transaction[list[Attempt]]:
    rows = yield Statement("attempts_of_job", {"job_id": job_id})
    return [_record(Attempt, row) for row in rows]


def count_lost(job_id: str) -> Transaction[int]:
    """How many attempts ended with the loss of their worker."""
    rows = yield Statement("count_lost_attempts", {"job_id": job_id})
    count: int = rows[0]["lost"]
    return count


def history(job_id: str) -> Transaction[list[HistoryEntry]]:
    rows = yield Statement("history_of_job", {"job_id": job_id})
    return [_record(HistoryEntry, row) for row in rows]


def changed_since(
    history_id: int, *, owner: str | None, limit: int
) -> Transaction[list[tuple[int, Job]]]:
    """Jobs with a move after `history_id`, each as it is now with the id of its last move."""
    rows = yield Statement("changed_since", {"after": history_id, "owner": owner, "limit": limit})
    last_move = {row["job_id"]: row["id"] for row in rows}
    jobs = yield from _by_ids(list(last_move))
    return sorted(((last_move[job.id], job) for job in jobs), key=lambda pair: pair[0])


def last_history_id() -> Transaction[int]:
    rows = yield Statement("last_history_id")
    last: int = rows[0]["id"]
    return last


def known_uploads(ids: Sequence[str]) -> Transaction[set[str]]:
    rows = yield Statement("known_uploads", {"ids": _json(ids)})
    return {row["id"] for row in rows}


def results_in_use(job_ids: Sequence[str]) -> Transaction[tuple[set[str], dict[str, int]]]:
    """The keys of the visible results of `job_ids`, and the attempts still running on them."""
    keys = yield Statement("known_result_keys", {"job_ids": _json(job_ids)})
    running = yield Statement("processing_of", {"ids": _json(job_ids)})
    return {row["storage_key"] for row in keys}, {row["id"]: row["attempt"] for row in running}


# --- rows to records ----------------------------------------------------------------------


def _by_ids(ids: list[str]) -> Transaction[list[Job]]:
    jobs = []
    for job_id in ids:
        job = yield from get(job_id)
        if job is not None:
            jobs.append(job)
    return jobs


def _with_files(rows: Sequence[Row]) -> Transaction[list[Job]]:
    if not rows:
        return []
    file_rows = yield Statement("files_of_jobs", {"job_ids": _json([row["id"] for row in rows])})
    files: dict[str, list[ResultFile]] = defaultdict(list)
    for row in file_rows:
        files[row["job_id"]].append(_record(ResultFile, row))
    return [_job(row, tuple(files[row["id"]])) for row in rows]


_JOB_COLUMNS = frozenset(Job.__struct_fields__) - {
    "status", "type", "scan", "error", "metadata", "result", "files",
}  # fmt: skip


def _job(row: Row, files: tuple[ResultFile, ...]) -> Job:
    error = row["error"]
    return Job(
        **{column: row[column] for column in _JOB_COLUMNS},
        status=JobStatus(row["status"]),
        type=JobType(row["type"]),
        scan=msgspec.json.decode(row["scan"], type=Scan),
        error=None if error is None else msgspec.json.decode(error, type=JobError),
        metadata=msgspec.json.decode(row["metadata"]),
        result=msgspec.json.decode(row["result"]),
        files=files,
    )


def _record(record: type[R], row: Row) -> R:
    return msgspec.convert(
        {field: row[field] for field in record.__struct_fields__}, record, strict=False
    )


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
