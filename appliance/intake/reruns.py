"""Processing a stored original once more, with another preset or a newer version of one.

Nothing is received: the new job stands on the upload that is there, which stays as long as one of
its jobs does. So it counts once against a quota, and what the new job makes counts as results do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
import structlog

from appliance.clock import Clock, day
from appliance.database import audit, job_reads, jobs, ownership
from appliance.database.protocol import Database, Transaction
from appliance.errors import NotFound, ObjectMissing, OriginalGone, Quarantined
from appliance.ids import new_id
from appliance.intake.admission import Admission
from appliance.intake.receiver import earlier_jobs
from appliance.jobs import Job
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue
from appliance.storage.protocol import Storage

log = structlog.get_logger()


@dataclass(frozen=True)
class Rerun:
    """What is asked for."""

    job_id: str
    """Of the job whose original it is."""
    preset: str
    priority: int
    actor: str
    audited: bool
    """The job is not the actor's own."""
    idempotency_key: str | None = None


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

    async def begin(self, asked: Rerun) -> Job:
        """The new job, PENDING and durable: with the owner and the metadata of the old one, in
        whatever state that is.

        With the `idempotency_key` of an earlier request of this `actor` for the same it is that
        one's. Raises NotFound, Quarantined, OriginalGone, StorageFull, QuotaExceeded,
        IdempotencyConflict.
        """
        earlier = await self._database.read(_earlier(asked))
        if earlier is not None:  # looked for first: the original may be gone since
            return earlier
        await self._check(asked.job_id)
        job, is_new = await self._database.write(self._create(asked, self._clock.now()))
        if job is None:
            raise NotFound("There is no such job, or it is not yours.")
        if is_new:
            await self._queue.enqueue(job.id, job.type, priority=job.priority)
            await self._announcer.job_changed(job)
            log.info(
                "processed_again",
                job_id=job.id,
                of=asked.job_id,
                preset=job.preset,
                actor=asked.actor,
            )
        return job

    def _create(self, asked: Rerun, now: float) -> Transaction[tuple[Job | None, bool]]:
        """The job, and whether it is new; None when the old one is gone."""
        earlier = yield from _earlier(asked)
        if earlier is not None:
            return earlier, False
        job = yield from jobs.create_again(
            new_id(),
            of=asked.job_id,
            preset=asked.preset,
            priority=asked.priority,
            max_retries=self._admission.limits.max_retries,
            now=now,
            actor=asked.actor,
        )
        if job is None:
            return None, False
        if asked.idempotency_key is not None:
            yield from ownership.remember(
                asked.actor,
                asked.idempotency_key,
                content=_digest(asked),
                job_ids=[job.id],
                now=now,
            )
        if asked.audited:
            yield from audit.add(
                actor=asked.actor,
                action="job.process",
                subject=asked.job_id,
                now=now,
                detail={"preset": asked.preset, "newJobId": job.id},
                jobs=1,
            )
        return job, True

    async def _check(self, job_id: str) -> None:
        """Whether there is an original that may be worked on, and room for results."""
        job = await self._database.read(job_reads.get(job_id))
        if job is None:
            raise NotFound("There is no such job, or it is not yours.")
        if job.scan.locks_away:
            raise Quarantined(
                f"The virus scanner found {job.scan.reason} in this file; nothing is made of it. "
                "Whoever runs this server can release it."
            )
        if job.original_expired_at is not None:
            raise OriginalGone(
                f"The original was deleted on {day(job.original_expired_at)}, by its age, so "
                "nothing can be made of it any more. Upload the file again."
            )
        try:
            await self._storage.size(job.storage_key)
        except ObjectMissing as error:
            raise OriginalGone(
                "The stored original is gone from the server's disk, so nothing can be made of it "
                "any more. Upload the file again."
            ) from error
        await self._admission.check_space(0)
        await self._admission.check_below_quota(job.owner)  # how much it makes is not known


def _earlier(asked: Rerun) -> Transaction[Job | None]:
    """What an earlier request with this key has made. Raises IdempotencyConflict when it was
    another one."""
    if asked.idempotency_key is None:
        return None
    earlier = yield from earlier_jobs(asked.actor, asked.idempotency_key, _digest(asked))
    return None if earlier is None else earlier[0]


def _digest(asked: Rerun) -> str:
    """Over all that makes two requests the same."""
    said = msgspec.json.encode(["process", asked.job_id, asked.preset, asked.priority])
    return hashlib.sha256(said).hexdigest()
