"""The SHA-256 of bodies, computed on threads beside what comes in."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from appliance.intake.hashing import BLOCK_BYTES, Hashing
from appliance.threads import Steadfast


@pytest.mark.parametrize(
    "sizes",
    [[], [1], [100 * 1024], [64 * 1024] * 5, [BLOCK_BYTES] * 4, [700_000, 1, 5_000_000, 3]],
)
async def test_many_at_once_each_get_their_own_digest(sizes: list[int]) -> None:
    hashing = Hashing()

    async def digest(fill: int) -> tuple[str, str]:
        running, plain = hashing.begin(), hashlib.sha256()
        for size in sizes:
            piece = bytes([fill]) * size
            await running.update(piece)
            plain.update(piece)
        return await running.hexdigest(), plain.hexdigest()

    for found, expected in await asyncio.gather(*map(digest, range(10))):
        assert found == expected


async def test_a_steadfast_wait_hears_of_its_cancellation_when_the_matter_is_settled() -> None:
    for outcome in (None, OSError("disk")):
        future: Steadfast[None] = Steadfast(loop=asyncio.get_running_loop())

        async def wait(future: Steadfast[None] = future) -> None:
            await future

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        assert not future.cancelled()
        if outcome is None:
            future.set_result(None)
        else:
            future.set_exception(outcome)
        with pytest.raises(asyncio.CancelledError):
            await waiting
