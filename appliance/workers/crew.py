"""All pools of this process, under one worker id with one heartbeat.

A heartbeat renews the worker and, job by job, the leases of what really runs here, and tells how
the pools are. Between heartbeats the leases are looked at often: work on a job that was
cancelled, or whose lease was lost, is stopped within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from appliance.clock import Clock
from appliance.database import figures, jobs, workers
from appliance.database.protocol import Database
from appliance.database.workers import NOTHING_TOLD, About, PoolState
from appliance.errors import ApplianceError
from appliance.jobs import JobStatus, JobType
from appliance.notify.announcer import Announcer
from appliance.workers import scaling
from appliance.workers.attempt import Running
from appliance.workers.plugins import Plugins
from appliance.workers.pool import Pool
from appliance.workers.scaling import FIRST_PEAK_BYTES, Decision, Room

log = structlog.get_logger()

TELL_PROGRESS_S = 0.5
LOOK_AT_LEASES_S = 0.25
LOOK_AROUND_S = 1.0


class Crew:
    def __init__(
        self,
        pools: Sequence[Pool],
        *,
        worker_id: str,
        node: str,
        about: About = NOTHING_TOLD,
        database: Database,
        announcer: Announcer,
        clock: Clock,
        heartbeat_timeout_s: float,
        peak_bytes: Mapping[str, int],
        plugins: Plugins | None = None,
    ) -> None:
        """`peak_bytes`: the memory that attempts of a type take (`Attempts.peak_bytes`)."""
        self.pools = pools
        self._plugins = plugins or Plugins()
        self._peak_bytes = peak_bytes
        self._told_pools: list[PoolState] = []
        self._worker_id = worker_id
        self._node = node
        self._about = about
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._beat_s = heartbeat_timeout_s / workers.BEATS_PER_TIMEOUT
        self._loops: list[asyncio.Task[None]] = []

    async def warm(self) -> None:
        """Return when the nursery of every pool is warm. Plug-ins are not waited for.

        Raises NurseryUnavailable; `drain` then stops those that did start.
        """
        self._plugins.start()
        warmed = await asyncio.gather(*(pool.warm() for pool in self.pools), return_exceptions=True)
        for fault in warmed:
            if fault is not None:
                raise fault

    async def start(self) -> None:
        """Take jobs; the nurseries are warm."""
        for pool in self.pools:
            pool.start()
        await self._beat()  # the pages know the pools from the first moment
        self._loops = [
            asyncio.create_task(self._every(interval_s, act), name=name)
            for name, interval_s, act in (
                ("heartbeat", self._beat_s, self._beat),
                ("leases", LOOK_AT_LEASES_S, self._look_at_leases),
                ("progress", TELL_PROGRESS_S, self._tell_progress),
                ("surroundings", LOOK_AROUND_S, self._look_around),
            )
        ]

    async def drain(self, grace_s: float) -> None:
        """Stop taking jobs, let what can finish within `grace_s` finish, hand back the rest.

        Once drained, it is a no-op.
        """
        await asyncio.gather(*(pool.drain(grace_s) for pool in self.pools))
        await self._plugins.stop()
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
                log.warning("crew_failed", act=act.__name__, reason=error.detail)
            except Exception:
                log.exception("crew_broke", act=act.__name__)  # top of a loop: it must go on

    def _running(self) -> dict[str, Running]:
        return {run.claim.job.id: run for pool in self.pools for run in pool.attempts_under_way()}

    async def _beat(self) -> None:
        running = self._running()
        states = [pool.state() for pool in self.pools]
        held = await self._database.write(
            workers.beat(
                self._worker_id,
                node=self._node,
                about=self._about,
                running={job_id: run.claim.attempt for job_id, run in running.items()},
                pools=states,
                now=self._clock.now(),
            )
        )
        self._told_pools = states
        self._stop_all_but(held, running)

    async def _look_at_leases(self) -> None:
        running = self._running()
        if running:
            claimed = {job_id: run.claim.attempt for job_id, run in running.items()}
            standing = await self._database.read(workers.standing(claimed))
            self._stop_all_but(standing, running)

    def _stop_all_but(self, standing: set[str], running: Mapping[str, Running]) -> None:
        """Stop the work on what was cancelled, or is no longer ours."""
        for job_id, run in running.items():
            if job_id not in standing and not run.settling and not run.task.done():
                log.warning("lease_gone", job_id=job_id, attempt=run.claim.attempt)
                run.task.cancel()

    async def _look_around(self) -> None:
        """Fit the pools to the queue and the machine, and tell everybody what has changed."""
        queue = await self._database.read(figures.queue())
        queued = queue.by_type(JobStatus.PENDING)
        available_bytes = scaling.available_memory_bytes()
        spare_cores = scaling.cores() - sum(pool.target - pool.smallest for pool in self.pools)
        scaled: list[tuple[JobType, int, Decision]] = []
        for pool in self.pools:
            await pool.look_around()
            before = pool.target
            peak_bytes = self._peak_bytes.get(pool.type, FIRST_PEAK_BYTES)
            room = Room(spare_cores, available_bytes, peak_bytes)
            decision = pool.scale(queued[pool.job_type], room)
            if decision is not None and decision.target != before:
                scaled.append((pool.job_type, before, decision))
            spare_cores -= pool.target - before
        if [pool.state() for pool in self.pools] != self._told_pools:
            await self._beat()
        for job_type, before, decision in scaled:
            await self._keep(job_type, before, decision)

    async def _keep(self, job_type: JobType, before: int, decision: Decision) -> None:
        """For the page of workers."""
        scaling = workers.Scaling(
            at=self._clock.now(),
            type=job_type,
            node=self._node,
            workers_before=before,
            workers_after=decision.target,
            reason=decision.reason,
        )
        await self._database.write(workers.add_scaling(scaling))

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
