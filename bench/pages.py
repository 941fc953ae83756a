"""Pages: a million jobs in the table, 200 open dashboards, and uploads at the same time.

Three questions: is every page there within 100 ms, what does one who looks cost, and does whoever
uploads notice. The uploads are 100 KiB each, 16 at once, as fast as they go. Rounds are
interleaved: without viewers; with open dashboards; with open upload pages, whose event streams
tell of their owner's jobs; and, for comparison, with streams of every job, as no page has them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.contestants import Contestant
from bench.crowd import OWNERS, Crowd
from bench.rounds import ROUNDS, ratios, spread, table
from bench.server import Appliance
from bench.upload import NO_WORKERS, SMALL_BYTES, put_head

VIEWERS = 200
AT_ONCE = 16
ROUND_S = 2.5
QUIET_S = 8.0
TOUR_S = 15.0
GOAL_MS = 100
GOAL_RATIO = 0.9
PANELS = "/dashboard?fragment=panels"

NOBODY, DASHBOARDS = "nobody looks", "200 open dashboards"
PAGES, STREAMS = "200 open upload pages", "200 streams of every job"


@dataclass
class Rounds:
    """Of uploads while somebody looks."""

    rate: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


class Stage:
    def __init__(self, ours: Appliance, load: Contestant, looking: Contestant, touring: Contestant):
        self.ours, self._load, self._looking, self._touring = ours, load, looking, touring
        self._own = {"port": ours.port, "key": ours.key}
        self.somebody = ""
        """The key of somebody else than the one who uploads as fast as it goes."""

    async def uploads(self, seconds: float) -> dict[str, Any]:
        """As fast as they go."""
        return await self._upload(self.ours.key, at_once=AT_ONCE, seconds=seconds)

    async def now_and_then(self, seconds: float) -> None:
        """Four in a second, of somebody."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await self._upload(self.somebody, at_once=1, count=1)
            await asyncio.sleep(0.25)

    async def _upload(self, key: str, **terms: Any) -> dict[str, Any]:
        head = put_head(self.ours, "a-{n}.txt", SMALL_BYTES).replace(self.ours.key, key)
        words = {"body": "words ", "body_bytes": SMALL_BYTES}
        return await self._load.round(port=self.ours.port, head=head, status=202, **words, **terms)

    async def viewers(self, who: str, seconds: float) -> dict[str, Any]:
        if who == NOBODY:
            await asyncio.sleep(seconds)
            return {}
        doing = {
            DASHBOARDS: {"doing": "watch", "path": PANELS, "every_s": 2.0},
            PAGES: {"doing": "listen", "path": "/events?mine=1", "key": self.somebody},
            STREAMS: {"doing": "listen", "path": "/events"},
        }[who]
        order = {**self._own, **doing, "count": VIEWERS, "seconds": seconds}
        return await self._looking.round(**order)

    async def tour(self, paths: list[str], seconds: float) -> dict[str, Any]:
        return await self._touring.round(**self._own, doing="tour", paths=paths, seconds=seconds)


async def run() -> str:
    database = await Crowd.kept(Path("data/crowd"))
    pages = _pages(database)
    async with AsyncExitStack() as stack:
        load, looking, touring = [
            await stack.enter_async_context(Contestant(module))
            for module in ("load", "viewers", "viewers")
        ]
        ours = await stack.enter_async_context(
            Appliance(database=database, max_connections_per_client="0", **NO_WORKERS)
        )
        stage = Stage(ours, load, looking, touring)
        stage.somebody = await _key_of_somebody(ours)
        await stage.tour(list(pages.values()), 1.0)  # warm: templates, statements
        await stage.uploads(1.0)
        lines = await _harm(stage)
        lines += ["", *await _cost(stage)]
        lines += ["", *await _times(stage, pages)]
    return "\n".join(lines)


async def _key_of_somebody(ours: Appliance) -> str:
    wanted = {"name": "somebody", "role": "user"}
    async with (
        aiohttp.ClientSession(ours.url, headers=ours.headers) as session,
        session.post("/keys", json=wanted, raise_for_status=True) as response,
    ):
        key: str = (await response.json())["key"]
        return key


def _pages(database: Path) -> dict[str, str]:
    """By what they show, their paths."""
    connection = sqlite3.connect(database)
    job, failed = (
        connection.execute(f"SELECT max(id) FROM jobs WHERE {condition}").fetchone()[0]
        for condition in ("status = 'COMPLETED'", "status = 'FAILED'")
    )
    connection.close()
    return {
        "upload page": "/",
        "dashboard": "/dashboard",
        "dashboard, its panels": PANELS,
        "dashboard, FAILED": "/dashboard?status=FAILED",
        "search, an id": f"/dashboard?q={job}",
        "search, part of many old names": "/dashboard?q=photo-12",
        "search, part of no name": "/dashboard?q=nothing",
        "search, an owner": f"/dashboard?q={OWNERS[3]}",
        "search, of the last hour": "/dashboard?since=1h&type=PDF",
        "a job": f"/dashboard/jobs/{job}",
        "a job that failed": f"/dashboard/jobs/{failed}",
        "dead letters": "/dashboard/dead-letters",
        "metrics, an hour": "/dashboard/metrics",
        "metrics, a week": "/dashboard/metrics?range=week",
        "workers": "/dashboard/workers",
        "audit log": "/dashboard/audit",
        "settings": "/dashboard/settings",
        "webhooks": "/dashboard/webhooks",
        "access": "/dashboard/access",
    }


async def _harm(stage: Stage) -> list[str]:
    """Uploads with and without viewers."""
    found = {who: Rounds() for who in (NOBODY, DASHBOARDS, PAGES, STREAMS)}
    for _ in range(ROUNDS):
        for who, rounds in found.items():
            uploads, _ = await asyncio.gather(
                stage.uploads(ROUND_S), stage.viewers(who, ROUND_S + 0.2)
            )
            rounds.rate.append(uploads["rate"])
            rounds.p99_ms.append(uploads["p99_ms"])
    alone = found[NOBODY]
    rows = [(f"uploads, {AT_ONCE} at once", "per s", "ratio", "p99 in ms", "ratio", "")]
    for who, rounds in found.items():
        rate, p99 = ratios(rounds.rate, alone.rate), ratios(rounds.p99_ms, alone.p99_ms)
        short = statistics.median(rate) < GOAL_RATIO
        rows.append(
            (
                who,
                spread(rounds.rate),
                spread(rate, digits=2),
                spread(rounds.p99_ms, digits=1),
                spread(p99, digits=2),
                f"below {GOAL_RATIO}" if short else "",
            )
        )
    return table(rows)


async def _cost(stage: Stage) -> list[str]:
    """What viewers take of the server's processor; a little is uploaded, so that things change."""
    rows = [("the server's processor", "of a core", "each viewer", "told", "each time", "KB each")]
    idle = 0.0
    for who in (NOBODY, DASHBOARDS, PAGES, STREAMS):
        before, began = stage.ours.cpu_s(), time.perf_counter()
        seen, _ = await asyncio.gather(stage.viewers(who, QUIET_S), stage.now_and_then(QUIET_S))
        used = (stage.ours.cpu_s() - before) / (time.perf_counter() - began)
        if who == NOBODY:
            idle = used
            rows.append((who, f"{used:.1%}", "", "", "", ""))
            continue
        told = seen["events"] or sum(map(len, seen["answers"].values()))
        rows.append(
            (
                who,
                f"{used:.1%}",
                f"{(used - idle) / VIEWERS:.3%}",
                f"{told:,}",
                f"{(used - idle) * QUIET_S / max(1, told) * 1000:.2f} ms",
                f"{seen['bytes'] / max(1, told) / 1000:.1f}",
            )
        )
    return table(rows)


async def _times(stage: Stage, pages: Mapping[str, str]) -> list[str]:
    """Every page, with all dashboards open and uploads as fast as they go."""
    toured, _, _ = await asyncio.gather(
        stage.tour(list(pages.values()), TOUR_S),
        stage.uploads(TOUR_S),
        stage.viewers(DASHBOARDS, TOUR_S),
    )
    alone = await stage.tour(list(pages.values()), TOUR_S / 4)
    rows = [("ms", "p50", "p95", "", "nobody else: p50", "p95")]
    for name, path in pages.items():
        times = toured["answers"][path]
        late = _percentile(times, 0.95) > GOAL_MS
        quiet = alone["answers"][path]
        rows.append(
            (
                name,
                f"{_percentile(times, 0.5):.1f}",
                f"{_percentile(times, 0.95):.1f}",
                f"above {GOAL_MS}" if late else "",
                f"{_percentile(quiet, 0.5):.1f}",
                f"{_percentile(quiet, 0.95):.1f}",
            )
        )
    return [f"pages, with {VIEWERS} open dashboards and uploads, {AT_ONCE} at once", *table(rows)]


def _percentile(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]
