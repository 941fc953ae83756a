"""GET /dashboard: is everything all right, and what is going on (DIAGRAMS.md, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.backups.backups import UnderWay
from appliance.costs import Prices
from appliance.database import (
    figures,
    history,
    keys,
    lifecycle,
    pauses,
    resumables,
    scrub,
    stored_files,
    workers,
)
from appliance.database.figures import QueueFigures, RunningJob, Stored
from appliance.database.history import History
from appliance.database.pauses import Pause
from appliance.database.protocol import Transaction
from appliance.database.resumables import Unfinished
from appliance.database.scrub import DamagedFile
from appliance.database.workers import PoolState, Worker
from appliance.errors import ProcessingError, StorageUnavailable, codes_below
from appliance.jobs import Job, JobType
from appliance.web import health_tiles, words
from appliance.web.backup_words import under_way_words
from appliance.web.documents import Part
from appliance.web.health import check_parts
from appliance.web.health_tiles import Tile
from appliance.web.jobs import next_page, page_of_jobs, shown_filters
from appliance.web.metric_tiles import metric_tiles
from appliance.web.pool_panel import PAUSE_CHOICES, owner_pauses, pool_cells
from appliance.web.representation import job_summary
from appliance.web.services import Services, services
from appliance.web.shared_panels import shared_panels
from appliance.web.summary import MANY_DAMAGED, summarise
from appliance.web.templates import render_panels

DAY_S = 24 * 3600.0
JOB_ERROR_CODES = codes_below(ProcessingError)


class Seen(NamedTuple):
    """What the dashboard shows beside its jobs, read on one snapshot."""

    queue: QueueFigures
    history: History
    """Of the last two hours, by minutes."""
    servers: list[Worker]
    pools: list[PoolState]
    running: list[RunningJob]
    paused: list[Pause]
    missing: int
    damaged: list[DamagedFile]
    stored: dict[JobType, Stored]
    cold: lifecycle.Totals
    unfinished: Unfinished
    names: dict[str, str]


@shared_panels
async def show_dashboard(request: web.Request) -> web.Response:
    """The whole page, or with `?fragment=panels` the part that is refreshed."""
    shared = services(request)
    page, cursor = await page_of_jobs(request)
    now = shared.clock.now()
    filters = shown_filters(request)
    owners = {job.owner for job in page} | {filters["owner"] or ""}
    seen = await shared.database.read(_seen(owners, now=now))
    parts = await check_parts(shared)
    context = {
        "summary": summarise(
            parts,
            seen.pools,
            seen.servers,
            seen.queue,
            seen.paused,
            seen.missing,
            seen.damaged,
            seen.names,
        ),
        "health": await _health(shared, parts, seen),
        "stored": seen.stored,
        "cost": _cost(shared.prices, seen.stored, seen.cold),
        "backups": parts.get("backup"),
        "backup_under_way": under_way_words(_under_way(shared)),
        "has_backup_place": shared.backups is not None,
        "metrics": metric_tiles(seen.history, seen.queue, seen.pools, now=now),
        "pools": pool_cells(seen.pools, seen.queue, seen.running, seen.paused, seen.names),
        "owner_pauses": owner_pauses(seen.paused, seen.names),
        "pause_choices": PAUSE_CHOICES,
        "jobs": [_row(job, now, seen.names) for job in page],
        "filters": filters,
        "only_of": seen.names.get(filters["owner"] or "", filters["owner"]),
        "codes": JOB_ERROR_CODES,
        "more_url": next_page(request, cursor),
    }
    return render_panels(request, "dashboard", context)


def _seen(owners: set[str], *, now: float) -> Transaction[Seen]:
    paused = yield from pauses.in_force(now=now)
    people = owners | {pause.actor for pause in paused} | {pause.name for pause in paused}
    return Seen(
        queue=(yield from figures.queue()),
        history=(yield from history.read(history.TWO_HOURS, now=now)),
        servers=(yield from workers.servers()),
        pools=(yield from workers.pools()),
        running=(yield from figures.running()),
        paused=paused,
        missing=(yield from stored_files.count_missing()),
        damaged=(yield from scrub.damaged(MANY_DAMAGED + 1)),
        stored=(yield from figures.stored()),
        cold=(yield from lifecycle.cold()),
        unfinished=(yield from resumables.unfinished(since=now - DAY_S)),
        names=(yield from keys.names(people)),
    )


async def _health(shared: Services, parts: Mapping[str, Part], seen: Seen) -> list[Tile]:
    now = shared.clock.now()
    condition = await shared.database.condition()
    try:
        space = await shared.storage.space()
    except StorageUnavailable:
        space = None
    return [
        health_tiles.api_tile(seen.servers),
        health_tiles.database_tile(condition, parts["database"], now=now),
        health_tiles.queue_tile(seen.queue, seen.pools, now=now),
        health_tiles.workers_tile(seen.queue, seen.pools),
        health_tiles.storage_tile(space, parts["storage"], seen.unfinished),
        health_tiles.scanner_tile(seen.pools, scans=shared.scans),
        health_tiles.sandbox_tile(seen.pools, parts["sandbox"]),
        health_tiles.paused_tile(seen.pools, seen.paused, seen.names),
    ]


def _under_way(shared: Services) -> UnderWay | None:
    return shared.backups.backups.under_way if shared.backups else None


def _cost(prices: Prices, stored: Mapping[JobType, Stored], cold: lifecycle.Totals) -> str:
    total = sum(one.originals.size_bytes + one.results.size_bytes for one in stored.values())
    usd = prices.monthly_usd(hot_bytes=total - cold.size_bytes, cold_bytes=cold.size_bytes)
    told = f"{words.bytes_in_words(total)} in all"
    each = f"at ${prices.hot_usd:g} for a GB"
    if cold.files:
        told += f", {words.bytes_in_words(cold.size_bytes)} of it in the cold place"
        each += f", and ${prices.cold_usd:g} there"
    return f"{told}; ${usd:,.2f} a month, {each}"


def _row(job: Job, now: float, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        **job_summary(job),
        "createdAt": job.created_at,
        "time": _time(job, now),
        "who": names.get(job.owner, job.owner),
        "possible": job.status.possible,
    }


def _time(job: Job, now: float) -> str:
    """How long the job took so far, from its arrival."""
    return words.duration(max(0.0, (job.finished_at or now) - job.created_at))
