"""The durable queue with jobs that do nothing: enqueue, claim, complete; each of them synced.

The peers are huey on SQLite with fsync and procrastinate on PostgreSQL with fsync, on the same
disk, each in a process of its own with as many consumers as suit it best here. And from an
enqueue on an idle queue to the start of the attempt, in a warm child of a real nursery.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contestants import Contestant, peer_versions, peers_python, service
from bench.rounds import ROUNDS, ratios, spread, table


@dataclass
class Entry:
    """A contestant in one discipline, and what it made of it."""

    name: str
    contestant: Contestant
    order: dict[str, Any]
    goal: float | None = None
    """How many times as fast the first entry is to be."""
    rates: list[float] = field(default_factory=list)
    """Jobs per second, a round each."""

    async def play(self, *, jobs: int | None = None) -> None:
        order = self.order if jobs is None else {**self.order, "jobs": jobs}
        answer = await self.contestant.round(**order)
        if jobs is None:
            self.rates.append(order["jobs"] / answer["took_s"])


async def run() -> str:
    folder = Path(tempfile.mkdtemp(prefix="queue-", dir=Path.cwd() / "data"))
    try:
        return "\n".join(
            [
                f"SQLite {sqlite3.sqlite_version}, "
                + peer_versions("huey", "procrastinate", "psycopg"),
                f"a durable write of 4 KiB here: {spread(_sync_us(folder))} µs",
                "",
                *await _throughput(folder),
                "",
                *await _latency(folder),
            ]
        )
    finally:
        shutil.rmtree(folder)


async def _throughput(folder: Path) -> list[str]:
    python = peers_python()
    async with AsyncExitStack() as stack:
        url = stack.enter_context(service("postgres"))["POSTGRES_URL"]
        enter = stack.enter_async_context
        ours = await enter(Contestant("queue_ours", "throughput", str(folder)))
        huey = await enter(Contestant("queue_huey", str(folder / "huey.db"), python=python))
        procrastinate = await enter(Contestant("queue_procrastinate", url, python=python))
        recorded = {"jobs": 1000, "producers": 32, "consumers": 8, "recorded": True}
        entries = [
            Entry("the appliance", ours, {"jobs": 4000, "producers": 32, "consumers": 128}),
            Entry("huey, completion recorded", huey, recorded, goal=5),
            Entry("huey, completion not recorded", huey, {**recorded, "recorded": False}, goal=5),
            Entry(
                "procrastinate",
                procrastinate,
                {"jobs": 300, "producers": 32, "consumers": 32},
                goal=10,
            ),
            Entry(
                "the appliance, 200 producers",
                ours,
                {"jobs": 4000, "producers": 200, "consumers": 128},
            ),
        ]
        for entry in entries:
            await entry.play(jobs=200)  # warms it up
        for _ in range(ROUNDS):
            for entry in entries:
                await entry.play()
    rows = [("jobs/s, 32 producers", "", "the appliance is … times as fast", "goal")]
    first = entries[0].rates
    for entry in entries:
        ratio = spread(ratios(first, entry.rates), digits=1) if entry.goal else ""
        goal = f"{entry.goal:g}" if entry.goal else ""
        rows.append((entry.name, spread(entry.rates), ratio, goal))
    return [f"enqueue + claim + complete, {ROUNDS} rounds, median (smallest to largest):"] + [
        f"  {line}" for line in table(rows)
    ]


async def _latency(folder: Path) -> list[str]:
    async with Contestant("queue_ours", "latency", str(folder)) as ours:
        await ours.round(jobs=10)
        rounds = [await ours.round(jobs=30) for _ in range(ROUNDS)]
    rows = [("idle, from enqueue to the start of a warm attempt, ms", "", "goal")]
    for name, key, goal in (
        ("p50 of a round of 30", "start_ms", "10"),
        ("largest of a round", "largest_ms", ""),
        ("to the end of the attempt, p50", "end_ms", ""),
    ):
        rows.append((name, spread([one[key] for one in rounds], digits=1), goal))
    return table(rows)


def _sync_us(folder: Path) -> list[float]:
    took_us = []
    descriptor = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT)
    for _ in range(ROUNDS):
        batch = []
        for number in range(50):
            os.pwrite(descriptor, os.urandom(4096), number * 4096)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            batch.append((time.perf_counter() - began) * 1e6)
        took_us.append(statistics.median(batch))
    os.close(descriptor)
    return took_us
