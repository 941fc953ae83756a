"""The rescuer: takes jobs back from workers that are gone (DIAGRAMS.md, 10).

A worker is gone when its heartbeat has not grown for `heartbeat_timeout_s`, a single lease when
its own beat has not for `stale_after_s`, both on this process's monotonic clock: the clocks of
others are never believed. A job that is taken back is PENDING at once and no retry is counted,
for a worker's end is rarely the job's fault; one whose workers vanish MAX_LOST times over may be
what kills them, and is given up with a dead letter.

A worker that was only slow finds its lease gone and its attempt's writes without effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from appliance.clock import Clock
from appliance.database import job_reads, jobs, workers
from appliance.database.protocol import Database
from appliance.database.workers import Lease, Worker
from appliance.errors import WorkerLost
from appliance.jobs import Job, JobError, JobStatus
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue

log = structlog.get_logger()

MAX_LOST = 10

SHOW_GONE_S = 15 * 60.0
"""How long people see that a process is gone; then it was meant to be."""


class Rescuer:
    name = "rescuer"

    def __init__(
        self,
        *,
        database: Database,
        queue: Queue,
        announcer: Announcer,
        metrics: Metrics,
        clock: Clock,
        heartbeat_timeout_s: float,
        stale_after_s: float,
        own_worker: str | None = None,
    ) -> None:
        """`own_worker` is the id of this process."""
        self._own = own_worker
        self.interval_s = min(10.0, heartbeat_timeout_s / 6)
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._metrics = metrics
        self._clock = clock
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._stale_after_s = stale_after_s
        self._seen: dict[str, tuple[int, float]] = {}
        """What is watched → its beat, and when (monotonic) that was first seen."""

    async def run_once(self) -> Mapping[str, int]:
        everybody, leases = await self._database.read(workers.census())
        if self._is_database_stalled(everybody):
            self._seen.clear()  # nobody could beat: that anybody did not means nothing
            return {}
        gone = [worker for worker in everybody if self._is_gone(worker)]
        alive = {worker.id for worker in everybody} - {worker.id for worker in gone}
        lost = [
            lease
            for lease in leases
            if lease.worker not in alive | {self._own}
            or self._silent_s(f"{lease.job_id}-{lease.attempt}", lease.beat) > self._stale_after_s
        ]
        self._forget_all_but(
            {worker.id for worker in everybody}
            | {f"{lease.job_id}-{lease.attempt}" for lease in leases}
        )
        counts = {"rescued": await self._rescue(lost), "workers_gone": await self._mark_gone(gone)}
        await self._forget(gone)
        return counts

    async def recover(self, ended_lives: Sequence[Worker]) -> Mapping[str, int]:
        """At a start: take back at once what this node's previous lives held."""
        ended = {worker.id for worker in ended_lives}
        _, leases = await self._database.read(workers.census())
        rescued = await self._rescue([one for one in leases if one.worker in ended])
        if ended_lives:
            await self._database.write(workers.forget(ended_lives))
        return {"rescued": rescued, "workers_gone": len(ended_lives)}

    def _is_gone(self, worker: Worker) -> bool:
        if worker.id == self._own:
            return False
        silent_s = self._silent_s(worker.id, worker.beat)
        return worker.gone_at is not None or silent_s > self._heartbeat_timeout_s

    async def _mark_gone(self, gone: Sequence[Worker]) -> int:
        found = [worker for worker in gone if worker.gone_at is None]
        if not found:
            return 0
        for worker in found:
            log.warning("process_gone", worker=worker.id, host=worker.host, pid=worker.pid)
        return await self._database.write(workers.mark_gone(found, now=self._clock.now()))

    async def _forget(self, gone: Sequence[Worker]) -> None:
        before = self._clock.now() - SHOW_GONE_S
        if any(worker.gone_at is not None and worker.gone_at < before for worker in gone):
            await self._database.write(workers.forget_gone(before=before))

    def _is_database_stalled(self, everybody: Sequence[Worker]) -> bool:
        """This process lives, so when its own beats do not arrive, it is the database."""
        own = [worker for worker in everybody if worker.id == self._own]
        return any(
            self._silent_s(worker.id, worker.beat) > self._heartbeat_timeout_s / 2 for worker in own
        )

    async def _rescue(self, lost: Sequence[Lease]) -> int:
        rescued = 0
        for lease in lost:
            job = await self._take_back(lease)
            if job is None:
                continue
            rescued += 1
            self._metrics.rescued.inc()
            log.warning(
                "job_rescued", job_id=job.id, attempt=lease.attempt, worker=lease.worker,
                status=job.status,
            )  # fmt: skip
            await self._announcer.job_changed(job)
            if job.status is JobStatus.FAILED:
                await self._queue.give_up(job)
            elif not job.status.is_final:
                await self._queue.enqueue(job.id, job.type, priority=job.priority)
        return rescued

    async def _take_back(self, lease: Lease) -> Job | None:
        now = self._clock.now()
        lost_before = await self._database.read(job_reads.count_lost(lease.job_id))
        if lost_before < MAX_LOST:
            return await self._database.write(
                jobs.release(
                    lease.job_id,
                    attempt=lease.attempt,
                    now=now,
                    outcome="lost",
                    detail="its worker was lost",
                )
            )
        error = WorkerLost()
        return await self._database.write(
            jobs.fail(
                lease.job_id,
                attempt=lease.attempt,
                now=now,
                error=JobError(
                    code=error.code,
                    message=error.detail,
                    step="supervising",
                    permanent=False,
                    attempts=lost_before + 1,
                ),
                error_class=type(error).__qualname__,
                stderr_tail=None,
                outcome="lost",
            )
        )

    def _silent_s(self, watched: str, beat: int) -> float:
        now = self._clock.monotonic()
        seen = self._seen.get(watched)
        if seen is None or seen[0] != beat:
            self._seen[watched] = (beat, now)
            return 0.0
        return now - seen[1]

    def _forget_all_but(self, watched: set[str]) -> None:
        self._seen = {name: seen for name, seen in self._seen.items() if name in watched}
