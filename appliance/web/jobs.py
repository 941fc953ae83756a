"""GET /jobs and GET /jobs/{jobId}: pages of jobs, and one with its whole history."""

from __future__ import annotations

from aiohttp import web

from appliance.database import job_reads
from appliance.database.protocol import Transaction
from appliance.errors import NotFound
from appliance.ids import is_id
from appliance.jobs import Attempt, HistoryEntry, Job, JobStatus, JobType
from appliance.web import queries
from appliance.web.documents import JobPage, WholeJob
from appliance.web.representation import (
    attempt_document,
    history_document,
    job_document,
    job_summary,
    json_response,
)
from appliance.web.services import services, user


async def list_jobs(request: web.Request) -> web.StreamResponse:
    """GET /jobs?status=&type=&owner=&q=&limit=&cursor=: newest first."""
    page, cursor = await page_of_jobs(request)
    return json_response(JobPage(jobs=[job_summary(job) for job in page], nextCursor=cursor))


async def page_of_jobs(
    request: web.Request, *, everybody: bool = True, default_limit: int = queries.DEFAULT_LIMIT
) -> tuple[list[Job], str | None]:
    """The page that the query asks for, and the cursor of the next one if there is one.

    An admin sees everybody's jobs, unless `everybody` is False or the query names an owner.
    """
    scope = user(request).sees_only if everybody else user(request).owner
    wanted = request.query.get("owner") or None
    if scope is not None and wanted not in (None, scope):
        return [], None
    cursor = queries.id_cursor(request)
    limit = queries.limit(request, default_limit)
    found = await services(request).database.read(
        job_reads.page(
            owner=scope or wanted,
            status=queries.one_of(JobStatus, request, "status"),
            job_type=queries.one_of(JobType, request, "type"),
            q=request.query.get("q", "").strip()[:200] or None,
            before=cursor,
            limit=limit + 1,
        )
    )
    page = found[:limit]
    return page, page[-1].id if len(found) > limit else None


async def get_job(request: web.Request) -> web.StreamResponse:
    """GET /jobs/{jobId}"""
    job_id = request.match_info["job_id"]
    found = await services(request).database.read(_whole_job(job_id)) if is_id(job_id) else None
    scope = user(request).sees_only
    if found is None or (scope is not None and found[0].owner != scope):
        raise NotFound("There is no such job, or it is not yours.")
    job, attempts, history = found
    document: WholeJob = {
        **job_document(job, user(request).owner),
        "attempts": [attempt_document(attempt) for attempt in attempts],
        "history": [history_document(entry) for entry in history],
    }
    return json_response(document)


def _whole_job(job_id: str) -> Transaction[tuple[Job, list[Attempt], list[HistoryEntry]] | None]:
    job = yield from job_reads.get(job_id)
    if job is None:
        return None
    attempts = yield from job_reads.attempts(job_id)
    history = yield from job_reads.history(job_id)
    return job, attempts, history
