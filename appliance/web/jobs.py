"""GET /jobs and GET /jobs/{jobId}: pages of jobs, and one with its whole history."""

from __future__ import annotations

import msgspec
from aiohttp import web

from appliance.database import job_reads, lifecycle
from appliance.database.ages import Ages, Outlook
from appliance.database.ages import outlook as outlook_of
from appliance.database.job_reads import JobFilter
from appliance.database.lifecycle import Pin
from appliance.database.protocol import Transaction
from appliance.errors import NotFound
from appliance.ids import is_id
from appliance.jobs import Attempt, HistoryEntry, Job, JobStatus, JobType
from appliance.principals import is_owner
from appliance.web import queries
from appliance.web.documents import JobPage, WholeJob
from appliance.web.representation import (
    attempt_document,
    history_document,
    job_document,
    job_summary,
    json_response,
    outlook_document,
    pin_document,
)
from appliance.web.services import services, user


async def list_jobs(request: web.Request) -> web.StreamResponse:
    """GET /jobs: a page of those that the query asks for (`job_filter`), newest first."""
    page, cursor = await page_of_jobs(request)
    return json_response(JobPage(jobs=[job_summary(job) for job in page], nextCursor=cursor))


async def page_of_jobs(
    request: web.Request, *, everybody: bool = True, default_limit: int = queries.DEFAULT_LIMIT
) -> tuple[list[Job], str | None]:
    """The page that the query asks for, and the cursor of the next one if there is one.

    An admin sees everybody's jobs, unless `everybody` is False or the query names an owner.
    """
    scope = user(request).sees_only if everybody else user(request).owner
    wanted = job_filter(request)
    if scope is not None and wanted.owner not in (None, scope):
        return [], None
    cursor = queries.id_cursor(request)
    limit = queries.limit(request, default_limit)
    found = await services(request).database.read(
        job_reads.page(
            msgspec.structs.replace(wanted, owner=scope or wanted.owner),
            before=cursor,
            limit=limit + 1,
        )
    )
    page = found[:limit]
    return page, page[-1].id if len(found) > limit else None


def job_filter(request: web.Request) -> JobFilter:
    """What the query asks for: `q` is a job's id, an owner, or a part of a file's name."""
    now = services(request).clock.now()
    q = queries.words(request, "q") or ""
    owner = queries.words(request, "owner")
    if is_owner(q) and owner is None:
        owner = q
    job_id = q.upper() if is_id(q.upper()) else None
    return JobFilter(
        owner=owner,
        statuses=queries.some_of(JobStatus, request, "status"),
        types=queries.some_of(JobType, request, "type"),
        error=queries.words(request, "error"),
        preset=queries.words(request, "preset"),
        name=q if q and job_id is None and q != owner else None,
        since=queries.moment(request, "since", now=now),
        until=queries.moment(request, "until", now=now),
        job_id=job_id,
    )


FILTERS = ("q", "status", "type", "since", "until", "error", "preset", "owner")


def shown_filters(request: web.Request) -> dict[str, str | None]:
    """What the form of a page shows as chosen."""
    return {name: queries.words(request, name) for name in FILTERS}


def next_page(request: web.Request, cursor: str | None) -> str | None:
    """The address of the page that follows, with the same filters; None after the last."""
    if cursor is None:
        return None
    address = request.rel_url.without_query_params("fragment", "fresh").update_query(cursor=cursor)
    return str(address)


async def get_job(request: web.Request) -> web.StreamResponse:
    """GET /jobs/{jobId}"""
    job_id = request.match_info["job_id"]
    shared = services(request)
    read = shared.database.read
    found = await read(_whole_job(job_id, shared.ages)) if is_id(job_id) else None
    scope = user(request).sees_only
    if found is None or (scope is not None and found[0].owner != scope):
        raise NotFound("There is no such job, or it is not yours.")
    job, attempts, history, pin, outlook = found
    document: WholeJob = {
        **job_document(job, user(request).owner),
        "attempts": [attempt_document(attempt) for attempt in attempts],
        "history": [history_document(entry) for entry in history],
        "pin": None if pin is None else pin_document(pin),
        "lifecycle": None if outlook is None else outlook_document(outlook),
    }
    return json_response(document)


def _whole_job(
    job_id: str, ages: Ages
) -> Transaction[tuple[Job, list[Attempt], list[HistoryEntry], Pin | None, Outlook | None] | None]:
    job = yield from job_reads.get(job_id)
    if job is None:
        return None
    attempts = yield from job_reads.attempts(job_id)
    history = yield from job_reads.history(job_id)
    pin = yield from lifecycle.pin_of(job_id)
    return job, attempts, history, pin, (yield from outlook_of(job.id, job.owner, ages))
