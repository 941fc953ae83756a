"""The end of a resumable upload: a job, or the reason why not, or nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import structlog

from appliance.clock import Clock
from appliance.database import job_reads, keys, resumables
from appliance.database.protocol import Database
from appliance.errors import ApplianceError, EmptyFile, NotFound, NotSignedIn, ObjectMissing
from appliance.intake import filenames
from appliance.intake.admission import Admission, Received, original_key
from appliance.intake.digests import Digest, Digests
from appliance.intake.filetypes import SNIFF_BYTES
from appliance.intake.receiver import check_digest, log_received
from appliance.jobs import Job
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue
from appliance.storage.partials import Partials
from appliance.storage.protocol import Storage
from appliance.uploads import Failure, Resumable, State

log = structlog.get_logger()


@dataclass(frozen=True)
class Appended:
    """How an upload is after a request, and its job where it has become one."""

    upload: Resumable
    job: Job | None = None


class Completion:
    """Whoever calls holds the upload."""

    def __init__(
        self,
        admission: Admission,
        *,
        storage: Storage,
        partials: Partials,
        database: Database,
        queue: Queue,
        announcer: Announcer,
        clock: Clock,
        digests: Digests,
    ) -> None:
        self._admission = admission
        self._storage = storage
        self._partials = partials
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._clock = clock
        self._digests = digests

    async def finish(self, upload: Resumable) -> Appended:
        """Every byte is in: judge the whole, make it an original with a job.

        What cannot become a job ends as failed, with the reason, and gives its room back.
        """
        if upload.kind == "partial":
            await self._database.write(resumables.complete(upload.id, [], now=self._clock.now()))
            ended = await self._database.read(resumables.get(upload.id))
            return Appended(ended or upload)
        try:
            received = await self._judge(upload)
        except ApplianceError as error:
            if error.status < 500 or isinstance(error, ObjectMissing):
                await self.end(upload, "failed", Failure(error.code, error.detail))
            raise
        job = self._admission.new_job(upload.id, received, upload.owner, upload.options)
        await self._partials.commit(upload.id, job.storage_key)
        return await self._complete(upload, job)

    async def _complete(self, upload: Resumable, job: Job) -> Appended:
        try:
            is_new = await self._database.write(
                resumables.complete(upload.id, [job], now=self._clock.now(), parts=upload.parts)
            )
        except NotFound:  # joined from the same parts as another, which came first
            await self._storage.delete(job.storage_key)
            await self.end(upload, "terminated")
            raise
        self._digests.forget(upload.id)
        if is_new:
            await self._queue.enqueue(job.id, job.type, priority=job.priority)
            await self._announcer.job_changed(job)
            log_received(job)
        for part_id in upload.parts:
            await self._partials.delete(part_id)
        ended = await self._database.read(resumables.get(upload.id))
        return Appended(ended or upload, await self._database.read(job_reads.get(upload.id)))

    async def _judge(self, upload: Resumable) -> Received:
        """Raises NotSignedIn, EmptyFile, FileTooLarge, FileTypeRefused, FileTypeMismatch,
        DigestMismatch, ObjectMissing."""
        if not await self._database.read(keys.owner_may(upload.owner, now=self._clock.now())):
            # Days may lie between the first byte and the last.
            raise NotSignedIn("The key of this upload is not valid any more.")
        filename = filenames.clean(upload.announced.filename)
        if upload.offset_bytes == 0:
            raise EmptyFile(f"{filename} has no bytes. Check it at your side, and send it again.")
        head = b"".join([piece async for piece in await self._bytes(upload, filename, SNIFF_BYTES)])
        file_type = self._admission.recognise(head, filename, upload.announced.content_type)
        self._admission.check_size(upload.offset_bytes, file_type)
        digest = self._digests.take(upload.id, upload.offset_bytes)
        if digest is None:
            digest = Digest.of_nothing()
            async for piece in await self._bytes(upload, filename, None):
                await asyncio.to_thread(digest.update, piece)
        sha256 = digest.sha256.hexdigest()
        check_digest(upload.announced, sha256)
        return Received(
            filename=filename,
            file_type=file_type,
            size_bytes=upload.offset_bytes,
            sha256=sha256,
        )

    async def _bytes(
        self, upload: Resumable, filename: str, length: int | None
    ) -> AsyncGenerator[bytes, None]:
        """From the partial, or from the original that it has become just before a crash."""
        if await self._partials.exists(upload.id):
            return self._partials.read(upload.id, length=length)
        return self._storage.read(original_key(upload.id, filename), length=length)

    async def end(self, upload: Resumable, state: State, failure: Failure | None = None) -> int:
        """End it without a job; how many bytes that gave back."""
        now = self._clock.now()
        ended = await self._database.write(
            resumables.end(upload.id, state, now=now, failure=failure)
        )
        self._digests.forget(upload.id)
        if ended is None:
            return 0
        freed = await self._partials.delete(upload.id)
        log.info("upload_ended", upload_id=upload.id, state=state, freed_bytes=freed)
        return freed

    async def forget_part(self, part_id: str) -> int:
        await self._database.write(resumables.forget(part_id))
        return await self._partials.delete(part_id)
