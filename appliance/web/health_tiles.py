"""The health tiles of the dashboard: each part of the system with a figure and its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from appliance.database.figures import QueueFigures
from appliance.database.pauses import Pause
from appliance.database.protocol import Condition
from appliance.database.resumables import Unfinished
from appliance.database.workers import PoolState, Worker, layers, processors
from appliance.errors import ScannerUnavailable
from appliance.jobs import JobStatus, JobType
from appliance.storage.protocol import Space
from appliance.web import words
from appliance.web.documents import Part
from appliance.web.pool_panel import pause_words, trouble

BACKLOG_PER_WORKER = 10
"""More queued jobs than this for each worker is worth a word (the rule of DIAGRAMS.md, 7)."""


class Tile(NamedTuple):
    name: str
    state: str
    """One of `STATE` in templates/macros.html."""
    word: str
    value: str
    detail: str
    limit: str | None = None
    fraction: float | None = None
    """How full it is, 0 to 1, where that means something."""
    href: str | None = None
    more: str = ""
    """Told on hover."""


def api_tile(servers: Sequence[Worker]) -> Tile:
    """Of all processes that serve HTTP: how many live, of those that are known."""
    serving = [server for server in servers if server.kind.serves]
    gone = [server for server in serving if server.gone_at is not None]
    versions = sorted({server.version for server in serving if server.gone_at is None})
    detail = f"version {words.plain(' and '.join(versions))}"
    if gone:
        detail = f"{words.plain(gone[-1].name)} is gone"
    return Tile(
        "API",
        "trouble" if gone else "ok",
        f"{len(gone)} gone" if gone else "OK",
        f"{len(serving) - len(gone)}/{len(serving)}",
        detail,
        href="/dashboard/workers#servers",
        more=words.plain("; ".join(map(server_words, serving))),
    )


def server_words(server: Worker) -> str:
    gone = ", gone" if server.gone_at is not None else ""
    return f"{server.name} (process {server.pid}, version {server.version}{gone})"


def database_tile(condition: Condition, part: Part, *, now: float) -> Tile:
    checked = "not looked through yet"
    if condition.checked_at is not None:
        checked = f"looked through {words.ago(condition.checked_at, now)}"
    log = ""
    if condition.log_bytes is not None:
        log = f"log {words.bytes_in_words(condition.log_bytes)}, "
    return Tile(
        "Database",
        "ok" if part["ok"] else "trouble",
        "OK" if part["ok"] else "Damaged or down",
        words.bytes_in_words(condition.size_bytes),
        f"{log}{checked}" if part["ok"] else part["detail"],
    )


def queue_tile(queue: QueueFigures, pools: Sequence[PoolState], *, now: float) -> Tile:
    queued = queue.total(JobStatus.PENDING)
    backlog = queued > sum(pool.largest for pool in pools) * BACKLOG_PER_WORKER
    oldest = min(queue.oldest_at.values(), default=None)
    waiting = "nothing waits"
    if oldest is not None:
        waiting = f"oldest waits {words.duration(max(0.0, now - oldest))}"
    return Tile(
        "Queue",
        "busy" if backlog else "ok",
        "Long" if backlog else "Healthy",
        f"{queued:,}",
        f"{waiting}, {queue.total(JobStatus.RETRYING):,} trying again",
        more=_by_type(queue.by_type(JobStatus.PENDING)),
    )


def workers_tile(queue: QueueFigures, pools: Sequence[PoolState]) -> Tile:
    largest = sum(pool.largest for pool in pools)
    busy = queue.total(JobStatus.PROCESSING)
    up = all(pool.ready and pool.outage is None for pool in pools)
    unused = next((one.fault for one in processors(pools) if one.fault is not None), None)
    active = queue.by_type(JobStatus.PROCESSING)
    return Tile(
        "Workers",
        "ok" if up and unused is None else "trouble",
        "Held up" if not up else "OK" if unused is None else "Without a plug-in",
        str(busy),
        unused or f"{busy} of {largest} at work",
        limit=str(largest),
        fraction=busy / largest if largest else None,
        href="#pools",
        more=_by_type({pool.type: f"{active[pool.type]} of {pool.largest}" for pool in pools}),
    )


def _by_type(figures: Mapping[JobType, object]) -> str:
    return ", ".join(f"{words.KINDS[job_type]} {figure}" for job_type, figure in figures.items())


def storage_tile(space: Space | None, part: Part, unfinished: Unfinished) -> Tile:
    tile = Tile(
        "Storage",
        "ok" if part["ok"] else "trouble",
        "OK" if part["ok"] else "Down" if space is None else "Full",
        "no limit" if part["ok"] else "not usable",
        part["detail"],
    )
    if space is not None:
        used = 1 - space.free_bytes / space.total_bytes
        tile = tile._replace(
            value=f"{used:.0%} used",
            detail=f"{words.bytes_in_words(space.free_bytes)} free of "
            f"{words.bytes_in_words(space.total_bytes)}",
            fraction=used,
        )
    return tile._replace(detail=tile.detail + _unfinished(unfinished))


def _unfinished(found: Unfinished) -> str:
    """What resumable uploads have to do with the space, where they have."""
    told = ""
    if found.uploads:
        held = words.bytes_in_words(found.held_bytes)
        told += f"; {words.count(found.uploads, 'unfinished upload')}, {held}"
    if found.reclaimed_bytes:
        told += f"; {words.bytes_in_words(found.reclaimed_bytes)} reclaimed today"
    return told


def scanner_tile(pools: Sequence[PoolState], *, scans: bool) -> Tile:
    if not scans:
        return Tile("Scanner", "off", "Not set", "–", "files are not scanned for viruses")
    outages = [pool.outage for pool in pools if pool.outage is not None]
    down = any(outage.code == ScannerUnavailable.code for outage in outages)
    return Tile(
        "Scanner",
        "trouble" if down else "ok",
        "Down" if down else "OK",
        "ClamAV",
        "jobs wait until it answers" if down else "files are scanned first",
    )


def sandbox_tile(pools: Sequence[PoolState], part: Part) -> Tile:
    found = layers(processors(pools))
    missing = [layer for layer, why in found.items() if why]
    detail = f"without {', '.join(missing)}" if missing else "walls around the work on files"
    return Tile(
        "Sandbox",
        "ok" if part["ok"] else "trouble",
        "Closed" if part["ok"] else "Open",
        str(len(found) - len(missing)),
        detail if found else part["detail"],
        limit=str(len(found)),
        href="/dashboard/workers#layers",
    )


def paused_tile(
    pools: Sequence[PoolState], paused: Sequence[Pause], names: Mapping[str, str]
) -> Tile:
    """What begins nothing now: stopped by people, or held up by a fault; each with its reason."""
    held = [
        f"{words.KINDS[pool.type]}: {why['reason']}"
        for pool in pools
        if (why := trouble(pool)) is not None
    ]
    stopped = [_pause(pause, names) for pause in paused]
    told = held + stopped
    others = f", and {len(told) - 1} more" if len(told) > 1 else ""
    return Tile(
        "Paused",
        "held" if held else "paused" if stopped else "ok",
        "Held up" if held else "By people" if stopped else "Nothing",
        str(len(told)),
        words.sentence(told[0]).rstrip(".") + others if told else "all work goes on",
        href="#pools",
        more=" ".join(map(words.sentence, told)),
    )


def _pause(pause: Pause, names: Mapping[str, str]) -> str:
    about = pause_words(pause, names)
    who = words.KINDS.get(pause.name, pause.name) if pause.kind == "type" else about["who"]
    return f"{words.plain(who)}: {about['reason']}"
