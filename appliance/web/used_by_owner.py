"""What an owner has, by type and place: counted once for all who ask meanwhile.

A count goes through all files of the owner, some 16 us for each, and anybody may ask for their own
as often as they like. So what was counted is given for 20 times as long as it took: nobody keeps
the database busy by asking, and who has few files is always told what is so now.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web

from appliance.clock import Clock
from appliance.database import ownership
from appliance.database.lifecycle import Used
from appliance.database.protocol import Database

TIMES = 20
MOST = 1000
"""Owners whose counts are kept."""


class Count(NamedTuple):
    used: Sequence[Used]
    until: float
    """On the monotonic clock."""


class UsedByOwner:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._counted: OrderedDict[str, Count] = OrderedDict()
        self._counting: dict[str, asyncio.Task[Count]] = {}

    async def of(self, owner: str) -> Sequence[Used]:
        """The most first. Raises DatabaseUnavailable."""
        counted = self._counted.get(owner)
        if counted is not None and self._clock.monotonic() < counted.until:
            return counted.used
        counting = self._counting.get(owner)
        if counting is None:
            counting = asyncio.create_task(self._count(owner), name="usage")
            self._counting[owner] = counting
            counting.add_done_callback(lambda done: self._forget(owner, done))
        return (await asyncio.shield(counting)).used  # who goes away does not end it for others

    async def _count(self, owner: str) -> Count:
        began = self._clock.monotonic()
        used = await self._database.read(ownership.used_by([owner]))
        now = self._clock.monotonic()
        count = Count(used, now + TIMES * (now - began))
        self._counted[owner] = count
        self._counted.move_to_end(owner)
        while len(self._counted) > MOST:
            self._counted.popitem(last=False)
        return count

    def _forget(self, owner: str, done: asyncio.Task[Count]) -> None:
        del self._counting[owner]
        if not done.cancelled():
            done.exception()  # told to whoever waits; nobody may


USED_BY_OWNER: web.AppKey[UsedByOwner] = web.AppKey("used_by_owner", UsedByOwner)
