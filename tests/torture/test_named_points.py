"""Killed at each point between receiving and settling, then started again: what the table "What
happens when it is killed" of ARCHITECTURE.md says."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass, replace

import aiohttp
import pytest

from tests import media
from tests.acceptance.conftest import DEADLINE_S
from tests.torture.conftest import NewServer, Victim, kills
from tests.torture.ledger import Ledger, inspected, rows_of
from tests.torture.load import Load, Sample, picture

IMAGES_ONLY = {"workers_pdf": "0", "workers_video": "0", "workers_any": "0"}
"""One nursery, for a quick start; an image is what has several results."""


@dataclass(frozen=True)
class Case:
    point: str
    nth: int = 1
    recorded: bool = True
    """Whether upload and job are there after the next start."""
    outcomes: tuple[str, ...] = ("completed",)
    """Of the attempts, in the end."""
    broken: bool = False
    """Send a file that cannot be processed."""
    long: bool = False
    """For the long form only: near another point, or slow for its wait of 2 s."""

    def __str__(self) -> str:
        return self.point if self.nth == 1 else f"{self.point}, time {self.nth}"


LOST = ("lost", "completed")
CASES = (
    Case("a piece was written", long=True, recorded=False),
    Case("before rename", recorded=False),
    Case("after rename", recorded=False),
    Case("before fsync", recorded=False),
    Case("after fsync", recorded=False),
    Case("after fsync", nth=2, long=True, recorded=False),
    Case("after the directories' fsync", long=True, recorded=False),
    Case("before the shared sync", recorded=False),
    Case("after the shared sync", long=True, recorded=False),
    Case("before create", long=True, recorded=False),
    Case("in create", recorded=False),
    Case("after create"),
    Case("before answer", long=True),
    Case("after answer"),
    Case("before claim", long=True),
    Case("in claim"),
    Case("after claim", outcomes=LOST),
    Case("before child", long=True, outcomes=LOST),
    Case("after child", outcomes=LOST),
    Case("before result upload", outcomes=LOST),
    Case("before rename", long=True, nth=2, outcomes=LOST),
    Case("after rename", nth=2, outcomes=LOST),
    Case("after result upload", outcomes=LOST),
    Case("before publish", long=True, outcomes=LOST),
    Case("in publish", long=True, outcomes=LOST),
    Case("after publish", outcomes=LOST),
    Case("before complete", long=True, outcomes=LOST),
    Case("in complete", outcomes=LOST),
    Case("after complete"),
    Case("before retry", long=True, outcomes=LOST),
    Case("in retry", long=True, outcomes=LOST),
    Case("in fail", outcomes=("lost", "failed"), broken=True),
    Case("after fail", long=True, outcomes=("failed",), broken=True),
    Case("in release", outcomes=LOST),
    Case("after release", long=True, outcomes=("handed_back", "completed")),
    Case("after retry", outcomes=("retry", "completed")),
    Case("in stage", long=True, outcomes=("retry", "completed")),
    Case("after stage", long=True, outcomes=("retry", "completed")),
)


@pytest.mark.parametrize("case", [one for one in CASES if kills() or not one.long], ids=str)
async def test_killed_at(case: Case, victim: NewServer, ledger: Ledger) -> None:
    dying, load = victim(**IMAGES_ONLY), Load(ledger)
    sample = picture()
    if case.broken:
        sample = replace(sample, content=media.truncated(sample.content, keep=0.02))
    await _dies(dying, case, load, sample)
    server = victim(**IMAGES_ONLY)
    await server.start()
    verdict = await inspected(server.data_dir, ledger)
    if not case.broken:
        assert verdict.faults() == {}
    with rows_of(server.data_dir) as rows:
        jobs = [tuple(row) for row in rows.execute("SELECT status, retry_count FROM jobs")]
        outcomes = [row[0] for row in rows.execute("SELECT outcome FROM attempts ORDER BY number")]
    retries = case.outcomes.count("retry")
    status = "FAILED" if case.broken else "COMPLETED"
    assert jobs == ([(status, retries)] if case.recorded else [])
    assert outcomes == (list(case.outcomes) if case.recorded else [])


async def _dies(server: Victim, case: Case, load: Load, sample: Sample) -> None:
    """Start it, send it the file and wait until it has killed itself."""
    server.command = (sys.executable, "-m", "tests.torture.dying", case.point, str(case.nth))
    await server.start()
    assert server.process is not None
    async with aiohttp.ClientSession(
        server.url, headers={"Authorization": f"Bearer {server.key}"}
    ) as session:
        uploading = asyncio.create_task(load.send(session, sample))
        async with asyncio.timeout(DEADLINE_S):
            assert await server.process.wait() == -signal.SIGKILL, "the point was never reached"
        await asyncio.wait([uploading])
    assert uploading.exception() is None or isinstance(uploading.exception(), aiohttp.ClientError)
