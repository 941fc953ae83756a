"""What the database knows of stored files: those in use, those that are gone, and the deleting
of jobs, whose files go with them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json, record
from appliance.jobs import JobStatus, JobType


class StoredOriginal(msgspec.Struct, frozen=True):
    id: str
    storage_key: str
    size_bytes: int
    missing_since: float | None


class StoredFile(msgspec.Struct, frozen=True):
    """An original or a result, as it is recorded."""

    id: str
    """Of the upload, or of the job."""
    name: str
    storage_key: str
    size_bytes: int
    sha256: str


class DeletedJob(msgspec.Struct, frozen=True):
    """The rows are gone; what lies in the store under its id is an orphan from now on."""

    id: str
    owner: str
    type: JobType
    status: JobStatus
    original_key: str | None
    """Of the original; None where another job needs it."""
    size_bytes: int
    """Of its results, and of the original if that goes with it."""


def known_uploads(ids: Sequence[str]) -> Transaction[set[str]]:
    """Those of them whose originals should be there."""
    rows = yield Statement("known_uploads", {"ids": as_json(ids)})
    return {row["id"] for row in rows}


def results_in_use(job_ids: Sequence[str]) -> Transaction[tuple[set[str], dict[str, int]]]:
    """The keys of the visible results of `job_ids`, and the attempts still running on them."""
    keys = yield Statement("known_result_keys", {"job_ids": as_json(job_ids)})
    running = yield Statement("processing_of", {"ids": as_json(job_ids)})
    return {row["storage_key"] for row in keys}, {row["id"]: row["attempt"] for row in running}


def originals_after(upload_id: str, *, limit: int) -> Transaction[list[StoredOriginal]]:
    """Where the originals should lie, in the order of their ids."""
    rows = yield Statement("uploads_after", {"after": upload_id, "limit": limit})
    return [record(StoredOriginal, row) for row in rows]


def is_named(key: str) -> Transaction[bool]:
    """Whether a row names the object now."""
    return bool((yield Statement("is_named", {"key": key})))


def jobs_of(upload_id: str) -> Transaction[list[str]]:
    rows = yield Statement("jobs_of_upload", {"upload_id": upload_id})
    return [row["id"] for row in rows]


def originals_named(upload_id: str, *, limit: int) -> Transaction[list[StoredFile]]:
    """The originals after that one, in the order of their ids."""
    rows = yield Statement("originals_named", {"after": upload_id, "limit": limit})
    return [record(StoredFile, row) for row in rows]


def results_named(job_id: str, name: str, *, limit: int) -> Transaction[list[StoredFile]]:
    """The visible results after that one, in the order of their jobs and names."""
    rows = yield Statement("results_named", {"after": job_id, "name": name, "limit": limit})
    return [record(StoredFile, row) for row in rows]


def mark(*, missing: Sequence[str], found: Sequence[str], now: float) -> Transaction[None]:
    """Record which originals are gone, and which are back."""
    for upload_id in missing:
        yield Statement("mark_missing", {"id": upload_id, "now": now})
    for upload_id in found:
        yield Statement("mark_found", {"id": upload_id})


def count_missing() -> Transaction[int]:
    rows = yield Statement("count_missing_uploads")
    count: int = rows[0]["uploads"]
    return count


def delete(job_id: str) -> Transaction[DeletedJob | None]:
    """Delete a job that is final, with all that is recorded of it; None when it is not.

    The upload goes too, unless another job was made of it. Files are the caller's to delete,
    after the commit; those that he does not come to, the pruner finds.
    """
    rows = yield Statement("deletable_job", {"id": job_id})
    if not rows:
        return None
    row = rows[0]
    yield Statement("delete_dead_letter", {"job_id": job_id})
    yield Statement("delete_job_files", {"id": job_id})
    yield Statement("delete_job_attempts", {"id": job_id})
    yield Statement("delete_job_history", {"id": job_id})
    yield Statement("delete_deliveries_of_job", {"id": job_id})
    yield Statement("delete_job", {"id": job_id})
    gone = yield Statement("delete_upload", {"upload_id": row["upload_id"]})
    return DeletedJob(
        id=job_id,
        owner=row["owner"],
        type=JobType(row["type"]),
        status=JobStatus(row["status"]),
        original_key=gone[0]["storage_key"] if gone else None,
        size_bytes=row["result_bytes"]
        + sum(one["size_bytes"] for one in gone if one["expired_at"] is None),
    )
