"""The heartbeat of a process that only serves HTTP: that it is there, and what it is.

One that works on jobs beats with its crew (`appliance.workers.crew`).
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.clock import Clock
from appliance.database import workers
from appliance.database.protocol import Database
from appliance.database.workers import About


class Heartbeat:
    name = "heartbeat"

    def __init__(
        self,
        worker_id: str,
        *,
        node: str,
        about: About,
        database: Database,
        clock: Clock,
        interval_s: float,
    ) -> None:
        self.interval_s = interval_s
        self._id = worker_id
        self._node = node
        self._about = about
        self._database = database
        self._clock = clock

    async def run_once(self) -> Mapping[str, int]:
        now = self._clock.now()
        await self._database.write(
            workers.beat(self._id, node=self._node, about=self._about, running={}, now=now)
        )
        return {}

    async def leave(self) -> None:
        """The process ends, and is missed by nobody."""
        await self._database.write(workers.leave(self._id))
