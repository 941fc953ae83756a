"""Reading jobs: one, pages of them, what has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from appliance.database.protocol import Rows, Statement, Transaction
from appliance.database.records import as_json, record, with_files
from appliance.ids import first_id_at
from appliance.jobs import Attempt, HistoryEntry, Job, JobStatus, JobType

NEWEST = "~"
"""Sorts behind every id."""

SHORTEST_INDEXED = 3
"""The index of names knows parts of three characters; for shorter ones jobs are walked through."""

MOST_BY_NAME = 2000

LATEST = 400
"""Of a part of a name that is more frequent: among so many uploads a page is looked for first."""


def get(job_id: str) -> Transaction[Job | None]:
    rows = yield Statement("job", {"id": job_id})
    jobs = yield from with_files(rows)
    return jobs[0] if jobs else None


def by_ids(ids: Sequence[str]) -> Transaction[list[Job]]:
    """Those of them that there are, in no order."""
    rows = yield Statement("jobs_by_ids", {"ids": as_json(ids)})
    return (yield from with_files(rows))


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs are looked for; all that is given must hold, and nothing given means every job."""

    owner: str | None = None
    statuses: tuple[JobStatus, ...] = ()
    types: tuple[JobType, ...] = ()
    error: str | None = None
    """The code of what went wrong last."""
    preset: str | None = None
    name: str | None = None
    """A part of the file's name, in either case."""
    since: float | None = None
    until: float | None = None
    """When their upload was begun, which is what they are sorted by; `until` is left out."""
    job_id: str | None = None

    def admits(self, job: Job) -> bool:
        return (
            self.owner in (None, job.owner)
            and (not self.statuses or job.status in self.statuses)
            and (not self.types or job.type in self.types)
            and self.error in (None, job.error and job.error.code)
            and self.preset in (None, job.preset)
            and (self.name is None or self.name.lower() in job.filename.lower())
            and (self.since is None or job.id >= first_id_at(self.since))
            and (self.until is None or job.id < first_id_at(self.until))
        )


EVERY_JOB = JobFilter()


def page(
    wanted: JobFilter = EVERY_JOB, *, before: str | None = None, limit: int
) -> Transaction[list[Job]]:
    """Jobs newest first; `before` is the id of the last one of the page before."""
    if wanted.job_id is not None:
        job = yield from get(wanted.job_id)
        is_here = job is not None and wanted.admits(job) and job.id < (before or NEWEST)
        return [job] if job is not None and is_here else []
    ends = [NEWEST if wanted.until is None else first_id_at(wanted.until), before or NEWEST]
    parameters: dict[str, Any] = {
        "owner": wanted.owner,
        "statuses": as_json(wanted.statuses) if wanted.statuses else None,
        "status": wanted.statuses[0] if wanted.statuses else None,
        "types": as_json(wanted.types) if wanted.types else None,
        "type": wanted.types[0] if wanted.types else None,
        "error": wanted.error,
        "preset": wanted.preset,
        "q": None if wanted.name is None else wanted.name.lower(),
        "from_id": "" if wanted.since is None else first_id_at(wanted.since),
        "before": min(ends),
        "limit": limit,
    }
    rows = None if wanted.name is None else (yield from _page_by_name(wanted.name, parameters))
    if rows is None:
        rows = yield Statement(_way_to(wanted), parameters)
    return (yield from with_files(rows))


def _way_to(wanted: JobFilter) -> str:
    """The statement that walks through the fewest jobs for a page."""
    if wanted.owner is not None:
        return "jobs_page_by_owner"
    if len(wanted.statuses) == 1:
        return "jobs_page_by_status"
    if len(wanted.types) == 1:
        return "jobs_page_by_type"
    return "jobs_page"


def _page_by_name(name: str, parameters: Mapping[str, Any]) -> Transaction[Rows | None]:
    """The page, by the index of names; None where that does not help: the part is too short for
    it, or so frequent that a walk finds a page sooner."""
    if len(name) < SHORTEST_INDEXED:
        return None
    named = yield Statement("uploads_named", {"q": name, "most": MOST_BY_NAME + 1})
    if len(named) <= MOST_BY_NAME:
        return (yield _page_of({row["upload_id"] for row in named}, parameters))
    return (yield from _page_of_latest(named[:LATEST], parameters))


def _page_of_latest(latest: Rows, parameters: Mapping[str, Any]) -> Transaction[Rows | None]:
    """The page, where jobs of the uploads that came last fill it, and of those few that may have
    a job among them; else None. A walk would go through all newer jobs of other names."""
    uploads = {row["upload_id"] for row in latest}
    found = yield _page_of(uploads, parameters)
    if len(found) < parameters["limit"]:
        return None
    beside = {"after": found[-1]["id"], "number": latest[-1]["number"], "most": LATEST + 1}
    others = yield Statement("uploads_beside", beside)
    if len(others) > LATEST:
        return None
    if others:
        found = yield _page_of(uploads | {row["upload_id"] for row in others}, parameters)
    return found


def _page_of(uploads: Iterable[str], parameters: Mapping[str, Any]) -> Statement:
    return Statement("jobs_page_of_uploads", {**parameters, "uploads": as_json(list(uploads))})


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
