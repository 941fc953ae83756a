"""GET /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf
from typing import NamedTuple

import structlog
from aiohttp import web

from appliance.clock import since
from appliance.database import backups, figures, lifecycle, scrub, stored_files, workers
from appliance.database.backups import Backup
from appliance.database.protocol import Transaction
from appliance.database.workers import PoolState, ProcessorState
from appliance.errors import ApplianceError, StorageUnavailable
from appliance.jobs import JobStatus
from appliance.metrics import Metrics
from appliance.permissions import Permission
from appliance.principals import Principal
from appliance.processors.protocol import REQUIRED_LAYERS
from appliance.tls import Tls
from appliance.web.backup_words import backups_part
from appliance.web.documents import Alive, Part, Readiness
from appliance.web.representation import json_response
from appliance.web.services import USER, Services, services

log = structlog.get_logger()

LOOKED_AT = 20
"""Of the latest backups."""


async def get_healthz(request: web.Request) -> web.StreamResponse:
    """Alive: the process answers. It says nothing of its parts."""
    return json_response(Alive(status="ok"))


async def get_readyz(request: web.Request) -> web.StreamResponse:
    """Ready: uploads are taken. Which part does not work is for those who see everything."""
    shared = services(request)
    parts = await check_parts(shared)
    ready = not shared.stopping.is_set() and not any(
        part["needed"] and not part["ok"] for part in parts.values()
    )
    document: Readiness = {"status": "ready" if ready else "not ready"}
    asking: Principal | None = request[USER]
    if asking is not None and asking.may(Permission.READ_ALL):
        document["parts"] = parts
    return json_response(document, status=200 if ready else 503)


async def check_parts(shared: Services) -> dict[str, Part]:
    """Each part by name: `ok`, a `detail` for people, and whether uploads need it.

    A pool that does not work holds its jobs back, and no upload: they wait, durable.
    """
    parts: dict[str, Part] = {}
    pools: list[PoolState] = []
    known: list[Backup] = []
    proven = backups.LastProof(None, None)
    cooled: lifecycle.Pass | None = None
    now = shared.clock.now()
    try:
        pools = await shared.database.read(workers.pools())
        known = await shared.database.read(backups.latest(LOOKED_AT, now=now))
        proven = await shared.database.read(backups.last_proof(now=now))
        cooled = await shared.database.read(lifecycle.last_pass())
        damage = shared.database.faults
        parts["database"] = _part(
            not damage, f"damaged: {damage[0]}" if damage else "answers", needed=True
        )
    except ApplianceError as error:
        parts["database"] = _part(False, error.detail, needed=True)
    try:
        await shared.admission.check_space(0)
        parts["storage"] = _part(True, "has room", needed=True)
    except ApplianceError as error:
        parts["storage"] = _part(False, error.detail, needed=True)
    if shared.queue.fault is not None:
        parts["queue"] = _part(False, shared.queue.fault)
    if shared.coordination.fault is not None:
        parts["cache"] = _part(False, shared.coordination.fault)
    parts["workers"] = _workers(pools)
    found = workers.processors(pools)
    parts["processors"] = _processors(found)
    parts["sandbox"] = _sandbox(workers.layers(found))
    kept = backups_part(known, proven.sound_at, every_s=shared.backup_every_s, now=now)
    if kept is not None:
        parts["backup"] = kept
    if cooled is not None and cooled.error is not None:
        parts["cold storage"] = _part(False, f"nothing is moved there: {cooled.error}")
    if shared.tls is not None:
        parts["certificate"] = _certificate(shared.tls, now)
    return parts


def _workers(pools: Sequence[PoolState]) -> Part:
    held_up = [
        f"{pool.type}: {pool.outage.reason if pool.outage else 'its nursery is not up'}"
        for pool in pools
        if pool.outage is not None or not pool.ready
    ]
    return _part(not held_up, " ".join(held_up) or f"{len(pools)} pools")


def _processors(found: Sequence[ProcessorState]) -> Part:
    """Those that are not used, and why; else all, each with its version."""
    faults = [one.fault or f"{one.name} is down." for one in found if one.fault or not one.ready]
    named = [f"{one.name} {one.version}" for one in found if one.version is not None]
    return _part(not faults, " ".join(faults) or ", ".join(named) or "none")


def _sandbox(layers: Mapping[str, str]) -> Part:
    """The layers that do not hold, and why; else all that do."""
    missing = [f"{layer}: {why}." for layer, why in layers.items() if why]
    open_wide = any(layers.get(layer) for layer in REQUIRED_LAYERS)
    return _part(not open_wide, " ".join(missing) or ", ".join(layers) or "no workers here")


def _certificate(tls: Tls, now: float) -> Part:
    warning = tls.warning(now)
    return _part(warning is None, warning or f"good for {tls.days_left(now)} days")


def _part(ok: bool, detail: str, *, needed: bool = False) -> Part:
    return {"ok": ok, "detail": detail, "needed": needed}


async def get_metrics(request: web.Request) -> web.StreamResponse:
    """GET /metrics: Prometheus text; the gauges are read now."""
    shared = services(request)
    metrics = shared.metrics
    queue = await shared.database.read(figures.queue())
    now = shared.clock.now()
    for job_type, queued in queue.by_type(JobStatus.PENDING).items():
        metrics.queued.labels(job_type).set(queued)
        oldest = queue.oldest_at.get(job_type)
        metrics.oldest_queued_seconds.labels(job_type).set(
            0 if oldest is None else max(0.0, now - oldest)
        )
    metrics.dead_letters.set(queue.dead_letters)
    active = queue.by_type(JobStatus.PROCESSING)
    pools = await shared.database.read(workers.pools())
    for layer, why in workers.layers(workers.processors(pools)).items():
        metrics.sandbox_layer.labels(layer).set(not why)
    servers = await shared.database.read(workers.servers())
    gone = sum(server.gone_at is not None for server in servers)
    metrics.servers.labels("live").set(len(servers) - gone)
    metrics.servers.labels("gone").set(gone)
    for pool in pools:
        metrics.active_workers.labels(pool.type).set(active[pool.type])
        metrics.worker_target.labels(pool.type).set(pool.target)
        metrics.worker_limit.labels(pool.type).set(pool.largest)
        metrics.outage.labels(pool.type).set(pool.outage is not None)
    _measure_files(metrics, await shared.database.read(_files()))
    now = shared.clock.now()
    known = await shared.database.read(backups.latest(LOOKED_AT, now=now))
    proven = await shared.database.read(backups.last_proof(now=now))
    _measure_backups(metrics, known, proven.sound_at, now)
    if shared.tls is not None:
        file = str(shared.tls.certificate_file)
        metrics.certificate_expiry.labels(file).set(shared.tls.expires_at)
    try:
        space = await shared.storage.space()
    except StorageUnavailable:
        metrics.storage_up.set(0)
    else:
        metrics.storage_up.set(1)
        if space is not None:
            metrics.storage_free_bytes.set(space.free_bytes)
    return web.Response(
        body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


class Files(NamedTuple):
    missing: int
    out_of_order: scrub.OutOfOrder
    scrubbed: scrub.Scrub | None
    cold: lifecycle.Totals
    cooled: lifecycle.Pass | None


def _files() -> Transaction[Files]:
    return Files(
        missing=(yield from stored_files.count_missing()),
        out_of_order=(yield from scrub.out_of_order()),
        scrubbed=(yield from scrub.progress()),
        cold=(yield from lifecycle.cold()),
        cooled=(yield from lifecycle.last_pass()),
    )


def _measure_files(metrics: Metrics, files: Files) -> None:
    metrics.missing_files.set(files.missing)
    metrics.damaged_files.set(files.out_of_order.damaged)
    metrics.unreadable_files.set(files.out_of_order.unreadable)
    if files.scrubbed is not None:
        metrics.scrub_began.set(files.scrubbed.began_at)
    metrics.cold_files.set(files.cold.files)
    metrics.cold_bytes.set(files.cold.size_bytes)
    if files.cooled is not None:
        metrics.lifecycle_ran.set(files.cooled.ran_at)
        metrics.lifecycle_failed.set(files.cooled.error is not None)


def _measure_backups(
    metrics: Metrics, known: Sequence[Backup], proven_at: float | None, now: float
) -> None:
    """`known` are the newest first."""
    taken = next((one for one in known if one.snapshot is not None), None)
    if taken is not None:
        metrics.backup_taken.set(0 if isinf(since(taken.began_at, now)) else taken.began_at)
    metrics.backup_proven.set(proven_at or 0)
    if known:
        is_damaged = taken is not None and taken.faults is not None
        metrics.backup_failed.set(known[0].error is not None or is_damaged)
