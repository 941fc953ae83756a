"""kill -9 of the processes below the server, at random, under load: an attempt is lost, no job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

import pytest

from tests.acceptance.test_lives import alive, processes_of
from tests.conftest import Report
from tests.torture.conftest import NewServer, Victim, kills
from tests.torture.ledger import Ledger, in_words, inspected, rows_of
from tests.torture.load import Load

SHORT_KILLS = 10
MAX_RETRIES = "12"
"""More than bad luck takes from one job: no good file may fail."""


@pytest.mark.timeout(7200 if kills() else 120)
async def test_kill_9_of_random_children(
    victim: NewServer, ledger: Ledger, chance: random.Random, report: Report
) -> None:
    wanted = (kills() or SHORT_KILLS * 4) // 4
    server, load = victim(max_retries=MAX_RETRIES), Load(ledger, chance)
    await server.start()
    killed = {"child": 0, "nursery": 0}
    async with load.on(server):
        while sum(killed.values()) < wanted:
            await asyncio.sleep(chance.uniform(0.01, 0.3))  # the random moment, not a wait
            children, nurseries = _below(server)
            # A nursery that dies soon after another is started again later and later.
            kind = "nursery" if sum(killed.values()) % 10 == 5 else "child"
            candidates = sorted(nurseries if kind == "nursery" else children)
            if not candidates:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(candidates), signal.SIGKILL)
                killed[kind] += 1
    verdict = await inspected(server.data_dir, ledger)
    assert verdict.faults() == {}
    with rows_of(server.data_dir) as rows:
        (lost,) = rows.execute("SELECT count(*) FROM attempts WHERE outcome = 'retry'").fetchone()
    assert lost > 0, "no kill hit an attempt"
    family = processes_of(server)
    assert await server.end() == 0
    assert alive(family) == set()
    report(
        f"torture: {killed['child']} children and {killed['nursery']} nurseries killed, {lost} "
        f"attempts lost by it, {len(ledger.promises)} acknowledged, {in_words([verdict])}"
    )


def _below(server: Victim) -> tuple[set[int], set[int]]:
    """Children, and the nurseries that fork them."""
    assert server.process is not None
    nurseries = _children_of(server.process.pid)
    return {child for nursery in nurseries for child in _children_of(nursery)}, nurseries


def _children_of(pid: int) -> set[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return {int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return set()
