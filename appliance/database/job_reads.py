"""Reading jobs: one, pages of them, what has changed since."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json, record, with_files
from appliance.ids import is_id
from appliance.jobs import Attempt, HistoryEntry, Job, JobStatus, JobType

NEWEST = "~"
"""Sorts behind every id."""


def get(job_id: str) -> Transaction[Job | None]:
    rows = yield Statement("job", {"id": job_id})
    jobs = yield from with_files(rows)
    return jobs[0] if jobs else None


def by_ids(ids: Sequence[str]) -> Transaction[list[Job]]:
    """Those of them that there are, in no order."""
    rows = yield Statement("jobs_by_ids", {"ids": as_json(ids)})
    return (yield from with_files(rows))


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
    if q is not None and is_id(q.upper()):
        return (yield from _page_of_one(q.upper(), owner, status, job_type, before))
    escaped = None if q is None else q.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    statement = (
        "jobs_page_by_owner" if owner is not None
        else "jobs_page_by_status" if status is not None
        else "jobs_page_by_type" if job_type is not None
        else "jobs_page"
    )  # fmt: skip
    rows = yield Statement(
        statement,
        {
            "owner": owner,
            "status": status,
            "type": job_type,
            "q": q,
            "pattern": None if escaped is None else f"%{escaped}%",
            "before": before or NEWEST,
            "limit": limit,
        },
    )
    return (yield from with_files(rows))


def _page_of_one(
    job_id: str,
    owner: str | None,
    status: JobStatus | None,
    job_type: JobType | None,
    before: str | None,
) -> Transaction[list[Job]]:
    job = yield from get(job_id)
    wanted = (
        job is not None
        and owner in (None, job.owner)
        and status in (None, job.status)
        and job_type in (None, job.type)
        and job.id < (before or NEWEST)
    )
    return [job] if job is not None and wanted else []


def attempts(job_id: str) -> Transaction[list[Attempt]]:
    rows = yield Statement("attempts_of_job", {"job_id": job_id})
    return [record(Attempt, row) for row in rows]


def count_lost(job_id: str) -> Transaction[int]:
    """How many attempts ended with the loss of their worker, since the last redrive."""
    rows = yield Statement("count_lost_attempts", {"job_id": job_id, "id": job_id})
    count: int = rows[0]["lost"]
    return count


def history(job_id: str) -> Transaction[list[HistoryEntry]]:
    rows = yield Statement("history_of_job", {"job_id": job_id})
    return [record(HistoryEntry, row) for row in rows]


def changed_since(
    history_id: int, *, owner: str | None, limit: int
) -> Transaction[tuple[list[tuple[int, Job]], int | None]]:
    """Jobs that have moved after `history_id`, each as it is now with the id of a move of its.

    Looks at `limit` moves; the second value is where to go on, None when there are no more.
    """
    statement = "moves_since" if owner is None else "moves_since_of_owner"
    rows = yield Statement(statement, {"after": history_id, "owner": owner, "limit": limit})
    last_move = {row["job_id"]: row["id"] for row in rows}
    jobs = yield from by_ids(list(last_move))
    changed = sorted(((last_move[job.id], job) for job in jobs), key=lambda pair: pair[0])
    return changed, rows[-1]["id"] if len(rows) == limit else None


def last_history_id() -> Transaction[int]:
    rows = yield Statement("last_history_id")
    last: int = rows[0]["id"]
    return last
