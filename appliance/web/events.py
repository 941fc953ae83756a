"""GET /events and GET /jobs/{jobId}/events: server-sent events, one for every change of a job.

Each event is the whole job as GET /status gives it, with the id of the newest entry of the
history. A client that comes back with `Last-Event-ID` first gets every job that moved since, as
it is now: states are told, so nothing is missed that still matters.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from aiohttp import web

from appliance.coordination.protocol import Subscription
from appliance.database import job_reads
from appliance.events import ALL_JOBS, JobChanged, job_topic, owner_topic
from appliance.web import bodies
from appliance.web.auth import still_signed_in
from appliance.web.job_news import JOB_NEWS, JobNews
from appliance.web.representation import encode, job_document
from appliance.web.services import Services, services, user
from appliance.web.status import visible_status

HEARTBEAT_S = 15.0
"""A comment line this often keeps proxies from closing a quiet stream."""

COALESCE_S = 0.1
"""Changes of one job within this time are told as one."""

MOST = 500
"""Jobs that are told of in one go; the others wait for the next."""

PIECE_BYTES = 64 * 1024
"""Events are written together up to about this much, and no more is made before it is taken."""

Send = Callable[[bytes], Awaitable[None]]


async def get_events(request: web.Request) -> web.StreamResponse:
    """GET /events: of everything that the user sees; `?mine=1`: of the user's own only."""
    scope = user(request).sees_only
    if request.query.get("mine") == "1":
        scope = user(request).owner
    topic = ALL_JOBS if scope is None else owner_topic(scope)
    return await _stream(request, topic, scope)


async def get_job_events(request: web.Request) -> web.StreamResponse:
    """GET /jobs/{jobId}/events: of one job; begins with how it is now, ends when it is final."""
    await visible_status(request)
    job_id = request.match_info["job_id"]
    return await _stream(request, job_topic(job_id), None, job_id=job_id)


async def _stream(
    request: web.Request, topic: str, scope: str | None, *, job_id: str | None = None
) -> web.StreamResponse:
    shared, reader = services(request), user(request).owner
    last_id = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx: pass events on as they come
        }
    )
    await response.prepare(request)
    if request.method == "HEAD":
        return response

    async def send(data: bytes) -> None:
        await bodies.send(request, response, data)

    await send(b"retry: 2000\n\n")
    async with shared.coordination.subscribe(topic) as changes:
        if job_id is not None:
            if await _tell(send, request.app[JOB_NEWS], [job_id], reader):
                return response
        elif last_id.isdecimal():
            await _catch_up(send, shared, int(last_id[:18]), scope, reader)
        else:
            # An id without data: who is cut off before the first event comes back with it too.
            here = await shared.database.read(job_reads.last_history_id())
            await send(b"id: %d\n\n" % here)
        async for changed in _batches(changes, shared.stopping):
            if not await still_signed_in(request):
                return response
            if not changed:
                await send(b":\n\n")
            elif await _tell(send, request.app[JOB_NEWS], changed, reader) and job_id is not None:
                return response
    return response


async def _batches(changes: Subscription, stopping: asyncio.Event) -> AsyncIterator[list[str]]:
    """Ids of the jobs that changed, coalesced, MOST at a time; an empty list now and then when
    none did. Ends where some may have been missed: the reader comes back, and is told of all."""
    quiet_s = 0.0
    while not stopping.is_set() and not changes.lost:
        message = await changes.next(1.0)
        if message is None:
            quiet_s += 1.0
            if quiet_s >= HEARTBEAT_S:
                quiet_s = 0.0
                yield []
            continue
        quiet_s = 0.0
        await asyncio.sleep(COALESCE_S)
        changed = {_job_id(message): None}
        while len(changed) < MOST and (message := await changes.next(0)) is not None:
            changed[_job_id(message)] = None
        yield list(changed)


def _job_id(message: bytes) -> str:
    return msgspec.json.decode(message, type=JobChanged).job_id


async def _catch_up(
    send: Send, shared: Services, after: int, scope: str | None, reader: str
) -> None:
    """Tell of every job that moved after the entry `after` of the history, page by page."""
    go_on: int | None = after
    while go_on is not None:
        missed, go_on = await shared.database.read(
            job_reads.changed_since(go_on, owner=scope, limit=MOST)
        )
        for history_id, job in missed:
            await send(_event(history_id, encode(job_document(job, reader))))


async def _tell(send: Send, news: JobNews, job_ids: list[str], reader: str) -> bool:
    """Send each job as it is now; returns whether the last of them is in a final state.

    Read from the database: a cached status may be of before the change, and no second event
    would put that right.
    """
    found = await news.of(job_ids)
    jobs = [job for job_id in job_ids if (job := found.jobs.get(job_id)) is not None]
    piece = bytearray()
    for job in jobs:
        piece += _event(found.history_id, found.body(job, reader))
        if len(piece) >= PIECE_BYTES or job is jobs[-1]:
            await send(bytes(piece))
            piece.clear()
    return bool(jobs) and jobs[-1].status.is_final


def _event(history_id: int, body: bytes) -> bytes:
    return b"id: %d\nevent: job\ndata: %s\n\n" % (history_id, body)
