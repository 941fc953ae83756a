"""A small disk that fills up under the uploads, and has room again."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance.jobs import JobType
from appliance.selftest.client import Client
from appliance.selftest.launcher import NO_DISK
from appliance.selftest.samples import Sample, picture, sound, text
from appliance.selftest.server import Server, launched
from appliance.selftest.traffic import chance, new_mark, running

DISK_BYTES = 100 * 1000**2
BALLAST_BYTES = 60 * 1000**2
"""What is taken away from the beginning, and given back when the disk has been full."""
FULL_REFUSALS = 20
"""So many uploads are refused before the disk counts as full."""
FILL_S = 15.0
"""Longest time for that."""
STAY_FULL_S = 2.0
"""Longest time that it is kept full; the longer, the longer pools pause afterwards."""
CLIENTS = 4
PROBE_S = 10.0
PAUSE_S = 0.02

SAMPLES = (
    Sample(JobType.ANY, "big.wav", partial(sound, size_bytes=3_000_000)),
    Sample(JobType.ANY, "big.txt", partial(text, size_bytes=800_000)),
    Sample(JobType.ANY, "small.txt", text),
    Sample(JobType.IMAGE, "picture.png", picture),
)


@dataclass(frozen=True)
class Filling:
    is_full: bool
    """Whether the disk was seen to be full."""
    answers_while_full: bool
    """Whether /healthz did."""
    is_accepted_again: bool
    """Whether uploads were answered 202 after there was room again."""

    @property
    def faults(self) -> list[str]:
        told = {
            "it could not be filled": self.is_full,
            "/healthz did not answer while it was full": self.answers_while_full,
            "no upload was taken after there was room again": self.is_accepted_again,
        }
        return [fault for fault, is_well in told.items() if not is_well]


async def unmountable_because(directory: Path) -> str | None:
    """Why no small disk can be had here; None when it can."""
    program = launched([sys.executable, "-I", "-c", ""], disk=(directory, DISK_BYTES))
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PROBE_S):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return None
    if process.returncode == NO_DISK:
        return f"this process may not mount one ({said.decode().strip()})"
    return f"it cannot be mounted ({said.decode(errors='replace').strip()[-200:]})"


async def fill(server: Server, client: Client, directory: Path, *, seconds: float) -> Filling:
    """Upload until the disk is full, for a moment longer, and make room.

    The server runs, with `directory` as its small disk.
    """
    ledger = client.ledger
    ballast = Path(f"/proc/{server.pid}/root", *directory.parts[1:], "ballast")
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
    finally:
        os.close(descriptor)
    async with running([_send(client) for _ in range(CLIENTS)]):
        deadline = time.monotonic() + FILL_S
        while ledger.refused < FULL_REFUSALS and time.monotonic() < deadline:
            server.hold_alive()
            await asyncio.sleep(PAUSE_S)
        is_full = ledger.refused >= FULL_REFUSALS
        await asyncio.sleep(min(STAY_FULL_S, seconds / 30))
        answers = await client.is_answered("/healthz")
        before = len(ledger.entries)
        ballast.unlink()  # noqa: ASYNC240  in memory
        deadline = time.monotonic() + FILL_S
        while len(ledger.entries) == before and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
    return Filling(is_full, answers, is_accepted_again=len(ledger.entries) > before)


async def _send(client: Client) -> None:
    while True:
        sample = chance.choice(SAMPLES)
        if await client.upload(sample.filename, sample.make(new_mark())) is None:
            await asyncio.sleep(PAUSE_S)
