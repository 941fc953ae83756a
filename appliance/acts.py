"""What people do to jobs: cancel, retry, delete, pause, and the review of dead letters.

The same for HTTP, the pages and the command. Each act that is not an owner's on his own job is
audited in the transaction that does it; what becomes PENDING is enqueued, and every change is
announced, after the commit. `actor` is who does it (`database.audit.Act`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.clock import Clock, rfc3339
from appliance.database import (
    audit,
    dead_letters,
    job_reads,
    jobs,
    lifecycle,
    pauses,
    redrives,
    stored_files,
)
from appliance.database.ages import Expired
from appliance.database.dead_letters import Filter
from appliance.database.lifecycle import Pin
from appliance.database.pauses import Kind, Pause
from appliance.database.protocol import Database, Transaction
from appliance.database.redrives import Redrive
from appliance.database.stored_files import DeletedJob
from appliance.errors import IllegalMove, NotFound
from appliance.ids import new_id
from appliance.jobs import Job, JobStatus
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue
from appliance.storage.protocol import Storage

DISCARD_BATCH = 1000
"""Dead letters that one transaction discards."""
NAMED_JOBS = 100
"""Of those discarded, as many are named in the audit log."""


@dataclass(frozen=True)
class Acts:
    database: Database
    storage: Storage
    queue: Queue
    announcer: Announcer
    clock: Clock

    # --- one job ----------------------------------------------------------------------------

    async def cancel(self, job_id: str, *, actor: str, audited: bool) -> Job:
        """End a job; a child that works on it is stopped within a second.

        Raises NotFound, IllegalMove.
        """
        now = self.clock.now()
        job = await self._move(
            job_id,
            jobs.cancel(job_id, now=now, actor=actor),
            actor=actor,
            action="job.cancel",
            audited=audited,
            refusal="It cannot be cancelled any more.",
        )
        await self.announcer.job_changed(job)
        return job

    async def retry(self, job_id: str, *, actor: str, audited: bool) -> Job:
        """Try a job again from the start, with all its retries. Raises NotFound, IllegalMove."""
        job = await self._move(
            job_id,
            jobs.redrive(job_id, now=self.clock.now(), actor=actor),
            actor=actor,
            action="job.retry",
            audited=audited,
            refusal="It cannot be tried again.",
        )
        await self._begin(job)
        return job

    async def release(self, job_id: str, *, actor: str) -> Job:
        """Take what the scanner found in a job's file for harmless, and work on it. Audited.

        Raises NotFound, IllegalMove when nothing of it is locked away.
        """
        now = self.clock.now()

        def acting() -> Transaction[tuple[bool, Job | None]]:
            job = yield from job_reads.get(job_id)
            if job is None or not (yield from jobs.release_scan(job_id, actor=actor)):
                return False, job
            yield from jobs.redrive(job_id, now=now, actor=actor)
            detail = {"found": job.scan.reason}
            yield from self._audit(actor, "job.release", job_id, jobs=1, detail=detail)
            return True, (yield from job_reads.get(job_id))

        released, job = await self.database.write(acting())
        if job is None:
            raise NotFound("There is no such job.")
        if not released:
            raise illegal(job, "Nothing of it is locked away.")
        if job.status is JobStatus.PENDING:
            await self._begin(job)
        return job

    async def _move(
        self,
        job_id: str,
        move: Transaction[Job | None],
        *,
        actor: str,
        action: str,
        audited: bool,
        refusal: str,
    ) -> Job:
        def acting() -> Transaction[tuple[Job | None, Job | None]]:
            moved = yield from move
            if moved is None:
                return None, (yield from job_reads.get(job_id))
            if audited:
                yield from self._audit(actor, action, job_id, jobs=1)
            return moved, moved

        moved, job = await self.database.write(acting())
        if job is None:
            raise NotFound("There is no such job, or it is not yours.")
        if moved is None:
            raise illegal(job, refusal)
        return moved

    async def delete(self, job_id: str, *, actor: str, audited: bool) -> DeletedJob:
        """Delete a job that is final: its rows, its original, its results.

        Raises NotFound, IllegalMove, StorageUnavailable. Files that a crash leaves, the pruner
        deletes.
        """
        await self.storage.space()  # one that is down is told while the job is still there

        def acting() -> Transaction[tuple[DeletedJob | None, Job | None]]:
            pin = yield from lifecycle.pin_of(job_id)
            if pin is not None:
                raise IllegalMove(f"It is pinned: {pin.reason} An admin can take the pin away.")
            deleted = yield from stored_files.delete(job_id)
            if deleted is None:
                return None, (yield from job_reads.get(job_id))
            if audited:
                yield from self._audit(actor, "job.delete", job_id, jobs=1)
            return deleted, None

        deleted, job = await self.database.write(acting())
        if job is not None:
            raise illegal(job, "Cancel it first; then it can be deleted.")
        if deleted is None:
            raise NotFound("There is no such job, or it is not yours.")
        await self.delete_files(deleted)
        return deleted

    async def pin(self, job_id: str, *, reason: str, actor: str) -> Pin:
        """Keep a job and its files from being deleted, by people and by age. Audited.

        A second time changes the reason. Raises NotFound.
        """
        now = self.clock.now()

        def acting() -> Transaction[Pin]:
            if (yield from job_reads.get(job_id)) is None:
                raise NotFound("There is no such job.")
            yield from self._audit(actor, "job.pin", job_id, jobs=1, detail={"reason": reason})
            return (yield from lifecycle.set_pin(job_id, actor=actor, reason=reason, now=now))

        return await self.database.write(acting())

    async def unpin(self, job_id: str, *, actor: str) -> None:
        """Audited. Raises NotFound, IllegalMove where there is no pin."""

        def acting() -> Transaction[None]:
            if (yield from job_reads.get(job_id)) is None:
                raise NotFound("There is no such job.")
            if not (yield from lifecycle.delete_pin(job_id)):
                raise IllegalMove("It is not pinned.")
            yield from self._audit(actor, "job.unpin", job_id, jobs=1)

        await self.database.write(acting())

    async def delete_files(self, deleted: DeletedJob) -> None:
        """What is left of a job whose rows are gone."""
        await self.announcer.changed(deleted.id, deleted.owner, final=True)
        await self.storage.delete(f"processed/{deleted.id}")
        if deleted.original_key is not None:
            await self.storage.delete(deleted.original_key)

    async def delete_expired(self, expired: Expired) -> None:
        """What is left of files whose rows have gone by their age."""
        for job in expired.deleted:
            await self.delete_files(job)
        if expired.original_key is not None:
            await self.storage.delete(expired.original_key)
        for job_id, owner in expired.jobs:
            if expired.results:
                await self.storage.delete(f"processed/{job_id}")
            await self.announcer.changed(job_id, owner, final=True)

    # --- dead letters -----------------------------------------------------------------------

    async def retry_dead_letters(
        self,
        wanted: Filter,
        *,
        actor: str,
        staged: bool = False,
        limit: int = redrives.MAX_JOBS,
        once: str | None = None,
    ) -> Redrive:
        """Try those that match again, all at once, or `staged`: in waves that stop by themselves.

        The first of them are PENDING when this returns; maintenance goes on with the others. What
        comes again with the same `once` is answered with the redrive that it began.
        """

        def beginning() -> Transaction[str]:
            known = (yield from redrives.begun_by(actor, once)) if once else None
            if known is not None:
                return known
            redrive_id = new_id()
            yield from redrives.create(
                redrive_id,
                wanted,
                staged=staged,
                limit=limit,
                actor=actor,
                now=self.clock.now(),
                once=once,
            )
            return redrive_id

        redrive = await self.advance(await self.database.write(beginning()))
        assert redrive is not None
        return redrive

    async def advance(self, redrive_id: str) -> Redrive | None:
        """The next step of a redrive, if it is time for one; None when there is no such."""
        advanced = await self.database.write(redrives.advance(redrive_id, now=self.clock.now()))
        if advanced is None:
            return None
        for job in advanced.begun:
            await self._begin(job)
        return advanced.redrive

    async def stop_redrive(self, redrive_id: str, *, actor: str) -> Redrive:
        """Begin no more of its jobs: they stay dead letters. Raises NotFound."""
        redrive = await self.database.write(
            redrives.stop(redrive_id, actor=actor, now=self.clock.now())
        )
        if redrive is None:
            raise NotFound("There is no such redrive. They are kept for 30 days after their end.")
        return redrive

    async def discard_dead_letters(self, wanted: Filter, *, actor: str) -> int:
        """End the review of those that match; their jobs stay FAILED. How many there were."""
        total = 0
        while True:
            discarded = await self.database.write(self._discard(wanted, actor))
            total += discarded
            if discarded < DISCARD_BATCH:
                return total

    def _discard(self, wanted: Filter, actor: str) -> Transaction[int]:
        job_ids = yield from dead_letters.discard(wanted, limit=DISCARD_BATCH)
        if job_ids:
            detail = {"filter": wanted.document(), "jobIds": job_ids[:NAMED_JOBS]}
            yield from self._audit(
                actor, "dead_letters.discard", "filter", jobs=len(job_ids), detail=detail
            )
        return len(job_ids)

    # --- pauses -----------------------------------------------------------------------------

    async def pause(
        self, kind: Kind, name: str, *, reason: str, actor: str, until: float | None
    ) -> Pause:
        """Begin nothing new of a type or of an owner until then, or until it is resumed."""
        now = self.clock.now()
        detail = {"reason": reason, "until": None if until is None else rfc3339(until)}

        def acting() -> Transaction[Pause]:
            pause = yield from pauses.set_pause(
                kind, name, reason=reason, actor=actor, now=now, until=until
            )
            yield from self._audit(actor, "pause.set", f"{kind}:{name}", detail=detail)
            return pause

        return await self.database.write(acting())

    async def resume(self, kind: Kind, name: str, *, actor: str) -> Pause:
        """Raises NotFound when there is no such pause."""

        def acting() -> Transaction[Pause | None]:
            pause = yield from pauses.resume(kind, name)
            if pause is not None:
                yield from self._audit(actor, "pause.end", f"{kind}:{name}")
            return pause

        pause = await self.database.write(acting())
        if pause is None:
            raise NotFound(f"There is no pause of the {kind} {name}.")
        return pause

    # --- what they share --------------------------------------------------------------------

    async def _begin(self, job: Job) -> None:
        await self.queue.enqueue(job.id, job.type, priority=job.priority)
        await self.announcer.job_changed(job)

    def _audit(
        self,
        actor: str,
        action: str,
        subject: str,
        *,
        jobs: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Transaction[None]:
        yield from audit.add(
            actor=actor,
            action=action,
            subject=subject,
            now=self.clock.now(),
            detail=detail,
            jobs=jobs,
        )


def illegal(job: Job, refusal: str) -> IllegalMove:
    possible = " or ".join(job.status.possible)
    return IllegalMove(
        f"The job is {job.status}. {refusal} Possible now: {possible}.",
        jobStatus=job.status.value,
        possible=list(job.status.possible),
    )
