"""Clients that upload without end, and look at what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from appliance.jobs import JobType
from appliance.selftest.client import Client
from appliance.selftest.ledger import Entry
from appliance.selftest.samples import Sample, document, picture, sound, text, video
from appliance.selftest.verifier import see

FOLLOWED_S = 60.0
"""How long a client asks for one job; one that takes longer is found by the verification."""

SLOW = (
    Sample(JobType.IMAGE, "picture.png", partial(picture, width_px=2800, height_px=2100)),
    Sample(JobType.PDF, "document.pdf", partial(document, pages=5)),
    Sample(JobType.VIDEO, "video.avi", partial(video, frames=150)),
)
"""Half a second of work each, so that there is somebody to kill."""

QUICK = (
    Sample(JobType.ANY, "text.txt", text),
    Sample(JobType.ANY, "long.txt", partial(text, size_bytes=60_000)),
    Sample(JobType.ANY, "sound.wav", partial(sound, size_bytes=20_000)),
)
"""Work of milliseconds, so that there is always an upload under way."""

QUICK_CLIENTS = 4
QUICK_PAUSE_S = 0.1

MOST_BYTES = 512 * 1024**2
"""Once so much is acknowledged, only texts are sent: a long test fills no disk by itself."""

chance = random.Random()  # noqa: S311  no secret comes of it
_numbers = itertools.count()


def new_mark() -> str:
    """Makes a file unlike every other."""
    return f"selftest-{next(_numbers)}-{os.urandom(8).hex()}"


@asynccontextmanager
async def steady(client: Client, job_types: Collection[JobType]) -> AsyncIterator[None]:
    """Several clients at work, for as long as the block."""
    senders = [
        _send(client, [sample], ahead=2, pause_s=0.0)
        for sample in SLOW
        if sample.job_type in job_types
    ]
    if JobType.ANY in job_types:
        senders += [
            _send(client, QUICK, ahead=8, pause_s=QUICK_PAUSE_S) for _ in range(QUICK_CLIENTS)
        ]
    async with running(senders):
        yield


@asynccontextmanager
async def running(work: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Tasks that end with the block; what one of them raised is raised at its end."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _send(client: Client, samples: Sequence[Sample], *, ahead: int, pause_s: float) -> None:
    """Upload on and on, at most `ahead` files before the oldest one is done."""
    under_way: deque[Entry] = deque()
    while True:
        if len(under_way) >= ahead:
            await _follow(client, under_way.popleft())
        sample = chance.choice(samples)
        if client.ledger.size_bytes > MOST_BYTES:
            sample = QUICK[0]
        entry = await client.upload(sample.filename, sample.make(new_mark()))
        if entry is not None:
            under_way.append(entry)
        await asyncio.sleep(pause_s * chance.uniform(0.5, 1.5))


async def _follow(client: Client, entry: Entry) -> None:
    with contextlib.suppress(TimeoutError):
        job = await client.final(entry, deadline=time.monotonic() + FOLLOWED_S)
        if job is not None:
            see(entry, job)
