"""Coordination within one process: the embedded default."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.clock import Clock
from appliance.rates import Rate, Taken

MAX_ENTRIES = 20_000
MAX_RATED = 50_000
"""Names whose rates are counted, some 15 MB; the one that asked longest ago is forgotten."""
MAX_BACKLOG = 4096
"""Messages that wait for one slow subscriber; the same one twice counts once."""


class MemorySubscription:
    def __init__(self) -> None:
        self.lost = False
        self._messages: dict[bytes, None] = {}
        self._arrived = asyncio.Event()

    def put(self, message: bytes) -> None:
        self._messages[message] = None
        if len(self._messages) > MAX_BACKLOG:
            del self._messages[next(iter(self._messages))]
            self.lost = True
        self._arrived.set()

    async def next(self, timeout_s: float) -> bytes | None:
        if not self._messages:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        message = next(iter(self._messages))
        del self._messages[message]
        return message


class MemoryCoordination:
    fault: str | None = None

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._subscriptions: defaultdict[str, set[MemorySubscription]] = defaultdict(set)
        self._locked: set[str] = set()
        self._paid_until_ns: OrderedDict[str, int] = OrderedDict()
        """When what each name has taken is paid for. In whole nanoseconds, so that thousands of
        them add up to exactly the period."""

    async def check(self) -> None:
        """There is nothing that could be away."""

    async def close(self) -> None:
        """Nothing to do: it goes with its process."""

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._clock.monotonic():
            return None
        return entry[1]

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        self._entries[key] = (self._clock.monotonic() + ttl_s, value)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    async def delete(self, key: str) -> None:
        self._entries.pop(key, None)

    async def publish(self, topic: str, message: bytes) -> None:
        for subscription in self._subscriptions.get(topic, ()):
            subscription.put(message)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[MemorySubscription]:
        subscription = MemorySubscription()
        self._subscriptions[topic].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[topic].discard(subscription)
            if not self._subscriptions[topic]:
                del self._subscriptions[topic]

    def tell_loss(self) -> None:
        """Messages of others may not have reached this process."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.lost = True

    @asynccontextmanager
    async def lock(self, name: str, *, ttl_s: float) -> AsyncIterator[bool]:
        """`ttl_s` bounds what a dead holder blocks; here the holder dies with the lock."""
        if name in self._locked:
            yield False
            return
        self._locked.add(name)
        try:
            yield True
        finally:
            self._locked.discard(name)

    async def lead(self, name: str, *, ttl_s: float) -> bool:
        """There is nobody else."""
        return True

    async def step_down(self, name: str) -> None:
        """There is nobody else."""

    async def take(self, name: str, rate: Rate, *, cost: int = 1) -> Taken:
        now_ns = int(self._clock.monotonic() * 1e9)
        period_ns = int(rate.period_s * 1e9)
        interval_ns = period_ns // rate.count
        paid_until_ns = max(self._paid_until_ns.get(name, 0), now_ns)
        over_ns = paid_until_ns + cost * interval_ns - now_ns - period_ns
        allowed = over_ns <= 0 or cost < 0
        if allowed:
            paid_until_ns = max(paid_until_ns + cost * interval_ns, now_ns)
            self._paid_until_ns[name] = paid_until_ns
            self._paid_until_ns.move_to_end(name)
            if len(self._paid_until_ns) > MAX_RATED:
                self._paid_until_ns.popitem(last=False)
        owed_ns = paid_until_ns - now_ns
        return Taken(
            allowed=allowed,
            remaining=max(0, (period_ns - owed_ns) // interval_ns),
            full_after_s=owed_ns / 1e9,
            retry_after_s=0.0 if allowed else over_ns / 1e9,
        )
