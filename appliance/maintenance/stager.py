"""The stager: makes PENDING again what is RETRYING and has waited long enough."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.clock import Clock
from appliance.database import jobs
from appliance.database.protocol import Database
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue

BATCH = 200


class Stager:
    name = "stager"
    interval_s = 0.25

    def __init__(
        self, *, database: Database, queue: Queue, announcer: Announcer, clock: Clock
    ) -> None:
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._clock = clock

    async def run_once(self) -> Mapping[str, int]:
        now = self._clock.now()
        due = await self._database.read(jobs.due(now=now, limit=BATCH))
        if not due:
            return {}
        staged = await self._database.write(jobs.stage(due, now=now))
        for job in staged:
            await self._queue.enqueue(job.id, job.type, priority=job.priority)
            await self._announcer.job_changed(job)
        return {"staged": len(staged)}
