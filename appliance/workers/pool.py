"""A pool: the workers of one type. It takes jobs while it has a worker free, never more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from appliance.clock import Clock
from appliance.coordination.protocol import Coordination
from appliance.database import jobs
from appliance.database.protocol import Database
from appliance.errors import ApplianceError
from appliance.jobs import Claim, JobType
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Delivery, Queue
from appliance.workers.attempt import Attempts, SurroundingsFault
from appliance.workers.nursery import Nursery

log = structlog.get_logger()

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LOCK_S = 60.0
REFUSED_S = 0.05
"""Wait when none of the jobs on offer was to be had: their last attempts are just ending."""


@dataclass
class Running:
    """An attempt under way."""

    claim: Claim
    task: asyncio.Task[None]
    progress: float = 0.0
    step: str = "starting"
    told: tuple[float, str] = (0.0, "")
    """The progress that the database knows."""


class Pool:
    def __init__(
        self,
        job_type: JobType,
        *,
        smallest: int,
        largest: int,
        worker_id: str,
        nursery: Nursery,
        attempts: Attempts,
        queue: Queue,
        database: Database,
        coordination: Coordination,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self.job_type = job_type
        self.smallest = smallest
        self.largest = largest
        self._worker_id = worker_id
        self._nursery = nursery
        self._attempts = attempts
        self._queue = queue
        self._database = database
        self._coordination = coordination
        self._announcer = announcer
        self._clock = clock
        self._running: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slot_free = asyncio.Event()
        self._pause_s = 0.0
        self._taker: asyncio.Task[None] | None = None

    @property
    def type(self) -> str:
        return self.job_type.value

    @property
    def ready(self) -> bool:
        return self._nursery.pid is not None

    @property
    def running(self) -> Sequence[tuple[str, float]]:
        return [(run.claim.job.filename, run.progress) for run in self._running.values()]

    def attempts_under_way(self) -> list[Running]:
        return list(self._running.values())

    async def start(self) -> None:
        """Return when the nursery is warm. Raises NurseryUnavailable."""
        await self._nursery.start()
        self._taker = asyncio.create_task(self._take_jobs(), name=f"pool-{self.type}")

    async def stop_taking(self) -> None:
        if self._taker is not None:
            self._taker.cancel()
            await asyncio.wait([self._taker])
            self._taker = None

    async def drain(self, grace_s: float) -> None:
        """Let what runs finish within `grace_s`, then hand the rest back."""
        await self.stop_taking()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._nursery.stop()

    async def _take_jobs(self) -> None:
        while True:
            try:
                free = self.largest - len(self._tasks)
                if free <= 0:
                    self._slot_free.clear()
                    await self._slot_free.wait()
                    continue
                if self._pause_s:
                    await asyncio.sleep(self._pause_s)
                deliveries = await self._queue.receive(self.job_type, limit=free)
                taken = [self._begin(delivery) for delivery in deliveries]
                if not any(await asyncio.gather(*taken)):
                    await asyncio.sleep(REFUSED_S)
            except ApplianceError as error:
                self._back_off()
                log.warning("pool_paused", type=self.type, reason=error.detail, for_s=self._pause_s)
            except Exception:
                self._back_off()
                log.exception("pool_broke", type=self.type)  # top of a loop: it must go on

    async def _begin(self, delivery: Delivery) -> bool:
        """Start a worker on it; returns when the job is claimed, or False: it was not to be had."""
        claimed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._work(delivery, claimed))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await claimed

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slot_free.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._back_off()
            log.error("worker_broke", type=self.type, error=repr(error))

    async def _work(self, delivery: Delivery, claimed: asyncio.Future[bool]) -> None:
        """The worker's flow: lock, claim, work, acknowledge (DIAGRAMS.md, 5)."""
        try:
            async with self._coordination.lock(f"job:{delivery.job_id}", ttl_s=LOCK_S) as ours:
                claim = await self._claim(delivery.job_id) if ours else None
                claimed.set_result(claim is not None)
                if claim is not None:
                    await self._attend(claim)
                await delivery.ack()
        except ApplianceError as error:  # the database failed; the rescuer finds the job
            self._back_off()
            log.warning("worker_paused", type=self.type, reason=error.detail, for_s=self._pause_s)
        finally:
            if not claimed.done():
                claimed.set_result(False)

    async def _claim(self, job_id: str) -> Claim | None:
        return await self._database.write(
            jobs.claim(job_id, worker=self._worker_id, now=self._clock.now())
        )

    async def _attend(self, claim: Claim) -> None:
        await self._announcer.job_changed(claim.job)
        task = asyncio.current_task()
        assert task is not None
        running = self._running[claim.job.id] = Running(claim, task)

        def on_progress(fraction: float, step: str) -> None:
            running.progress, running.step = fraction, step

        try:
            await self._attempts.run(claim, self._nursery, on_progress)
            self._pause_s = 0.0
        except SurroundingsFault:
            self._back_off()
            log.warning("pool_paused", type=self.type, for_s=self._pause_s)
        finally:
            del self._running[claim.job.id]

    def _back_off(self) -> None:
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
