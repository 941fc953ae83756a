"""GET /healthz, /readyz and /metrics."""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web

from appliance.database import figures
from appliance.errors import ApplianceError
from appliance.web.representation import json_response
from appliance.web.services import USER, Services, User, services

log = structlog.get_logger()


async def get_healthz(request: web.Request) -> web.StreamResponse:
    """Alive: the process answers. It says nothing of its parts."""
    return json_response({"status": "ok"})


async def get_readyz(request: web.Request) -> web.StreamResponse:
    """Ready: every part works. Which one does not is for admins only."""
    parts = await check_parts(services(request))
    ready = not services(request).stopping.is_set() and all(part["ok"] for part in parts.values())
    document: dict[str, Any] = {"status": "ready" if ready else "not ready"}
    asking: User | None = request[USER]
    if asking is not None and asking.is_admin:
        document["parts"] = parts
    return json_response(document, status=200 if ready else 503)


async def check_parts(shared: Services) -> dict[str, dict[str, Any]]:
    """Each part by name: `ok`, and a `detail` for people."""
    parts: dict[str, dict[str, Any]] = {}
    try:
        await shared.database.read(figures.queue())
        parts["database"] = {"ok": True, "detail": "answers"}
    except ApplianceError as error:
        parts["database"] = {"ok": False, "detail": error.detail}
    try:
        await shared.receiver.check_space(0)
        parts["storage"] = {"ok": True, "detail": "has room"}
    except ApplianceError as error:
        parts["storage"] = {"ok": False, "detail": error.detail}
    pools = shared.pools()
    cold = [pool.type for pool in pools if not pool.ready]
    parts["workers"] = {
        "ok": not cold,
        "detail": f"not up: {', '.join(cold)}" if cold else f"{len(pools)} pools",
    }
    return parts


async def get_metrics(request: web.Request) -> web.StreamResponse:
    """GET /metrics: Prometheus text; the gauges are read now."""
    shared = services(request)
    metrics = shared.metrics
    queue = await shared.database.read(figures.queue())
    now = shared.clock.now()
    for job_type, queued in queue.queued.items():
        metrics.queued.labels(job_type).set(queued)
        oldest = queue.oldest_at.get(job_type)
        metrics.oldest_queued_seconds.labels(job_type).set(
            0 if oldest is None else max(0.0, now - oldest)
        )
    metrics.dead_letters.set(queue.dead_letters)
    for pool in shared.pools():
        metrics.active_workers.labels(pool.type).set(len(pool.running))
        metrics.worker_limit.labels(pool.type).set(pool.largest)
    space = await shared.storage.space()
    if space is not None:
        metrics.storage_free_bytes.set(space.free_bytes)
    return web.Response(
        body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )
