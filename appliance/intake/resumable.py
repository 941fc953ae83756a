"""Uploads that come in over several requests, and go on after a lost connection or a killed server.

    create ─► append … append ─► the last byte is in ─► judged, made an original with a job, ended

What both protocols (tus and the IETF's) do is here; how they say it is in `web`. Three things
hold at any time:

- An offset that a client is told is durable: the file was synced, then the offset recorded.
- One request at a time appends to an upload. A newer one takes over from an older, whose
  connection is dead for all that its client knows; what the older one got is kept.
- When the last byte is in, the job exists, also when the server died in between: `recover` and
  the next look at the upload bring it to its end.

The id of an upload is the id of the job that it becomes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from appliance.clock import Clock
from appliance.database import job_reads, resumables
from appliance.database.protocol import Database
from appliance.errors import (
    ApplianceError,
    BadRequest,
    ChecksumMismatch,
    FileTooLarge,
    FileTypeMismatch,
    FileTypeRefused,
    Forbidden,
    IdempotencyConflict,
    LengthExceeded,
    LengthMismatch,
    NotFound,
    ObjectMissing,
    OffsetMismatch,
    QuotaExceeded,
    TooManyOpenUploads,
    UploadCompleted,
    UploadGone,
)
from appliance.ids import is_id, new_id
from appliance.intake import beginnings
from appliance.intake.admission import Admission
from appliance.intake.appending import Growth, OnCheckpoint
from appliance.intake.completion import Appended, Completion
from appliance.intake.digests import Digests
from appliance.intake.holding import Holder, Holding
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue
from appliance.storage.partials import Partials
from appliance.storage.protocol import Storage
from appliance.uploads import Announced, Failure, JobOptions, Kind, Resumable

log = structlog.get_logger()

MAX_PARTS = 10_000
"""That one upload may be joined from."""


LOST = "Some of what had come is gone from the store. Begin a new upload."


@dataclass(frozen=True)
class Checksum:
    """What the bytes of one request must have: nothing of them is kept otherwise."""

    algorithm: str
    """A name that hashlib knows."""
    digest: bytes


class ResumableUploads:
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
    ) -> None:
        self.admission = admission
        self._partials = partials
        self._database = database
        self._clock = clock
        self._holding = Holding()
        self._digests = Digests()
        self._completion = Completion(
            admission,
            storage=storage,
            partials=partials,
            database=database,
            queue=queue,
            announcer=announcer,
            clock=clock,
            digests=self._digests,
        )

    # --- creating -----------------------------------------------------------------------------

    async def create(
        self,
        owner: str,
        announced: Announced,
        options: JobOptions,
        *,
        length_bytes: int | None,
        kind: Kind = "plain",
        ends_by_length: bool = True,
        tus_metadata: str | None = None,
        tus_concat: str | None = None,
        idempotency_key: str | None = None,
    ) -> Resumable:
        """Begin an upload; it is there, durable, when this returns.

        With the `idempotency_key` of an earlier request that asked for the same it is that one's,
        as far as it has come.
        Raises FileTooLarge, FileTypeRefused, StorageFull, QuotaExceeded, TooManyOpenUploads,
        IdempotencyConflict, and UploadGone when that of the earlier request has ended.
        """
        announced = msgspec.structs.replace(announced, size_bytes=length_bytes)
        said = beginnings.digest(kind, announced, options, tus_metadata)
        if idempotency_key is not None:
            earlier = await self._database.read(beginnings.earlier(owner, idempotency_key, said))
            if earlier is not None:
                return _alive(earlier)
        self.admission.check_announced(announced)
        files = 0 if kind == "partial" else 1
        await self.admission.check_room(owner, length_bytes or 0, files=files)
        upload = msgspec.structs.replace(
            self._new(owner, announced, options, length_bytes, kind),
            ends_by_length=ends_by_length,
            tus_metadata=tus_metadata,
            tus_concat=tus_concat,
        )
        earlier = await self._open(upload, idempotency_key, said)
        if earlier is not None:
            return _alive(earlier)
        log.info("upload_created", upload_id=upload.id, owner=owner, length_bytes=length_bytes)
        return upload

    async def _open(self, upload: Resumable, key: str | None, said: str) -> Resumable | None:
        """Make it and record it; or that of the same request, which came at the same time."""
        await self._partials.create(upload.id)
        create = beginnings.create_once(upload, key, said)
        try:
            earlier = await self._database.write(
                self.admission.within_quota(upload.owner, create, opens=True)
            )
        except (QuotaExceeded, TooManyOpenUploads, IdempotencyConflict):
            await self._partials.delete(upload.id)
            raise
        if earlier is not None:
            await self._partials.delete(upload.id)
        return earlier

    def _new(
        self,
        owner: str,
        announced: Announced,
        options: JobOptions,
        length_bytes: int | None,
        kind: Kind,
    ) -> Resumable:
        now = self._clock.now()
        return Resumable(
            id=new_id(),
            owner=owner,
            state="open",
            kind=kind,
            length_bytes=length_bytes,
            offset_bytes=0,
            closed=False,
            ends_by_length=True,
            announced=announced,
            options=options,
            tus_metadata=None,
            tus_concat=None,
            parts=(),
            created_at=now,
            expires_at=now + self.admission.limits.upload_expiry_s,
            ended_at=None,
            failure=None,
        )

    async def join(
        self,
        owner: str,
        parts: Sequence[str],
        announced: Announced,
        options: JobOptions,
        *,
        tus_metadata: str | None = None,
        tus_concat: str | None = None,
        idempotency_key: str | None = None,
    ) -> Appended:
        """Make one upload of several complete partial ones, and a job of that.

        With the `idempotency_key` of an earlier request for the same it is what that has made.
        Raises NotFound for a part that is not there or not the owner's, LengthMismatch for one
        that is not complete, and what `append` raises when the last byte is in.
        """
        if not 1 <= len(parts) <= MAX_PARTS:
            raise BadRequest(f"An upload is joined from 1 to {MAX_PARTS:,} partial ones.")
        if len(set(parts)) < len(parts):
            raise BadRequest("An upload is joined from each part once.")
        said = beginnings.digest("final", announced, options, tus_metadata, parts)
        if idempotency_key is not None:  # before the parts, which are gone when they are joined
            earlier = await self._database.read(beginnings.earlier(owner, idempotency_key, said))
            if earlier is not None:
                return await self._joined(_alive(earlier))
        length_bytes = 0
        for part_id in parts:
            part = await self._get(owner, part_id)
            if part.state == "open" and part.is_full:
                part = (await self.look(owner, part_id)).upload
            if part.kind != "partial" or part.state != "completed":
                raise LengthMismatch(f"{part_id} is no partial upload that is complete.")
            length_bytes += part.offset_bytes
        announced = msgspec.structs.replace(announced, size_bytes=length_bytes)
        self.admission.check_announced(announced)
        await self.admission.check_space(length_bytes)
        upload = msgspec.structs.replace(
            self._new(owner, announced, options, length_bytes, "final"),
            tus_metadata=tus_metadata,
            tus_concat=tus_concat,
            parts=tuple(parts),
        )
        earlier = await self._open(upload, idempotency_key, said)
        if earlier is not None:
            return await self._joined(_alive(earlier))
        return await self._joined(upload)

    async def _joined(self, upload: Resumable) -> Appended:
        """Of its parts; also when that was begun before, or done."""
        async with self._holding.of(upload.id):
            upload = await self._get(upload.owner, upload.id)
            if upload.state != "open" or upload.is_full:
                return await self._as_it_is(upload)
            try:
                offset_bytes = await self._partials.join(upload.parts, upload.id)
            except ObjectMissing as missing:  # joined, expired or terminated in between
                await self._completion.end(upload, "terminated")
                raise NotFound("A part of it is gone.") from missing
            except BaseException:
                await self._completion.end(upload, "terminated")
                raise
            upload = await self._record(upload, offset_bytes, False)
            return await self._completion.finish(upload)

    # --- reading ------------------------------------------------------------------------------

    async def look(self, owner: str, upload_id: str, *, ends_by_length: bool = False) -> Appended:
        """The upload as it is now. A request that still appends to it is ended first, so that the
        offset told is one to go on from.

        Raises NotFound, and UploadGone for one that has ended without a job.
        """
        await self._get(owner, upload_id)
        async with self._holding.of(upload_id):
            upload = await self._get(owner, upload_id)
            if ends_by_length:  # who asks so takes it for complete when all of it is there
                upload = msgspec.structs.replace(upload, ends_by_length=True)
            return await self._as_it_is(upload)

    async def _as_it_is(self, upload: Resumable) -> Appended:
        if upload.state == "open" and upload.is_full:  # the server died before it came to its end
            return await self._completion.finish(upload)
        if upload.state == "completed":
            job = await self._database.read(job_reads.get(upload.id))
            return Appended(upload, job)
        _check_alive(upload)
        if not await self._is_there(upload):
            await self._lose(upload)
            raise UploadGone(LOST)
        return Appended(upload)

    async def _is_there(self, upload: Resumable) -> bool:
        """Whether the store has what the client was told that it has."""
        try:
            return await self._partials.size(upload.id) >= upload.offset_bytes
        except ObjectMissing:
            return False

    async def _lose(self, upload: Resumable) -> None:
        """An offset is never taken back: what cannot be gone on with from there has ended."""
        log.error("upload_lost", upload_id=upload.id, offset_bytes=upload.offset_bytes)
        await self._completion.end(upload, "failed", Failure(ObjectMissing.code, LOST))

    async def _get(self, owner: str, upload_id: str) -> Resumable:
        found = await self._database.read(resumables.get(upload_id)) if is_id(upload_id) else None
        if found is None or found.owner != owner:
            raise NotFound("There is no such upload, or it is not yours.")
        return found

    # --- appending ----------------------------------------------------------------------------

    async def append(
        self,
        owner: str,
        upload_id: str,
        body: AsyncIterator[bytes],
        *,
        offset_bytes: int,
        length_bytes: int | None = None,
        close: bool = False,
        ends_by_length: bool = True,
        checksum: Checksum | None = None,
        content_bytes: int | None = None,
        on_checkpoint: OnCheckpoint = lambda _offset_bytes: None,
        on_full: Callable[[], None] = lambda: None,
    ) -> Appended:
        """Append `body` at `offset_bytes`; the upload as it is then, with its job when that was
        the last of it.

        `length_bytes` is the length of the whole, where this request tells it; `close` says that
        nothing comes after this body, where it is not complete with its last byte
        (`ends_by_length`); `content_bytes` is what the body is announced to have. `on_checkpoint`
        is told each offset that has become durable on the way, `on_full` that every byte is, before
        the whole is judged.
        What came is kept when the body breaks off, unless it has a `checksum`.

        Raises NotFound, UploadGone, UploadCompleted, Forbidden, OffsetMismatch, LengthMismatch,
        LengthExceeded, ChecksumMismatch, UploadTakenOver, NotSignedIn, what `admission` raises,
        what `body` raises, StorageFull and StorageUnavailable.
        """
        await self._get(owner, upload_id)
        async with self._holding.of(upload_id) as holder:
            upload = await self._get(owner, upload_id)
            if upload.closed:  # its end was not reached, for a fault of the surroundings
                upload = (await self._as_it_is(upload)).upload
            if ends_by_length:
                upload = msgspec.structs.replace(upload, ends_by_length=True)
            upload = await self._check(upload, offset_bytes, length_bytes, close, content_bytes)
            try:
                upload = await self._receive(upload, body, holder, checksum, close, on_checkpoint)
            except (FileTooLarge, FileTypeMismatch, FileTypeRefused, LengthExceeded) as refused:
                if isinstance(refused, LengthExceeded) and upload.ends_by_length:
                    raise  # tus: what was told of it stays true, and the client may go on from it
                # Nothing that is appended can make it good again.
                await self._completion.end(upload, "failed", Failure(refused.code, refused.detail))
                raise
            if upload.is_full:
                on_full()
                return await self._completion.finish(upload)
            return Appended(upload)

    async def _check(
        self,
        upload: Resumable,
        offset_bytes: int,
        length_bytes: int | None,
        close: bool,
        content_bytes: int | None,
    ) -> Resumable:
        """Before a byte is read; the upload with its length, where that is told now."""
        _check_alive(upload)
        if upload.kind == "final":
            raise Forbidden("An upload that is joined from others takes no bytes itself.")
        if upload.state == "completed" and upload.kind == "partial":
            raise UploadCompleted("This part is complete; it waits to be joined.")
        if upload.state == "completed":
            raise UploadCompleted(jobId=upload.id)
        if offset_bytes != upload.offset_bytes:
            raise OffsetMismatch(
                f"The upload is at {upload.offset_bytes}, not at {offset_bytes}. Go on from there.",
                **{"expected-offset": upload.offset_bytes, "provided-offset": offset_bytes},
            )
        if close and content_bytes is not None:
            end_bytes = offset_bytes + content_bytes
            if length_bytes not in (None, end_bytes):
                raise LengthMismatch("Upload-Length and the end of this request differ.")
            length_bytes = end_bytes
        if length_bytes is not None:
            if upload.length_bytes not in (None, length_bytes):
                raise LengthMismatch(
                    f"The upload was announced with {upload.length_bytes} bytes, now with "
                    f"{length_bytes}."
                )
            if length_bytes < offset_bytes:
                raise LengthMismatch(f"{offset_bytes} bytes are here already.")
            told = msgspec.structs.replace(upload.announced, size_bytes=length_bytes)
            self.admission.check_announced(told)
            if upload.length_bytes is None:
                await self.admission.check_quota(upload.owner, length_bytes - offset_bytes)
                upload = msgspec.structs.replace(upload, length_bytes=length_bytes)
        if content_bytes is not None:
            if upload.length_bytes is not None and (
                offset_bytes + content_bytes > upload.length_bytes
            ):
                raise LengthExceeded(
                    f"{content_bytes} bytes at {offset_bytes} go beyond the {upload.length_bytes} "
                    "that the upload was announced to have."
                )
            await self.admission.check_space(content_bytes)
        return upload

    async def _receive(
        self,
        upload: Resumable,
        body: AsyncIterator[bytes],
        holder: Holder,
        checksum: Checksum | None,
        close: bool,
        on_checkpoint: OnCheckpoint,
    ) -> Resumable:
        """Read the body; the upload at the offset that is durable then."""
        summed = hashlib.new(checksum.algorithm) if checksum else None
        most = upload.length_bytes
        if most is None:
            most = self.admission.max_bytes(upload.announced)
        try:
            opened = await self._partials.append_at(upload.id, upload.offset_bytes)
        except ObjectMissing as missing:
            await self._lose(upload)
            raise UploadGone(LOST) from missing
        async with opened as appending:
            growth = Growth(
                upload,
                appending,
                admission=self.admission,
                digests=self._digests,
                record=self._record,
                on_checkpoint=on_checkpoint,
                all_or_nothing=checksum is not None,
            )
            try:
                with holder.interruptible():
                    async for chunk in body:
                        if growth.offset_bytes + len(chunk) > most:
                            raise self._too_much(upload, most)
                        if summed is not None:
                            summed.update(chunk)
                        await growth.write(chunk)
            except BaseException:  # a dead client, a full disk, somebody who takes over
                await growth.break_off()
                raise
            if checksum is not None and summed is not None and summed.digest() != checksum.digest:
                raise ChecksumMismatch(
                    f"The {checksum.algorithm} of the bytes is another one. Send them again."
                )
            return await growth.save(closed=close)

    def _too_much(self, upload: Resumable, most: int) -> ApplianceError:
        if upload.length_bytes is None:
            return self.admission.too_large(upload.announced)
        return LengthExceeded(
            f"More came than the {most} bytes that the upload was announced to have."
        )

    async def _record(self, upload: Resumable, offset_bytes: int, closed: bool) -> Resumable:
        """Note what is durable. Raises UploadGone when the upload was ended meanwhile, and
        QuotaExceeded where it takes more than it was announced with."""
        advance = resumables.advance(
            upload.id,
            offset_bytes=offset_bytes,
            length_bytes=upload.length_bytes,
            closed=closed,
            ends_by_length=upload.ends_by_length,
            expires_at=self._clock.now() + self.admission.limits.upload_expiry_s,
        )
        recorded = await self._database.write(self.admission.within_quota(upload.owner, advance))
        if recorded is None:
            raise UploadGone
        return recorded

    # --- ending at its owner's wish -----------------------------------------------------------

    async def terminate(self, owner: str, upload_id: str) -> None:
        """End an upload at its owner's wish; what is there of it is deleted.

        Raises NotFound, UploadGone, UploadCompleted.
        """
        await self._get(owner, upload_id)
        async with self._holding.of(upload_id):
            upload = await self._get(owner, upload_id)
            _check_alive(upload)
            if upload.state == "completed" and upload.kind == "partial":
                await self._completion.forget_part(upload_id)
            elif upload.state == "completed":
                raise UploadCompleted(
                    "It has become a job. Delete that: DELETE /jobs/{jobId}.", jobId=upload_id
                )
            else:
                await self._completion.end(upload, "terminated")

    async def forget(self, owner: str, upload_id: str) -> None:
        """Know nothing more of one that has ended: its job was deleted by way of it.

        Raises NotFound.
        """
        upload = await self._get(owner, upload_id)
        await self._database.write(resumables.forget(upload.id))

    # --- maintenance --------------------------------------------------------------------------

    async def recover(self) -> int:
        """At a start: cut what may not have survived, delete what no upload knows; bytes freed."""
        recorded = await self._database.read(resumables.open_offsets())
        parts = await self._database.read(resumables.complete_parts())
        return await self._partials.recover({**parts, **recorded})

    async def finish_full(self) -> int:
        """Bring to their end those whose last byte came just before the server died."""
        finished = 0
        for upload_id in await self._database.read(resumables.full()):
            if self._holding.is_held(upload_id):
                continue  # it is being finished
            async with self._holding.of(upload_id):
                upload = await self._database.read(resumables.get(upload_id))
                if upload is None:
                    continue
                try:
                    finished += (await self._as_it_is(upload)).job is not None
                except ApplianceError as error:
                    log.warning("upload_not_finished", upload_id=upload_id, reason=error.detail)
        return finished

    async def expire(self, *, limit: int) -> tuple[int, int]:
        """End what has had no byte for too long; how many, and how many bytes that gave back."""
        now = self._clock.now()
        count, freed = 0, 0
        for upload_id in await self._database.read(resumables.expired(now=now, limit=limit)):
            if self._holding.is_held(upload_id):
                continue  # bytes are coming in right now
            upload = await self._database.read(resumables.get(upload_id))
            if upload is not None:
                count += 1
                freed += await self._completion.end(upload, "expired")
        before = now - self.admission.limits.upload_expiry_s
        for part_id in await self._database.read(
            resumables.expired_parts(before=before, limit=limit)
        ):
            count += 1
            freed += await self._completion.forget_part(part_id)
        return count, freed


def _alive(upload: Resumable) -> Resumable:
    _check_alive(upload)
    return upload


def _check_alive(upload: Resumable) -> None:
    """Raises UploadGone for one that has ended without becoming anything."""
    if upload.state == "failed" and upload.failure is not None:
        raise UploadGone(
            f"This upload was refused: {upload.failure.detail}", reason=upload.failure.code
        )
    if upload.state == "expired":
        raise UploadGone("This upload has expired: no byte came for too long. Begin a new one.")
    if upload.state == "terminated":
        raise UploadGone("This upload was cancelled. Begin a new one.")
