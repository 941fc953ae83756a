"""GET /dashboard: is everything all right, and what is going on (DIAGRAMS.md, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.database import figures, history, keys, pauses, resumables, stored_files, workers
from appliance.database.figures import QueueFigures, RunningJob
from appliance.database.history import History
from appliance.database.pauses import Pause
from appliance.database.protocol import Transaction
from appliance.database.workers import PoolState, layers, processors
from appliance.errors import ProcessingError, ScannerUnavailable, codes_below
from appliance.jobs import Job, JobStatus
from appliance.web import words
from appliance.web.documents import Part
from appliance.web.health import check_parts
from appliance.web.jobs import next_page, page_of_jobs, shown_filters
from appliance.web.metric_tiles import metric_tiles
from appliance.web.pool_panel import PAUSE_CHOICES, owner_pauses, pool_cells
from appliance.web.representation import job_summary
from appliance.web.services import Services, services
from appliance.web.summary import summarise
from appliance.web.shared_panels import shared_panels
from appliance.web.templates import render_panels

DAY_S = 24 * 3600.0
BACKLOG_PER_WORKER = 10
"""More queued jobs than this for each worker is worth a word (the rule of DIAGRAMS.md, 7)."""

JOB_ERROR_CODES = codes_below(ProcessingError)


class Seen(NamedTuple):
    """What the dashboard shows beside its jobs, read on one snapshot."""

    queue: QueueFigures
    history: History
    """Of the last two hours, by minutes."""
    pools: list[PoolState]
    running: list[RunningJob]
    paused: list[Pause]
    missing: int
    names: dict[str, str]


@shared_panels
async def show_dashboard(request: web.Request) -> web.Response:
    """The whole page, or with `?fragment=panels` the part that is refreshed."""
    shared = services(request)
    page, cursor = await page_of_jobs(request)
    now = shared.clock.now()
    owners = {job.owner for job in page}
    seen = await shared.database.read(_seen(owners, now=now))
    parts = await check_parts(shared)
    context = {
        "summary": summarise(parts, seen.pools, seen.queue, seen.paused, seen.missing, seen.names),
        "health": await _health(shared, parts, seen.queue, seen.pools),
        "metrics": metric_tiles(seen.history, seen.queue, seen.pools, now=now),
        "pools": pool_cells(seen.pools, seen.queue, seen.running, seen.paused, seen.names),
        "owner_pauses": owner_pauses(seen.paused, seen.names),
        "pause_choices": PAUSE_CHOICES,
        "jobs": [_row(job, now, seen.names) for job in page],
        "filters": shown_filters(request),
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
        pools=(yield from workers.pools()),
        running=(yield from figures.running()),
        paused=paused,
        missing=(yield from stored_files.count_missing()),
        names=(yield from keys.names(people)),
    )


async def _health(
    shared: Services,
    parts: dict[str, Part],
    queue: QueueFigures,
    pools: list[PoolState],
) -> list[dict[str, Any]]:
    queued = queue.total(JobStatus.PENDING)
    largest = sum(pool.largest for pool in pools)
    busy = queue.total(JobStatus.PROCESSING)
    up = all(pool.ready and pool.outage is None for pool in pools)
    unused = next((one.fault for one in processors(pools) if one.fault is not None), None)
    backlog = queued > largest * BACKLOG_PER_WORKER
    oldest = min(queue.oldest_at.values(), default=None)
    waiting = (
        "nothing waits"
        if oldest is None
        else f"oldest waits {words.duration(max(0.0, shared.clock.now() - oldest))}"
    )
    return [
        {
            "name": "API",
            "state": "ok" if parts["database"]["ok"] else "trouble",
            "word": "OK" if parts["database"]["ok"] else "Database down",
            "value": "1/1",
            "limit": None,
            "detail": f"database {words.bytes_in_words(await shared.database.size_bytes())}",
            "fraction": None,
        },
        {
            "name": "Queue",
            "state": "busy" if backlog else "ok",
            "word": "Long" if backlog else "Healthy",
            "value": f"{queued:,}",
            "limit": None,
            "detail": f"{waiting}, {queue.total(JobStatus.RETRYING):,} trying again",
            "fraction": None,
        },
        {
            "name": "Workers",
            "state": "ok" if up and unused is None else "trouble",
            "word": "Held up" if not up else "OK" if unused is None else "Without a plug-in",
            "value": str(busy),
            "limit": str(largest),
            "detail": unused or f"{busy} of {largest} at work",
            "fraction": busy / largest if largest else None,
        },
        await _storage_tile(shared, parts["storage"]),
        _scanner_tile(shared.scans, pools),
        _sandbox_tile(layers(processors(pools)), parts["sandbox"]),
    ]


def _scanner_tile(scans: bool, pools: list[PoolState]) -> dict[str, Any]:
    outages = [pool.outage for pool in pools if pool.outage is not None]
    down = any(outage.code == ScannerUnavailable.code for outage in outages)
    detail = "jobs wait until it answers" if down else "files are scanned first"
    return {
        "name": "Scanner",
        "state": "off" if not scans else "trouble" if down else "ok",
        "word": "Not set" if not scans else "Down" if down else "OK",
        "value": "ClamAV" if scans else "–",
        "limit": None,
        "detail": detail if scans else "files are not scanned for viruses",
        "fraction": None,
    }


def _sandbox_tile(found: Mapping[str, str], part: Part) -> dict[str, Any]:
    missing = [layer for layer, why in found.items() if why]
    detail = "walls around the work on files"
    if missing:
        detail = f"without {', '.join(missing)}"
    return {
        "name": "Sandbox",
        "state": "ok" if part["ok"] else "trouble",
        "word": "Closed" if part["ok"] else "Open",
        "value": str(len(found) - len(missing)),
        "limit": str(len(found)),
        "detail": detail if found else part["detail"],
        "fraction": None,
    }


async def _storage_tile(shared: Services, part: Part) -> dict[str, Any]:
    space = await shared.storage.space()
    tile: dict[str, Any] = {
        "name": "Storage",
        "state": "ok" if part["ok"] else "trouble",
        "word": "OK" if part["ok"] else "Full",
        "value": "no limit",
        "limit": None,
        "detail": part["detail"],
        "fraction": None,
    }
    if space is not None:
        used = 1 - space.free_bytes / space.total_bytes
        tile |= {
            "value": f"{used:.0%} used",
            "detail": f"{words.bytes_in_words(space.free_bytes)} free of "
            f"{words.bytes_in_words(space.total_bytes)}",
            "fraction": used,
        }
    tile["detail"] += _unfinished(
        await shared.database.read(resumables.unfinished(since=shared.clock.now() - DAY_S))
    )
    return tile


def _unfinished(found: resumables.Unfinished) -> str:
    """What resumable uploads have to do with the space, where they have."""
    told = ""
    if found.uploads:
        held = words.bytes_in_words(found.held_bytes)
        told += f"; {words.count(found.uploads, 'unfinished upload')}, {held}"
    if found.reclaimed_bytes:
        told += f"; {words.bytes_in_words(found.reclaimed_bytes)} reclaimed today"
    return told


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
