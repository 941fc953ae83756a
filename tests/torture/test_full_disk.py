"""ENOSPC: a small disk of its own, on which the room ends at many different places."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.torture.conftest import NewServer, Victim, kills
from tests.torture.ledger import Ledger, inspected, rows_of, unfinished
from tests.torture.load import Load, document, picture, text, video

DISK_BYTES = 512 * 1024**2
SHORT_ROOMS = (0, 40_000, 400_000)
LONG_ROOMS = 40
FULL_S = 0.7
"""How long the disk stays full: longer, and pools pause for longer after it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with `DISK_BYTES` of room."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a tmpfs (root): {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def rooms(chance: random.Random) -> list[int]:
    """Bytes that are left when the disk gets full."""
    more = LONG_ROOMS if kills() else 0
    return [*SHORT_ROOMS, *(chance.randrange(1_500_000) for _ in range(more))]


@pytest.mark.timeout(600 if kills() else 120)
async def test_a_full_disk_refuses_and_loses_nothing(
    disk: Path, victim: NewServer, ledger: Ledger, chance: random.Random
) -> None:
    server, load = victim(disk / "data", reserve_bytes="0"), Load(ledger)
    await server.start()
    async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
        for room_bytes in rooms(chance):
            await _fill_and_free(disk, room_bytes, load, session, chance)
            await _all_done(server)
    assert {status for status, _ in load.refusals} <= {503, 507}, load.refusals
    assert load.refusals, "the disk was never full"
    verdict = await inspected(server.data_dir, ledger)
    assert verdict.faults() == {}
    with rows_of(server.data_dir) as rows:
        burnt = rows.execute(
            "SELECT outcome, type, attempts.step, error_code, error_class, message, stderr_tail"
            " FROM attempts JOIN jobs ON jobs.id = job_id"
            " WHERE outcome NOT IN ('completed', 'handed_back')"
        )
        assert [tuple(row) for row in burnt] == []
    assert await server.end() == 0


async def _fill_and_free(
    disk: Path, room_bytes: int, load: Load, session: aiohttp.ClientSession, chance: random.Random
) -> None:
    """Uploads before the disk gets full, so that they are processed on it, and after."""
    before = [load.send(session, sample) for sample in (picture(), document(), video())]
    assert set(await asyncio.gather(*before)) == {202}
    ballast = disk / "ballast"
    _fill(ballast, room_bytes)
    full_until = time.monotonic() + FULL_S
    try:
        while time.monotonic() < full_until:
            samples = (text(chance), picture(), document())
            await asyncio.gather(
                *(load.send(session, sample) for sample in samples),
                load.send(session, text(chance), picture()),
            )
    finally:
        ballast.unlink()


def _fill(ballast: Path, room_bytes: int) -> None:
    """Take all the room but `room_bytes`, while the server takes and gives back some of it."""
    deadline = time.monotonic() + 10
    with ballast.open("xb") as file:
        while True:
            state = os.statvfs(ballast)
            surplus = state.f_bavail * state.f_frsize - room_bytes
            if surplus <= 0 or time.monotonic() > deadline:
                return
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), surplus)


async def _all_done(server: Victim) -> None:
    deadline = time.monotonic() + 60
    while left := unfinished(server.data_dir):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.02)
