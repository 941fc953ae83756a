"""Receiving in one request: a stranger's bytes become a durable original and a job, or nothing.

    1  what the request announces is judged before a byte is read (`admission`)
    2  the bytes stream through: counted, hashed, recognised by their beginning, written
    3  what came is judged again (length, digest, agreement of name, declaration and content)
    4  the file is made durable under its key, then upload and job in one transaction
    5  only then is there an answer

Whatever fails before 5 leaves no file and no row behind. Uploads over several requests are in
`resumable`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Self

import msgspec
import structlog

from appliance.clock import Clock
from appliance.database import job_reads, ownership, stored_files
from appliance.database.protocol import Database, Transaction
from appliance.errors import DigestMismatch, EmptyFile, IdempotencyConflict, IncompleteBody
from appliance.ids import new_id
from appliance.intake import filenames
from appliance.intake.admission import Admission, LinkAdmission, Received, original_key
from appliance.intake.filetypes import SNIFF_BYTES, FileType
from appliance.intake.hashing import Hashing
from appliance.jobs import Job
from appliance.links import UploadLink
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue
from appliance.storage.protocol import Incoming, Storage
from appliance.uploads import Announced, JobOptions

log = structlog.get_logger()

OTHER_CONTENT = (
    "An earlier request with this Idempotency-Key sent something else. Use a new key for each "
    "upload; repeat one only to send the very same again."
)
DELETED_SINCE = (
    "What an earlier request with this Idempotency-Key has sent was deleted since. Use a new key "
    "to send it again."
)

SPACE_CHECK_BYTES = 64 * 1024 * 1024
"""How much may be written between two looks at the free space."""


@dataclass(frozen=True)
class Content:
    filename: str
    """Cleaned."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Repeatable:
    """What the client says about doing the same thing again."""

    idempotency_key: str | None = None
    dedupe: bool = False
    """Answer with the owner's completed job on the same content, where there is one."""


@dataclass(frozen=True)
class Taken:
    """What has come of the files of a request."""

    jobs: list[Job]
    how: Literal["new", "repeated", "known"] = "new"
    """`repeated`: an earlier request with the same key made them. `known`: they are the completed
    jobs on the same content."""


class Arrived(NamedTuple):
    """A file whose bytes are all here, and which is not an object yet."""

    job_id: str
    file: Received
    incoming: Incoming


class Receiver:
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
        self.admission = admission
        self._storage = storage
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._clock = clock
        self.hashing = Hashing()

    def for_link(self, link: UploadLink) -> Receiver:
        """That takes what may come by an upload link."""
        made = copy(self)
        made.admission = LinkAdmission(self.admission, link)
        return made

    def begin(self, owner: str) -> Reception:
        """Start to receive the files of one request, all of them or none."""
        return Reception(self, owner)

    async def commit(
        self,
        arrived: Sequence[Arrived],
        *,
        owner: str,
        options: JobOptions,
        repeatable: Repeatable,
    ) -> Taken:
        """Steps 4 and 5. Raises IdempotencyConflict, QuotaExceeded."""
        contents = [Content(file.filename, file.sha256, file.size_bytes) for _, file, _ in arrived]
        known = await self.known(contents, owner, options, repeatable)
        if known is not None:
            return known
        new_jobs = [self.admission.new_job(one.job_id, one.file, owner, options) for one in arrived]
        stored: list[str] = []
        try:
            for one, job in zip(arrived, new_jobs, strict=True):
                stored.append(job.storage_key)  # also one whose commit is cut off may be there
                await one.incoming.commit(sha256=one.file.sha256)
            earlier = await self._database.write(
                self._create(new_jobs, contents, owner, options, repeatable)
            )
        except BaseException:
            # Cancelled during the commit, the rows may exist all the same: then the files stay.
            ids = [job.id for job in new_jobs]
            if not await self._database.read(stored_files.known_uploads(ids)):
                await self._delete(stored)
            raise
        if earlier is not None:  # the same request was here while this one sent its body
            await self._delete(stored)
            return Taken(earlier, "repeated")
        for job in new_jobs:
            await self._queue.enqueue(job.id, job.type, priority=job.priority)
            await self._announcer.job_changed(job)
            log_received(job)
        return Taken(new_jobs)

    async def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._storage.delete(key)

    async def known(
        self,
        contents: Sequence[Content],
        owner: str,
        options: JobOptions,
        repeatable: Repeatable,
    ) -> Taken | None:
        """The jobs that are there of the same, if this request is to have those.

        Raises IdempotencyConflict.
        """
        key = repeatable.idempotency_key
        earlier = None
        if key is not None:
            content = _digest(contents, options)
            earlier = await self._database.read(earlier_jobs(owner, key, content))
            if earlier is not None:
                return Taken(earlier, "repeated")
        if repeatable.dedupe:
            same = await self._database.read(_duplicates(contents, owner, options))
            if same is not None and key is not None:
                remember = _remember(owner, key, content, same, now=self._clock.now())
                earlier = await self._database.write(remember)
            if same is not None:
                return Taken(same, "known") if earlier is None else Taken(earlier, "repeated")
        return None

    def _create(
        self,
        new_jobs: Sequence[Job],
        contents: Sequence[Content],
        owner: str,
        options: JobOptions,
        repeatable: Repeatable,
    ) -> Transaction[list[Job] | None]:
        """Record the jobs, or return those of an earlier request with the same key.

        Raises IdempotencyConflict, QuotaExceeded.
        """
        key = repeatable.idempotency_key
        if key is not None:
            content = _digest(contents, options)
            earlier = yield from _remember(owner, key, content, new_jobs, now=self._clock.now())
            if earlier is not None:
                return earlier
        yield from self.admission.creating(new_jobs, owner)
        return None

    async def open_incoming(self, key: str) -> Incoming:
        return await self._storage.receive(key)


def earlier_jobs(owner: str, key: str, content: str) -> Transaction[list[Job] | None]:
    """What an earlier request with this key has made. Raises IdempotencyConflict when it was
    another one."""
    remembered = yield from ownership.remembered(owner, key)
    if remembered is None:
        return None
    if remembered.content != content:
        raise IdempotencyConflict(OTHER_CONTENT, jobIds=list(remembered.job_ids))
    found = yield from job_reads.by_ids(remembered.job_ids)
    if len(found) < len(remembered.job_ids):
        raise IdempotencyConflict(DELETED_SINCE)
    by_id = {job.id: job for job in found}
    return [by_id[job_id] for job_id in remembered.job_ids]


def _remember(
    owner: str, key: str, content: str, made: Sequence[Job], *, now: float
) -> Transaction[list[Job] | None]:
    """Note what has come of the key, or return what an earlier request has made. Raises
    IdempotencyConflict."""
    earlier = yield from earlier_jobs(owner, key, content)
    if earlier is None:
        ids = [job.id for job in made]
        yield from ownership.remember(owner, key, content=content, job_ids=ids, now=now)
    return earlier


def _duplicates(
    contents: Sequence[Content], owner: str, options: JobOptions
) -> Transaction[list[Job] | None]:
    """The owner's completed jobs on the same contents; None unless there is one for each."""
    found = []
    for content in contents:
        job_id = yield from ownership.completed_job(owner, content.sha256, preset=options.preset)
        job = None if job_id is None else (yield from job_reads.get(job_id))
        if job is None or job.size_bytes != content.size_bytes:
            return None
        found.append(job)
    return found


def _digest(contents: Sequence[Content], options: JobOptions) -> str:
    """Over all that makes two requests the same."""
    said = [[content.filename, content.sha256] for content in contents]
    return hashlib.sha256(msgspec.json.encode([said, options])).hexdigest()


class Reception:
    """The files of one request on their way in. Leaving the context without `finish`
    discards them all."""

    def __init__(self, receiver: Receiver, owner: str) -> None:
        self._receiver = receiver
        self._admission = receiver.admission
        self._owner = owner
        self._arrived: list[Arrived] = []
        self._size_bytes = 0
        self._files = AsyncExitStack()

    @property
    def count(self) -> int:
        return len(self._arrived)

    async def check_room(self, body_bytes: int) -> None:
        """Refuse a request whose body, of several files perhaps, the disk cannot hold."""
        await self._admission.check_space(body_bytes)

    async def known(
        self, announced: Announced, options: JobOptions, repeatable: Repeatable
    ) -> Taken | None:
        """Before the only file of the request is read: the job that is there of the same, where
        what is announced says enough. Raises IdempotencyConflict."""
        if announced.sha256 is None or announced.size_bytes is None:
            return None
        filename = filenames.clean(announced.filename)
        content = Content(filename, announced.sha256, announced.size_bytes)
        return await self._receiver.known([content], self._owner, options, repeatable)

    async def add(self, announced: Announced, body: AsyncIterator[bytes]) -> None:
        """Steps 1 to 3 for one file. Nothing is durable yet.

        Raises FileTooLarge, FileTypeRefused, FileTypeMismatch, EmptyFile, IncompleteBody,
        DigestMismatch, QuotaExceeded, StorageFull, StorageUnavailable, and whatever `body` raises.
        """
        self._admission.check_announced(announced)
        await self._admission.check_room(self._owner, announced.size_bytes or 0)
        if self._arrived:
            await self._arrived[-1].incoming.seal()  # it has to wait for this one
        filename, job_id = filenames.clean(announced.filename), new_id()
        incoming = await self._files.enter_async_context(
            await self._receiver.open_incoming(original_key(job_id, filename))
        )
        digest = self._receiver.hashing.begin()
        head = bytearray()
        file_type: FileType | None = None
        size = 0
        next_space_check = SPACE_CHECK_BYTES
        async for chunk in body:
            size += len(chunk)
            self._admission.check_size(size, file_type)
            if file_type is None:
                head += chunk[: SNIFF_BYTES - len(head)]
                if len(head) == SNIFF_BYTES:
                    file_type = self._recognise(head, filename, announced)
                    self._admission.check_size(announced.size_bytes or size, file_type)
                else:
                    self._admission.refuse_early(bytes(head))
            if size >= next_space_check:
                await self._admission.check_space(0)
                await self._admission.check_quota(self._owner, self._size_bytes + size)
                next_space_check = size + SPACE_CHECK_BYTES
            await digest.update(chunk)
            await incoming.write(chunk)
        if size == 0:
            raise EmptyFile(f"{filename} has no bytes. Check it at your side, and send it again.")
        if announced.size_bytes is not None and size != announced.size_bytes:
            raise IncompleteBody(
                f"{announced.size_bytes} bytes were announced and {size} came. Send it again."
            )
        sha256 = await digest.hexdigest()
        check_digest(announced, sha256)
        if file_type is None:
            file_type = self._recognise(head, filename, announced)
            self._admission.check_size(size, file_type)
        self._size_bytes += size
        await self._admission.check_quota(self._owner, self._size_bytes, files=self.count + 1)
        received = Received(filename=filename, file_type=file_type, size_bytes=size, sha256=sha256)
        self._arrived.append(Arrived(job_id, received, incoming))

    async def finish(self, options: JobOptions, repeatable: Repeatable) -> Taken:
        """Steps 4 and 5: everything is durable when this returns. Raises IdempotencyConflict."""
        return await self._receiver.commit(
            self._arrived, owner=self._owner, options=options, repeatable=repeatable
        )

    def _recognise(self, head: bytearray, filename: str, announced: Announced) -> FileType:
        return self._admission.recognise(bytes(head), filename, announced.content_type)

    async def __aenter__(self) -> Self:
        await self._files.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._files.__aexit__(exc_type, exc, traceback)


def check_digest(announced: Announced, sha256: str) -> None:
    """Raises DigestMismatch when the content is not what was announced."""
    if announced.sha256 is not None and sha256 != announced.sha256:
        raise DigestMismatch(
            f"The request declares sha-256 {announced.sha256}, the bytes that came have {sha256}. "
            "They changed on the way; send the file again."
        )


def log_received(job: Job) -> None:
    log.info(
        "upload_received",
        job_id=job.id,
        owner=job.owner,
        type=job.type,
        content_type=job.content_type,
        size_bytes=job.size_bytes,
    )
