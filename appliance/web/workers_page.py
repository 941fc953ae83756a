"""GET /dashboard/workers: who works, why there are so many, what holds them up, what they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.database import figures, keys, pauses, workers
from appliance.database.figures import QueueFigures, RunningJob
from appliance.database.pauses import Pause
from appliance.database.protocol import Transaction
from appliance.database.workers import Kind, Lease, PoolState, ProcessorState, Scaling, Worker
from appliance.web import words
from appliance.web.pool_panel import PAUSE_CHOICES, owner_pauses, pool_cells
from appliance.web.services import services
from appliance.web.shared_panels import shared_panels
from appliance.web.templates import render_panels

SCALINGS = 50
"""Of all types together, as many are shown."""


DOES = {
    Kind.API: "serves HTTP",
    Kind.WORKER: "works on jobs",
    Kind.BOTH: "serves HTTP and works on jobs",
}


class Seen(NamedTuple):
    """What the page shows, read on one snapshot."""

    queue: QueueFigures
    pools: list[PoolState]
    running: list[RunningJob]
    paused: list[Pause]
    scalings: list[Scaling]
    lives: list[Worker]
    leases: list[Lease]
    names: dict[str, str]


@shared_panels
async def show_workers(request: web.Request) -> web.Response:
    """GET /dashboard/workers"""
    shared = services(request)
    now = shared.clock.now()
    seen = await shared.database.read(_seen(now=now))
    found = workers.processors(seen.pools)
    held = {life.id: 0 for life in seen.lives}
    for lease in seen.leases:
        held[lease.worker] = held.get(lease.worker, 0) + 1
    context = {
        "pools": pool_cells(seen.pools, seen.queue, seen.running, seen.paused, seen.names),
        "owner_pauses": owner_pauses(seen.paused, seen.names),
        "pause_choices": PAUSE_CHOICES,
        "scalings": [_scaling(one) for one in seen.scalings],
        "processors": [_processor(one) for one in found],
        "layers": _layers(workers.layers(found)),
        "servers": [
            {
                "id": life.id,
                "name": words.plain(life.name),
                "pid": life.pid,
                "does": DOES[life.kind],
                "version": words.plain(life.version),
                "gone": life.gone_at is not None,
                "started_at": life.started_at,
                "beat_at": life.beat_at,
                "jobs": held[life.id],
            }
            for life in seen.lives
        ],
    }
    return render_panels(request, "workers", context)


def _seen(*, now: float) -> Transaction[Seen]:
    paused = yield from pauses.in_force(now=now)
    people = {pause.actor for pause in paused} | {pause.name for pause in paused}
    lives, leases = yield from workers.census()
    return Seen(
        queue=(yield from figures.queue()),
        pools=(yield from workers.pools()),
        running=(yield from figures.running()),
        paused=paused,
        scalings=(yield from workers.scalings(limit=SCALINGS)),
        lives=lives,
        leases=leases,
        names=(yield from keys.names(people)),
    )


def _scaling(one: Scaling) -> dict[str, Any]:
    return {
        "at": one.at,
        "type": one.type,
        "before": one.workers_before,
        "after": one.workers_after,
        "reason": words.plain(one.reason.partition(": ")[2] or one.reason),
    }


def _processor(one: ProcessorState) -> dict[str, Any]:
    return {
        "name": words.plain(one.name),
        "version": one.version and words.plain(one.version),
        "content_types": words.plain(", ".join(one.content_types)),
        "ready": one.ready and one.fault is None,
        "fault": one.fault and words.plain(one.fault),
    }


def _layers(found: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": layer, "holds": not why, "why": words.plain(why)} for layer, why in found.items()
    ]
