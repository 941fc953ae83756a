"""ENOSPC: a small disk of its own, on which the room ends at many different places."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.torture.conftest import NewServer, Victim, kills
from tests.torture.ledger import Ledger, inspected, rows_of, unfinished
from tests.torture.load import Load, document, picture, text, video

DISK_BYTES = 48 * 1024**2
"""Small, so that it is quick to fill."""
DISK_NAMES = 3000
"""How many files and directories it may hold."""
SHORT_ROOMS = (0, 40_000, 400_000)
SHORT_NAMES = (1, 6)
BATCHES = range(5) if kills() else range(1)
"""Each on a fresh disk, for what is uploaded stays on it."""
LONG_ROOMS = 8
FULL_S = 0.7
"""How long the disk stays full: longer, and pools pause for longer after it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with `DISK_BYTES` of room."""
    path = tmp_path / "disk"
    path.mkdir()
    limits = f"size={DISK_BYTES},nr_inodes={DISK_NAMES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", limits, "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a tmpfs (root): {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", BATCHES)
async def test_a_full_disk_refuses_and_loses_nothing(
    batch: int, disk: Path, victim: NewServer, ledger: Ledger, chance: random.Random
) -> None:
    rooms = [
        *SHORT_ROOMS,
        *(chance.randrange(1_500_000) for _ in range(LONG_ROOMS if batch else 0)),
    ]
    fillings = [partial(_fill, disk / "ballast", room_bytes) for room_bytes in rooms]
    await _fill_and_free(disk, fillings, victim(disk / "data", reserve_bytes="0"), ledger, chance)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", BATCHES)
async def test_a_disk_without_names_refuses_and_loses_nothing(
    batch: int, disk: Path, victim: NewServer, ledger: Ledger, chance: random.Random
) -> None:
    """No inode is left: nothing can be created, while what is open can be written."""
    more = range(LONG_ROOMS if batch else 0)
    names = [*SHORT_NAMES, *(chance.randrange(40) for _ in more)]
    fillings = [partial(_fill_names, disk / "ballast", count) for count in names]
    await _fill_and_free(disk, fillings, victim(disk / "data", reserve_bytes="0"), ledger, chance)


async def _fill_and_free(
    disk: Path,
    fillings: list[Callable[[], None]],
    server: Victim,
    ledger: Ledger,
    chance: random.Random,
) -> None:
    load = Load(ledger)
    changing: list[tuple[float, float]] = []
    await server.start()
    async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
        for fill in fillings:
            # These are processed while the disk gets full.
            before = [load.send(session, sample) for sample in (picture(), document(), video())]
            assert set(await asyncio.gather(*before)) == {202}
            try:
                began = time.time()
                fill()
                changing.append((began, time.time()))
                await _upload_for_a_while(load, session, chance)
            finally:
                began = time.time()
                shutil.rmtree(disk / "ballast")
                changing.append((began, time.time()))
            await _all_done(server)
    assert {status for status, _ in load.refusals} <= {503, 507}, load.refusals
    assert load.refusals, "the disk was never full"
    verdict = await inspected(server.data_dir, ledger)
    assert verdict.faults() == {}
    with rows_of(server.data_dir) as rows:
        burnt = rows.execute(
            "SELECT started_at, ended_at, outcome, step, error_code, error_class, message"
            " FROM attempts WHERE outcome NOT IN ('completed', 'handed_back')"
        ).fetchall()
    # One that fails for want of room, and finds it back when it looks why, costs a retry: that may
    # happen while the disk is being filled or freed, and at no other time.
    assert [
        tuple(row)
        for row in burnt
        if not any(row["started_at"] < end and begin < row["ended_at"] for begin, end in changing)
    ] == []
    assert await server.end() == 0


async def _upload_for_a_while(
    load: Load, session: aiohttp.ClientSession, chance: random.Random
) -> None:
    full_until = time.monotonic() + FULL_S
    while time.monotonic() < full_until:
        samples = (text(chance), picture(), document())
        await asyncio.gather(
            *(load.send(session, sample) for sample in samples),
            load.send(session, text(chance), picture()),
        )


def _fill(ballast: Path, room_bytes: int) -> None:
    """Take all the room but `room_bytes`, while the server takes and gives back some of it."""
    deadline = time.monotonic() + 10
    ballast.mkdir()
    with (ballast / "bytes").open("xb") as file:
        while True:
            state = os.statvfs(ballast)
            surplus = state.f_bavail * state.f_frsize - room_bytes
            if surplus <= 0 or time.monotonic() > deadline:
                return
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), surplus)


def _fill_names(ballast: Path, count: int) -> None:
    """Take all the names but `count`."""
    ballast.mkdir()
    number = 0
    with contextlib.suppress(OSError):
        while os.statvfs(ballast).f_ffree > count:
            number += 1
            (ballast / str(number)).touch()


async def _all_done(server: Victim) -> None:
    deadline = time.monotonic() + 60
    while left := unfinished(server.data_dir):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.02)
