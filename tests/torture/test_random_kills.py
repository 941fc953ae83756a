"""kill -9 at random moments under mixed load, over and over on the same data.

Also while the server starts: what a restart does must stand being killed like all else.
"""

from __future__ import annotations

import asyncio
import random
import statistics

import pytest

from tests.conftest import Report
from tests.torture.conftest import NewServer, Victim, kills
from tests.torture.ledger import Ledger, Verdict, in_words, inspected
from tests.torture.load import Load

SHORT_KILLS = 6
GENERATION = 50
"""Kills between two inspections of everything."""
READY_S = 5.0
"""Within which the server must listen again, in 99 of 100 starts (long form only)."""


@pytest.mark.timeout(7200 if kills() else 120)
async def test_kill_9_of_the_server_at_random_moments(
    victim: NewServer, ledger: Ledger, chance: random.Random, report: Report
) -> None:
    wanted = kills() or SHORT_KILLS
    server, load = victim(), Load(ledger, chance)
    verdicts: list[Verdict] = []
    done = 0
    while done < wanted:
        if chance.random() < 0.2:
            await _killed_while_starting(server, chance)
        else:
            await server.start()
            async with load.on(server):
                await asyncio.sleep(chance.uniform(0.02, 1.2))  # the random moment, not a wait
                await server.kill()
        done += 1
        if done % GENERATION == 0 or done == wanted:
            await server.start()
            verdicts.append(await inspected(server.data_dir, ledger))
            assert await server.end() == 0
            assert verdicts[-1].faults() == {}, f"after {done} kills"
    ready_s = sorted(server.starts_s)
    p99_s = ready_s[int(0.99 * (len(ready_s) - 1))]
    assert load.refusals == []
    assert len(ledger.promises) >= done  # else it was no load
    report(
        f"torture: {done} kills, {len(ledger.promises)} acknowledged, {in_words(verdicts)}; "
        f"ready again after {statistics.median(ready_s):.2f} s (p50), {p99_s:.2f} s (p99), "
        f"{ready_s[-1]:.2f} s (most)"
    )
    if kills():
        assert p99_s <= READY_S


async def _killed_while_starting(server: Victim, chance: random.Random) -> None:
    server.process = None
    starting = asyncio.create_task(server.start())
    while server.process is None:
        await asyncio.sleep(0)
    await asyncio.sleep(chance.uniform(0.0, 0.6))
    await server.kill()
    await asyncio.wait([starting])
    starting.exception()  # it may have been ready, or not
