"""The queue of the embedded default: straight from the job table, woken in-process.

There is no second copy of the queue that could disagree with the table. A job that another
process made PENDING, or that a pause held back, is found by looking again every `POLL_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.clock import Clock
from appliance.database import turns
from appliance.database.protocol import Database
from appliance.jobs import Job, JobType

POLL_S = 2.0


@dataclass(frozen=True)
class TableDelivery:
    job_id: str

    async def ack(self) -> None:
        """Nothing to do: the row's state says it all."""


class TableQueue:
    fault: str | None = None

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._arrived = {job_type: asyncio.Event() for job_type in JobType}

    async def enqueue(self, job_id: str, job_type: JobType, *, priority: int) -> None:
        self._arrived[job_type].set()

    async def check(self) -> None:
        """There is nothing that could be away."""

    async def close(self) -> None:
        """Nothing to do: it goes with its process."""

    async def give_up(self, job: Job) -> None:
        """Nobody listens beside the database."""

    async def repair(self) -> int:
        """Nothing is lost on the way."""
        return 0

    async def receive(
        self, job_type: JobType, *, limit: int, small_only: bool = False
    ) -> Sequence[TableDelivery]:
        arrived = self._arrived[job_type]
        while True:
            arrived.clear()
            ids = await self._database.read(
                turns.ready(job_type, limit=limit, now=self._clock.now(), small_only=small_only)
            )
            if ids:
                return [TableDelivery(job_id) for job_id in ids]
            try:
                async with asyncio.timeout(POLL_S):
                    await arrived.wait()
            except TimeoutError:
                continue
