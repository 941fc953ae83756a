"""The sampler: notes once a minute how long the queue is and how many workers are active, for the
charts of the dashboard, and ends pauses whose time is over."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from appliance.clock import Clock
from appliance.database import history, pauses
from appliance.database.protocol import Database

log = structlog.get_logger()

KEEP_MINUTES_S = 8 * 24 * 3600.0
"""Charts reach back a week."""


class Sampler:
    name = "sampler"
    interval_s = 15.0

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run_once(self) -> Mapping[str, int]:
        now = self._clock.now()
        await self._database.write(history.sample(now=now))
        await self._database.write(history.forget(before=now - KEEP_MINUTES_S))
        ended = await self._database.write(pauses.forget_ended(now=now))
        for pause in ended:
            log.info("pause_ended", kind=pause.kind, name=pause.name)
        return {"pauses_ended": len(ended)}
