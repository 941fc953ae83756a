"""A Redis that is killed, stopped in its tracks, and comes back: nothing fails, and whoever may
have missed something is told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.coordination.redis import RedisCoordination
from appliance.errors import ConfigurationError
from appliance.rates import Rate
from tests.services import needed

DEADLINE_S = 20.0


class OwnRedis:
    """A process of its own, to be killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = subprocess.Popen(
            ("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        async with asyncio.timeout(DEADLINE_S):
            while not await self._answers():
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False

    def send(self, what: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, what)
        if what is signal.SIGKILL:
            self._process.wait()
            self._process = None

    def end(self) -> None:
        if self._process is not None:
            self.send(signal.SIGKILL)


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[OwnRedis]:
    needed("REDIS_URL", "redis")  # or it is not installed
    redis = OwnRedis(tmp_path)
    await redis.start()
    yield redis
    redis.end()


@pytest.fixture
async def coordination(own_redis: OwnRedis) -> AsyncIterator[RedisCoordination]:
    opened = await RedisCoordination.open(own_redis.url, SystemClock())
    yield opened
    await opened.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_nothing_fails_while_redis_is_away(
    own_redis: OwnRedis, coordination: RedisCoordination, how: signal.Signals
) -> None:
    rate = Rate(5, 60.0)
    assert (await coordination.take("a", rate)).remaining == 4
    async with coordination.subscribe("jobs") as here:
        await coordination.publish("jobs", b"before")
        assert await here.next(5) == b"before"
        own_redis.send(how)
        async with asyncio.timeout(DEADLINE_S):
            assert await coordination.get("status") is None
            await coordination.set("status", b"x", ttl_s=60)
            assert await coordination.get("status") == b"x"
            async with coordination.lock("job:1", ttl_s=60) as ours:
                assert ours
                async with coordination.lock("job:1", ttl_s=60) as also:
                    assert not also
            assert [(await coordination.take("a", rate)).allowed for _ in range(6)] == [
                *[True] * 5,
                False,
            ], "each server bounds it for itself"
            await coordination.publish("jobs", b"here")
            assert await here.next(5) == b"here", "who watches here hears what is done here"
        assert coordination.fault is not None
        assert not here.lost

        if how is signal.SIGKILL:
            await own_redis.start()
        else:
            own_redis.send(signal.SIGCONT)
        await until(lambda: here.lost or how is signal.SIGSTOP)
        async with asyncio.timeout(DEADLINE_S):
            while coordination.fault is not None:
                await coordination.get("status")
                await asyncio.sleep(0.02)
            async with coordination.subscribe("jobs") as again:
                await coordination.publish("jobs", b"after")
                assert await again.next(5) == b"after"
                assert not again.lost


async def test_two_servers_share_it(own_redis: OwnRedis, coordination: RedisCoordination) -> None:
    other = await RedisCoordination.open(own_redis.url, SystemClock())
    apart = await RedisCoordination.open(f"{own_redis.url}?namespace=other", SystemClock())
    try:
        await coordination.set("status", b"x", ttl_s=60)
        assert (await other.get("status"), await apart.get("status")) == (b"x", None)
        async with coordination.lock("job:1", ttl_s=60), other.lock("job:1", ttl_s=60) as also:
            assert not also
        async with other.lock("job:1", ttl_s=60) as now:
            assert now
        assert await coordination.lead("maintenance", ttl_s=60)
        assert not await other.lead("maintenance", ttl_s=60)
        assert await apart.lead("maintenance", ttl_s=60)
        await other.step_down("maintenance")  # it did not lead
        assert not await other.lead("maintenance", ttl_s=60)
        await coordination.step_down("maintenance")
        assert await other.lead("maintenance", ttl_s=60)
        assert not await coordination.lead("maintenance", ttl_s=60)
        rate = Rate(40, 60.0)
        told = await asyncio.gather(
            *(one.take("a", rate) for _ in range(100) for one in (coordination, other))
        )
        assert sum(taken.allowed for taken in told) == 40
        async with other.subscribe("jobs") as there, apart.subscribe("jobs") as elsewhere:
            await coordination.publish("jobs", b"x")
            assert await there.next(5) == b"x"
            assert await elsewhere.next(0.05) is None
    finally:
        await other.close()
        await apart.close()


async def test_a_redis_that_is_not_there_stops_no_start(own_redis: OwnRedis) -> None:
    own_redis.end()
    opened = await RedisCoordination.open(own_redis.url, SystemClock())
    try:
        await opened.set("status", b"x", ttl_s=60)
        assert await opened.get("status") == b"x"
        with pytest.raises(ConfigurationError, match="APPLIANCE_CACHE_URL: Redis does not answer"):
            await opened.check()
    finally:
        await opened.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://h/0?max_connections=many"])
async def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="APPLIANCE_CACHE_URL"):
        await RedisCoordination.open(url, SystemClock())


async def test_a_wrong_password_is_told() -> None:
    url = needed("REDIS_URL", "redis").replace("redis://:", "redis://:wrong")
    opened = await RedisCoordination.open(url, SystemClock())
    try:
        with pytest.raises(ConfigurationError, match="password"):
            await opened.check()
    finally:
        await opened.close()
