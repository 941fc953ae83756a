"""Coordination of several servers, by Redis.

All of it may be lost, so a Redis that is away fails no request: each process goes on with what it
knows itself (`memory.py`), and asks Redis again a second later. A rate then bounds each server for
itself, and a change is heard by those who watch on the server where it was made.

Published messages come back to each server by one connection, and go from there to those who
listen. When that connection was lost, so may be messages: listeners are told (`Subscription.lost`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from appliance.clock import Clock
from appliance.coordination.memory import MemoryCoordination, MemorySubscription
from appliance.errors import ConfigurationError
from appliance.ids import new_id
from appliance.rates import Rate, Taken

log = structlog.get_logger()

T = TypeVar("T")

FAULTS = (RedisError, OSError)
"""What a Redis that is away raises; TimeoutError is an OSError."""
TIMEOUT_S = 0.5
"""For one answer. What is asked here is worth no longer wait."""
AWAY_S = 1.0
"""So long nothing is asked after a fault."""
CONNECTIONS = 32
NAMESPACE = "appliance"
"""Before all keys and channels, where the address names no other: `?namespace=…`."""
ALIVE = "alive"
"""A topic that is always listened to: its confirmation says that the connection works."""
LISTEN_S = 5.0
"""A quiet connection is asked whether it still is one so often."""

# The generic cell rate algorithm, in whole microseconds of Redis' own clock, or of ARGV[4].
_TAKE = """
local now = tonumber(ARGV[4])
if now < 0 then local t = redis.call('TIME') now = t[1] * 1000000 + t[2] end
local period, interval, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local paid = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local over = paid + cost * interval - now - period
local allowed = over <= 0 or cost < 0
if allowed then
  paid = math.max(paid + cost * interval, now)
  local ttl = math.ceil((paid - now) / 1000) + 1000
  redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', ttl)
end
return {allowed and 1 or 0, string.format('%.0f', paid - now), string.format('%.0f', over)}
"""

_LEAD = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class RedisCoordination:
    def __init__(
        self, redis: Redis, clock: Clock, *, namespace: str = NAMESPACE, ask_time: bool = True
    ) -> None:
        """With `ask_time`, rates go by the clock of Redis, which all servers share; else by
        `clock`, for tests that move it."""
        self._redis = redis
        self._id = new_id()
        """Of this process, as a leader."""
        self._prefix = f"{namespace}:"
        self._clock = clock
        self._ask_time = ask_time
        self._own = MemoryCoordination(clock)
        self._away_until = float("-inf")
        self._take = redis.register_script(_TAKE)
        self._lead = redis.register_script(_LEAD)
        self._release = redis.register_script(_RELEASE)
        self._listening: PubSub | None = None
        self._topics: dict[str, int] = {}
        """How many listen to each here."""
        self._confirmed: dict[str, asyncio.Event] = {}
        self._listener: asyncio.Task[None] | None = None
        self.fault: str | None = None
        """Why Redis is not asked at the moment, for those who run the server."""

    @classmethod
    async def open(cls, url: str, clock: Clock, *, ask_time: bool = True) -> RedisCoordination:
        """Raises ConfigurationError for an address that cannot be one. A Redis that does not
        answer is logged, and asked again later."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        namespace = query.pop("namespace", NAMESPACE)
        try:
            pool = BlockingConnectionPool.from_url(
                parts._replace(query=urlencode(query)).geturl(),
                max_connections=CONNECTIONS,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                health_check_interval=LISTEN_S,
                retry=Retry(NoBackoff(), 1),  # a connection that has died in the pool
                client_name="appliance",
            )
        except ValueError as error:
            raise ConfigurationError([f"APPLIANCE_CACHE_URL: {error}"]) from error
        redis = Redis.from_pool(pool)
        opened = cls(redis, clock, namespace=namespace, ask_time=ask_time)
        opened._listener = asyncio.create_task(opened._listen(), name="redis-listener")
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S * 2):
                await opened._confirmed_of(ALIVE).wait()
        return opened

    async def close(self) -> None:
        while self._listener is not None and not self._listener.done():
            self._listener.cancel()  # again where the client took it for a fault of its own
            await asyncio.wait([self._listener], timeout=1.0)
        await self._redis.aclose()

    async def check(self) -> None:
        """Raises ConfigurationError where Redis does not answer, or refuses."""
        try:
            await self._redis.ping()
        except FAULTS as error:
            raise ConfigurationError([f"APPLIANCE_CACHE_URL: {_in_words(error)}"]) from error

    # --- the cache ------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes | None:
        async def ask() -> bytes | None:
            found = await self._redis.get(self._prefix + key)
            assert not isinstance(found, str)  # answers are not decoded
            return found

        return await self._or_own(ask, lambda: self._own.get(key))

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        async def ask() -> None:
            if ttl_s > 0:
                await self._redis.set(self._prefix + key, value, px=max(1, round(ttl_s * 1000)))
            else:
                await self._redis.delete(self._prefix + key)

        await self._or_own(ask, lambda: self._own.set(key, value, ttl_s=ttl_s))

    async def delete(self, key: str) -> None:
        async def ask() -> None:
            await self._redis.delete(self._prefix + key)

        await self._own.delete(key)
        await self._or_own(ask, lambda: self._own.delete(key))

    # --- locks and rates ------------------------------------------------------------------------

    @asynccontextmanager
    async def lock(self, name: str, *, ttl_s: float) -> AsyncIterator[bool]:
        key, token = f"{self._prefix}lock:{name}", new_id()

        async def ask() -> bool:
            return bool(await self._redis.set(key, token, nx=True, px=round(ttl_s * 1000)))

        async with self._own.lock(name, ttl_s=ttl_s) as ours:
            taken = ours and await self._or_own(ask, _yes)
            try:
                yield taken
            finally:
                if taken:
                    await self._or_own(lambda: self._release([key], [token]), _yes)

    async def lead(self, name: str, *, ttl_s: float) -> bool:
        key, ttl_ms = f"{self._prefix}leader:{name}", round(ttl_s * 1000)

        async def ask() -> bool:
            return bool(await self._lead([key], [self._id, ttl_ms]))

        return await self._or_own(ask, _yes)

    async def step_down(self, name: str) -> None:
        await self._or_own(
            lambda: self._release([f"{self._prefix}leader:{name}"], [self._id]), _yes
        )

    async def take(self, name: str, rate: Rate, *, cost: int = 1) -> Taken:
        period_us = round(rate.period_s * 1e6)
        interval_us = period_us // rate.count
        now_us = -1 if self._ask_time else round(self._clock.monotonic() * 1e6)

        async def ask() -> Taken:
            allowed, owed, over = await self._take(
                [f"{self._prefix}rate:{name}"], [period_us, interval_us, cost, now_us]
            )
            owed_us, over_us = int(owed), int(over)
            return Taken(
                allowed=bool(allowed),
                remaining=max(0, (period_us - owed_us) // interval_us),
                full_after_s=owed_us / 1e6,
                retry_after_s=0.0 if allowed else over_us / 1e6,
            )

        return await self._or_own(ask, lambda: self._own.take(name, rate, cost=cost))

    # --- publish and subscribe ------------------------------------------------------------------

    async def publish(self, topic: str, message: bytes) -> None:
        async def ask() -> None:
            await self._redis.publish(self._prefix + topic, message)

        await self._or_own(ask, lambda: self._own.publish(topic, message))

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[MemorySubscription]:
        async with self._own.subscribe(topic) as subscription:
            self._topics[topic] = self._topics.get(topic, 0) + 1
            try:
                await self._ask_for(topic)
                yield subscription
            finally:
                self._topics[topic] -= 1
                if not self._topics[topic]:
                    del self._topics[topic]
                    self._confirmed.pop(topic, None)
                    if self._listening is not None:
                        with suppress(*FAULTS):  # the listener sees it too
                            await self._listening.unsubscribe(self._prefix + topic)

    async def _ask_for(self, topic: str) -> None:
        """Return when messages to `topic` come here, or Redis is away: then the listener asks for
        all topics when it is back, and tells that messages were lost."""
        confirmed = self._confirmed_of(topic)
        if confirmed.is_set() or self._listening is None:
            return
        try:
            await self._listening.subscribe(self._prefix + topic)
            async with asyncio.timeout(TIMEOUT_S):
                await confirmed.wait()
        except FAULTS as error:
            self._note(error)

    def _confirmed_of(self, topic: str) -> asyncio.Event:
        return self._confirmed.setdefault(topic, asyncio.Event())

    async def _listen(self) -> None:
        """Hand on what is published, for as long as this lives."""
        was_lost = False
        while True:
            try:
                async with self._redis.pubsub() as listening:
                    await listening.subscribe(
                        *(self._prefix + topic for topic in (ALIVE, *self._topics))
                    )
                    self._listening = listening
                    if was_lost:
                        self._own.tell_loss()
                    was_lost = True
                    while True:
                        said = await listening.get_message(timeout=LISTEN_S)
                        if said is not None:
                            await self._heard(said)
            except FAULTS as error:
                self._note(error)
            except Exception:
                log.exception("redis_listener_broke")  # top of a loop: it must go on
            finally:
                self._listening = None
                self._confirmed = {}
            await asyncio.sleep(AWAY_S)

    async def _heard(self, said: dict[str, Any]) -> None:
        topic = said["channel"].decode().removeprefix(self._prefix)
        if said["type"] == "subscribe":
            self._confirmed_of(topic).set()
        elif said["type"] == "message":
            await self._own.publish(topic, said["data"])

    # --- a Redis that is away -------------------------------------------------------------------

    async def _or_own(self, ask: Callable[[], Awaitable[T]], own: Callable[[], Awaitable[T]]) -> T:
        if self._clock.monotonic() < self._away_until:
            return await own()
        try:
            answer = await ask()
        except FAULTS as error:
            self._note(error)
            return await own()
        if self.fault is not None:
            log.info("redis_is_back")
            self.fault = None
        return answer

    def _note(self, error: Exception) -> None:
        self._away_until = self._clock.monotonic() + AWAY_S
        if self.fault is None:
            log.warning("redis_is_away", reason=_in_words(error))
        self.fault = _in_words(error)


async def _yes() -> bool:
    return True


def _in_words(error: Exception) -> str:
    return f"Redis does not answer as it should: {str(error) or type(error).__name__}"
