"""The relay: announces again what was lost on its way to the workers."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.queue.protocol import Queue


class Relay:
    name = "relay"
    interval_s = 5.0

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def run_once(self) -> Mapping[str, int]:
        return {"announced_again": await self._queue.repair()}
