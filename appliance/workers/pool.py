"""A pool: the workers of one type. It takes jobs while it has a worker free, never more.

How many workers that are, the scaling rule says, between the smallest and the largest pool. Of
several workers one stays free of large files, so that a small one never waits for an hour-long
video to end: the last worker up to the largest pool takes small files only, and is there for
them although the rule would not add it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog

from appliance.clock import Clock
from appliance.coordination.protocol import Coordination
from appliance.database import jobs
from appliance.database.protocol import Database
from appliance.database.workers import PoolState, ProcessorState
from appliance.errors import ApplianceError, NurseryUnavailable
from appliance.jobs import LARGE_BYTES, Claim, JobType
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Delivery, Queue
from appliance.threads import see_through
from appliance.workers.attempt import Attempts, Running, SurroundingsFault
from appliance.workers.nursery import Nursery
from appliance.workers.plugins import Chooser, Plugins
from appliance.workers.scaling import Decision, Room, Scaler
from appliance.workers.surroundings import Gate

log = structlog.get_logger()

BROKE_PAUSE_S = 1.0
"""After a fault of ours in the loop that takes jobs."""
LOCK_S = 60.0
REFUSED_S = 0.05
"""Wait when none of the jobs on offer was to be had: their last attempts are just ending."""


class Pool:
    def __init__(
        self,
        job_type: JobType,
        *,
        smallest: int,
        largest: int,
        worker_id: str,
        nursery: Nursery,
        plugins: Plugins | None = None,
        attempts: Attempts,
        queue: Queue,
        database: Database,
        coordination: Coordination,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        """`nursery` is that of the built-in processor; a file that a plug-in takes goes there."""
        self.job_type = job_type
        self.smallest = smallest
        self.largest = largest
        self._worker_id = worker_id
        self._nursery = nursery
        self._plugins = plugins or Plugins()
        self._attempts = attempts
        self._queue = queue
        self._database = database
        self._coordination = coordination
        self._announcer = announcer
        self._clock = clock
        self._running: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room_changed = asyncio.Event()
        self._taker: asyncio.Task[None] | None = None
        self._scaler = Scaler(smallest=smallest, largest=largest)
        self._decision: str | None = None
        self._decided_at: float | None = None
        self._gate = Gate(job_type.value, attempts.surroundings, clock, probe=self._check_nursery)

    @property
    def type(self) -> str:
        return self.job_type.value

    @property
    def target(self) -> int:
        """How many may work at once now."""
        return self._scaler.target

    def state(self) -> PoolState:
        return PoolState(
            type=self.job_type,
            smallest=self.smallest,
            largest=self.largest,
            target=self.target,
            ready=self._nursery.pid is not None,
            decision=self._decision,
            decided_at=self._decided_at,
            outage=self._gate.outage,
            processors=(*self._own_state(), *self._plugins.states()),
        )

    def _own_state(self) -> list[ProcessorState]:
        if self._nursery.said is None:
            return []
        said, up = self._nursery.said, self._nursery.pid is not None
        own = said.processor
        return [
            ProcessorState(own.name, own.version, own.content_types, ready=up, layers=said.layers)
        ]

    def attempts_under_way(self) -> list[Running]:
        return list(self._running.values())

    async def warm(self) -> None:
        """Return when the nursery is warm. Raises NurseryUnavailable."""
        await self._nursery.start()

    def start(self) -> None:
        """Take jobs; the nursery is warm."""
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

    # --- how many -----------------------------------------------------------------------------

    def scale(self, queued: int, room: Room) -> Decision | None:
        """Let the rule decide anew; its decision, when it has something new to say."""
        decision = self._scaler.decide(queued, room, now=self._clock.monotonic())
        if decision is None or decision.reason == self._decision:
            return None
        self._tell(decision)
        return decision

    def _tell(self, decision: Decision) -> None:
        log.info("pool_scaled", type=self.type, workers=decision.target, reason=decision.reason)
        self._decision, self._decided_at = decision.reason, self._clock.now()
        self._room_changed.set()

    async def look_around(self) -> None:
        """Close the gate when the disk is nearly full, also while there is nothing to do."""
        fault = await self._gate.look()
        if fault is not None:
            self._gate.close(fault)
            self._room_changed.set()  # who waits for a job is to wait at the gate

    def _free(self) -> tuple[int, bool]:
        """How many jobs may be taken now, and whether only small files."""
        under_way = len(self._tasks)
        large = sum(run.claim.job.size_bytes > LARGE_BYTES for run in self._running.values())
        room_for_large = max(1, self.largest - 1) - large
        free = self.target - under_way
        if free > 0:
            return (min(free, room_for_large), False) if room_for_large > 0 else (free, True)
        # Every worker that the rule allows is busy with a large file: one more, for small ones.
        express = large and large == under_way and under_way < self.largest
        return (1, True) if express else (0, False)

    # --- taking jobs --------------------------------------------------------------------------

    async def _take_jobs(self) -> None:
        while True:
            try:
                self._room_changed.clear()
                free, small_only = self._free()
                if not free:
                    await self._room_changed.wait()
                    continue
                await self._gate.passed()
                deliveries = await self._receive(free, small_only)
                # Once claimed, each has its worker, also when taking is stopped meanwhile.
                taking = asyncio.ensure_future(self._take(deliveries))
                if not await see_through(taking) and deliveries:
                    await asyncio.sleep(REFUSED_S)
            except ApplianceError as error:
                self._gate.close(error)
            except Exception:
                log.exception("pool_broke", type=self.type)  # top of a loop: it must go on
                await asyncio.sleep(BROKE_PAUSE_S)

    async def _receive(self, limit: int, small_only: bool) -> Sequence[Delivery]:
        """Something to try; nothing when the room changed before there was something."""
        receiving = asyncio.ensure_future(
            self._queue.receive(self.job_type, limit=limit, small_only=small_only)
        )
        changed = asyncio.ensure_future(self._room_changed.wait())
        try:
            await asyncio.wait((receiving, changed), return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else ()
        finally:
            for waiting in (receiving, changed):
                waiting.cancel()

    def _is_a_plugin_s(self, fault: ApplianceError) -> bool:
        """Then all other files can be worked on, and this one by who comes next."""
        return isinstance(fault, NurseryUnavailable) and self._nursery.pid is not None

    async def _check_nursery(self) -> None:
        if self._nursery.pid is None:
            raise NurseryUnavailable(f"The process for {self.type} work does not come up.")

    # --- one worker ---------------------------------------------------------------------------

    async def _take(self, deliveries: Sequence[Delivery]) -> int:
        """Lock and claim what was delivered, and start a worker on each that was to be had; how
        many those are (DIAGRAMS.md, 5)."""
        locked: dict[str, tuple[Delivery, AsyncExitStack]] = {}
        try:
            for delivery in deliveries:
                lock = AsyncExitStack()
                if await lock.enter_async_context(
                    self._coordination.lock(f"job:{delivery.job_id}", ttl_s=LOCK_S)
                ):
                    locked[delivery.job_id] = (delivery, lock)
                else:
                    await delivery.ack()
            claims = await self._claim(list(locked)) if locked else []
            for claim in claims:
                self._start(claim, *locked.pop(claim.job.id))
            for delivery, _ in locked.values():
                await delivery.ack()
            return len(claims)
        finally:
            for _, lock in locked.values():
                await lock.aclose()

    async def _claim(self, job_ids: list[str]) -> list[Claim]:
        return await self._database.write(
            jobs.claim_all(job_ids, worker=self._worker_id, now=self._clock.now())
        )

    def _start(self, claim: Claim, delivery: Delivery, lock: AsyncExitStack) -> None:
        task = asyncio.create_task(self._work(claim, delivery, lock))
        self._running[claim.job.id] = Running(claim, task)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room_changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("worker_broke", type=self.type, error=repr(error))

    async def _work(self, claim: Claim, delivery: Delivery, lock: AsyncExitStack) -> None:
        try:
            async with lock:
                await self._announcer.job_changed(claim.job)
                chooser = Chooser(self._nursery, self._plugins)
                await self._attempts.run(self._running[claim.job.id], chooser)
                await delivery.ack()
        except SurroundingsFault as handed_back:
            if not self._is_a_plugin_s(handed_back.fault):
                self._gate.close(handed_back.fault)
            await delivery.ack()
        except ApplianceError as error:  # the database failed; the rescuer finds the job
            self._gate.close(error)
        finally:
            del self._running[claim.job.id]
