"""How long to go on asking a server that does not answer, and when to ask again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from appliance.client.failures import Busy, MayPass
from appliance.clock import Clock

FIRST_S, LONGEST_S = 0.25, 15.0
"""Pauses between two tries: each is twice the last, less up to half by chance."""


class Patience:
    """Of one transfer. Whatever got through renews it."""

    def __init__(
        self,
        limit_s: float,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._since: float | None = None
        self._tries = 0

    def renew(self) -> None:
        self._since, self._tries = None, 0

    async def wait(self, failure: MayPass) -> None:
        """Pause, as long as the server has asked for, if it has. Raises `failure` when its time
        is over.

        A rate limit costs no patience: who keeps to it is let in, however many files there are.
        """
        if isinstance(failure, Busy) and failure.is_limit and self._limit_s > 0:
            self.renew()
            await self._sleep((failure.retry_after_s or 0.0) * (1 + self._chance() / 4))
            return
        now = self._clock.monotonic()
        self._since = now if self._since is None else self._since
        left_s = self._since + self._limit_s - now
        if left_s <= 0:
            raise failure
        pause_s = min(FIRST_S * 2**self._tries, LONGEST_S) * (1 - self._chance() / 2)
        if failure.retry_after_s is not None:
            pause_s = max(pause_s, failure.retry_after_s)
        self._tries = min(self._tries + 1, 16)
        await self._sleep(min(pause_s, left_s))
