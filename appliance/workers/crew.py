"""All pools of this process, under one worker id with one heartbeat.

A heartbeat renews the worker and, job by job, the leases of what really runs here. What the
database answers is the list of the leases that still stand: work on any other is stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from appliance.clock import Clock
from appliance.database import jobs, workers
from appliance.database.protocol import Database
from appliance.errors import ApplianceError
from appliance.notify.announcer import Announcer
from appliance.workers.pool import Pool

log = structlog.get_logger()

TELL_PROGRESS_S = 0.5
BEATS_PER_TIMEOUT = 6
"""Heartbeats within the time after which a silent worker is given up."""


class Crew:
    def __init__(
        self,
        pools: Sequence[Pool],
        *,
        worker_id: str,
        node: str,
        database: Database,
        announcer: Announcer,
        clock: Clock,
        heartbeat_timeout_s: float,
    ) -> None:
        self.pools = pools
        self._worker_id = worker_id
        self._node = node
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._beat_s = heartbeat_timeout_s / BEATS_PER_TIMEOUT
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return when every nursery is warm and jobs are being taken.

        Raises NurseryUnavailable; `drain` then stops those that did start.
        """
        started = await asyncio.gather(
            *(pool.start() for pool in self.pools), return_exceptions=True
        )
        for fault in started:
            if fault is not None:
                raise fault
        self._loops = [
            asyncio.create_task(self._every(self._beat_s, self._beat), name="heartbeat"),
            asyncio.create_task(self._every(TELL_PROGRESS_S, self._tell_progress), name="progress"),
        ]

    async def drain(self, grace_s: float) -> None:
        """Stop taking jobs, let what can finish within `grace_s` finish, hand back the rest.

        Once drained, it is a no-op.
        """
        await asyncio.gather(*(pool.drain(grace_s) for pool in self.pools))
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            await asyncio.wait(self._loops)
        await self._database.write(workers.leave(self._worker_id))

    async def _every(self, interval_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(interval_s)
            try:
                await act()
            except ApplianceError as error:
                log.warning("heartbeat_failed", reason=error.detail)
            except Exception:
                log.exception("heartbeat_broke")  # top of a loop: the next one may go well

    async def _beat(self) -> None:
        running = {
            run.claim.job.id: run for pool in self.pools for run in pool.attempts_under_way()
        }
        held = await self._database.write(
            workers.beat(
                self._worker_id,
                node=self._node,
                running={job_id: run.claim.attempt for job_id, run in running.items()},
                now=self._clock.now(),
            )
        )
        for job_id, run in running.items():
            if job_id not in held and not run.task.done():
                log.warning("lease_lost", job_id=job_id, attempt=run.claim.attempt)
                run.task.cancel()

    async def _tell_progress(self) -> None:
        for pool in self.pools:
            for run in pool.attempts_under_way():
                now = (round(run.progress, 2), run.step)
                if now == run.told:
                    continue
                run.told = now
                owner = await self._database.write(
                    jobs.progress(
                        run.claim.job.id, attempt=run.claim.attempt, fraction=now[0], step=now[1]
                    )
                )
                if owner is not None:
                    await self._announcer.changed(run.claim.job.id, owner)
