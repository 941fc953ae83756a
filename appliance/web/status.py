"""GET /status/{jobId}: the job as it is now, from the cache where it can."""

from __future__ import annotations

import re
import time

import msgspec
from aiohttp import web

from appliance.database import job_reads
from appliance.errors import BadRequest, NotFound
from appliance.events import job_topic, status_key
from appliance.ids import is_id
from appliance.jobs import JobStatus
from appliance.web.representation import (
    encode,
    has_personal_facts,
    is_known,
    job_document,
)
from appliance.web.services import Services, services, user

CACHE_S = 1.0
MAX_WAIT_S = 60.0


class CachedStatus(msgspec.Struct, array_like=True):
    """A ready answer."""

    owner: str
    status: JobStatus
    etag: str
    body: bytes
    """For the owner."""
    body_for_others: bytes | None = None
    """Where there is something personal in the other."""

    def told_to(self, reader: str) -> CachedStatus:
        if reader == self.owner or self.body_for_others is None:
            return self
        return CachedStatus(self.owner, self.status, f'{self.etag[:-1]}-o"', self.body_for_others)


_decoder = msgspec.msgpack.Decoder(CachedStatus)
_encoder = msgspec.msgpack.Encoder()


async def get_status(request: web.Request) -> web.StreamResponse:
    """GET /status/{jobId}; `?wait=` seconds long-polls until the status is another one."""
    shared = services(request)
    wait_s = _wait_s(request)
    current = await visible_status(request)
    known = request.headers.get("If-None-Match")
    if wait_s and not current.status.is_final and (known is None or is_known(known, current.etag)):
        current = await _wait_for_change(request, shared, current, wait_s)
    headers = {"ETag": current.etag, "Cache-Control": "private, no-cache"}
    if is_known(known, current.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=current.body, headers=headers, content_type="application/json")


async def visible_status(request: web.Request) -> CachedStatus:
    """Of the job in the address. Raises NotFound when there is none or it is another's."""
    job_id = request.match_info["job_id"]
    found = await read_status(services(request), job_id) if is_id(job_id) else None
    scope = user(request).sees_only
    if found is None or (scope is not None and found.owner != scope):
        raise NotFound("There is no such job, or it is not yours.")
    return found.told_to(user(request).owner)


async def read_status(shared: Services, job_id: str) -> CachedStatus | None:
    cached = await shared.coordination.get(status_key(job_id))
    if cached is not None:
        return _decoder.decode(cached)
    job = await shared.database.read(job_reads.get(job_id))
    if job is None:
        return None
    status = CachedStatus(
        owner=job.owner,
        status=job.status,
        etag=f'"{job.version}"',
        body=encode(job_document(job, job.owner)),
        body_for_others=encode(job_document(job, "")) if has_personal_facts(job) else None,
    )
    await shared.coordination.set(status_key(job_id), _encoder.encode(status), ttl_s=CACHE_S)
    return status


async def _wait_for_change(
    request: web.Request, shared: Services, current: CachedStatus, wait_s: float
) -> CachedStatus:
    before = current.status
    deadline = time.monotonic() + wait_s
    async with shared.coordination.subscribe(job_topic(request.match_info["job_id"])) as changes:
        # Subscribed first, read again second: a change in between is not missed.
        current = await visible_status(request)
        while current.status == before and not shared.stopping.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await changes.next(min(left, 1.0))  # looks up now and then to see the server stop
            current = await visible_status(request)
    return current


def _wait_s(request: web.Request) -> float:
    text = request.query.get("wait", "0")
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text):
        raise BadRequest(f"wait is a number of seconds, up to {MAX_WAIT_S:.0f}.")
    return min(float(text), MAX_WAIT_S)
