"""Processing a stored original once more, with another preset or a newer version of one.

Nothing is received: the new job stands on the upload that is there, which stays as long as one of
its jobs does. So it counts once against a quota, and what the new job makes counts as results do.
"""

from __future__ import annotations

import hashlib

import msgspec
import structlog

from appliance.clock import Clock
from appliance.database import audit, job_reads, jobs
from appliance.database.protocol import Database, Transaction
from appliance.errors import NotFound, ObjectMissing, OriginalGone
from appliance.ids import new_id
from appliance.intake.admission import Admission
from appliance.intake.receiver import earlier_jobs, remember_jobs
from appliance.jobs import Job
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue
from appliance.storage.protocol import Storage

log = structlog.get_logger()


class Reruns:
    def __init__(
        self,
        admission: Admission,
        *,
        storage: Storage,
        database: Database,
        queue: Queue,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._storage = storage
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._clock = clock

    async def begin(
        self,
        job_id: str,
        *,
        preset: str,
        priority: int,
        actor: str,
        audited: bool,
        idempotency_key: str | None = None,
    ) -> Job:
        """A new job, PENDING and durable, on the original of `job_id`, whatever state that is in.

        It has the same owner and metadata. With the `idempotency_key` of an earlier request of
        this `actor` for the same it is that one's. Raises NotFound, OriginalGone, StorageFull,
        QuotaExceeded, IdempotencyConflict.
        """
        said = _digest(job_id, preset, priority)
        if idempotency_key is not None:  # first: the original may be gone since
            earlier = await self._database.read(earlier_jobs(actor, idempotency_key, said))
            if earlier is not None:
                return earlier[0]
        await self._check(job_id)
        now = self._clock.now()

        def beginning() -> Transaction[tuple[Job | None, bool]]:
            if idempotency_key is not None:
                earlier = yield from earlier_jobs(actor, idempotency_key, said)
                if earlier is not None:
                    return earlier[0], False
            job = yield from jobs.create_again(
                new_id(),
                of=job_id,
                preset=preset,
                priority=priority,
                max_retries=self._admission.limits.max_retries,
                now=now,
                actor=actor,
            )
            if job is None:
                return None, False
            if idempotency_key is not None:
                yield from remember_jobs(actor, idempotency_key, said, [job], now=now)
            if audited:
                detail = {"preset": preset, "newJobId": job.id}
                yield from audit.add(
                    actor=actor,
                    action="job.process",
                    subject=job_id,
                    now=now,
                    detail=detail,
                    jobs=1,
                )
            return job, True

        job, is_new = await self._database.write(beginning())
        if job is None:
            raise NotFound("There is no such job, or it is not yours.")
        if is_new:
            await self._queue.enqueue(job.id, job.type, priority=job.priority)
            await self._announcer.job_changed(job)
            log.info("processed_again", job_id=job.id, of=job_id, preset=preset, actor=actor)
        return job

    async def _check(self, job_id: str) -> None:
        """Whether there is an original to work on, and room for results."""
        job = await self._database.read(job_reads.get(job_id))
        if job is None:
            raise NotFound("There is no such job, or it is not yours.")
        try:
            await self._storage.size(job.storage_key)
        except ObjectMissing as error:
            raise OriginalGone(
                "The stored original is gone from the server's disk, so nothing can be made of it "
                "any more. Upload the file again."
            ) from error
        await self._admission.check_space(0)
        await self._admission.check_quota(job.owner, 0)


def _digest(job_id: str, preset: str, priority: int) -> str:
    """Over all that makes two requests the same."""
    said = msgspec.json.encode(["process", job_id, preset, priority])
    return hashlib.sha256(said).hexdigest()
