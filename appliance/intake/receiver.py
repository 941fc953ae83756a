"""Receiving: a stranger's bytes become a durable original and a job, or nothing at all.

    1  what the request announces is judged before a byte is read (size, type, room)
    2  the bytes stream through: counted, hashed, recognised by their beginning, written
    3  what came is judged again (length, digest, agreement of name, declaration and content)
    4  the file is made durable under its key, then upload and job in one transaction
    5  only then is there an answer

Whatever fails before 5 leaves no file and no row behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import structlog

from appliance.clock import Clock
from appliance.database import jobs, stored_files
from appliance.database.protocol import Database
from appliance.errors import (
    DigestMismatch,
    EmptyFile,
    FileTooLarge,
    FileTypeMismatch,
    FileTypeRefused,
    IncompleteBody,
    StorageFull,
)
from appliance.ids import new_id
from appliance.intake import filenames, filetypes
from appliance.intake.filetypes import SNIFF_BYTES, FileType
from appliance.jobs import DEFAULT_PRIORITY, Job, JobStatus, Scan
from appliance.notify.announcer import Announcer
from appliance.queue.protocol import Queue
from appliance.storage.protocol import Incoming, Storage

log = structlog.get_logger()

SPACE_CHECK_BYTES = 64 * 1024 * 1024
"""How much may be written between two looks at the free space."""


@dataclass(frozen=True)
class IntakeLimits:
    max_upload_bytes: int
    reserve_bytes: int
    allowed_types: tuple[str, ...]
    max_retries: int


@dataclass(frozen=True)
class Announced:
    """What a request says of a file before the file comes. Believed in nothing."""

    filename: str | None = None
    content_type: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class JobOptions:
    """What the owner asks for."""

    preset: str = "default"
    priority: int = DEFAULT_PRIORITY
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Received:
    """A file that is here and found good, but not yet durable."""

    filename: str
    file_type: FileType
    size_bytes: int
    sha256: str
    incoming: Incoming


class Receiver:
    def __init__(
        self,
        *,
        storage: Storage,
        database: Database,
        queue: Queue,
        announcer: Announcer,
        clock: Clock,
        limits: IntakeLimits,
        scan: Scan,
    ) -> None:
        self._storage = storage
        self._database = database
        self._queue = queue
        self._announcer = announcer
        self._clock = clock
        self._scan = scan
        self.limits = limits

    def begin(self, owner: str) -> Reception:
        """Start to receive the files of one request, all of them or none."""
        return Reception(self, owner)

    async def check_announced(self, announced: Announced) -> None:
        """Step 1: refuse what can be refused before a byte is read."""
        size = announced.size_bytes
        if size is not None and size > self.limits.max_upload_bytes:
            raise self.too_large()
        extension = filenames.extension(filenames.clean(announced.filename))
        claimed = filetypes.declared_type(announced.content_type, extension)
        if claimed is not None:
            self._check_allowed(claimed)
        await self.check_space(size or 0)

    async def check_space(self, needed_bytes: int) -> None:
        space = await self._storage.space()
        if space is not None and space.free_bytes - needed_bytes < self.limits.reserve_bytes:
            raise StorageFull(
                "The server has no room for this file. Free some space there, or try later."
            )

    def too_large(self) -> FileTooLarge:
        return FileTooLarge(
            f"Files may have up to {self.limits.max_upload_bytes:,} bytes here "
            "(APPLIANCE_MAX_UPLOAD_BYTES).",
            maxUploadBytes=self.limits.max_upload_bytes,
        )

    def recognise(self, head: bytes, filename: str, declared: str | None) -> FileType:
        """Steps 2 and 3: the type of the content, if it is taken and nothing contradicts it."""
        file_type = filetypes.recognise(head)
        self._check_allowed(file_type)
        extension = filenames.extension(filename)
        if not filetypes.extension_agrees(file_type, extension):
            raise FileTypeMismatch(
                f"The name ends in {extension} but the content is {file_type.label}. "
                "Give the file its right extension, or convert it."
            )
        if not filetypes.declaration_agrees(file_type, declared):
            raise FileTypeMismatch(
                f"The request declares {declared} but the content is {file_type.label} "
                f"({file_type.content_type}). Declare the right type, or none."
            )
        return file_type

    def refuse_early(self, head: bytes) -> None:
        """Step 2, with fewer bytes than it takes to be sure of a type: what is known to be
        harmful by its beginning stays so, whatever follows."""
        file_type = filetypes.recognise(head)
        if file_type.dangerous and file_type is not filetypes.UNKNOWN:
            self._check_allowed(file_type)

    def _check_allowed(self, file_type: FileType) -> None:
        if not filetypes.is_allowed(file_type, self.limits.allowed_types):
            raise FileTypeRefused(
                f"This is a {file_type.label}, which this server does not take "
                "(APPLIANCE_ALLOWED_TYPES).",
                allowedTypes=list(self.limits.allowed_types),
                contentType=file_type.content_type,
            )

    async def commit(
        self, received: Sequence[_Received], *, owner: str, options: JobOptions
    ) -> list[Job]:
        """Steps 4 and 5."""
        now = self._clock.now()
        new_jobs = [self._new_job(file, owner, options, now) for file in received]
        stored: list[str] = []
        try:
            for file, job in zip(received, new_jobs, strict=True):
                await file.incoming.commit(job.storage_key)
                stored.append(job.storage_key)
            await self._database.write(jobs.create(new_jobs))
        except BaseException:
            # Cancelled during the commit, the rows may exist all the same: then the files stay.
            if not await self._database.read(
                stored_files.known_uploads([job.id for job in new_jobs])
            ):
                for key in stored:
                    await self._storage.delete(key)
            raise
        for job in new_jobs:
            await self._queue.enqueue(job.id, job.type, priority=job.priority)
            await self._announcer.job_changed(job)
        return new_jobs

    def _new_job(self, file: _Received, owner: str, options: JobOptions, now: float) -> Job:
        job_id = new_id()
        return Job(
            id=job_id,
            owner=owner,
            status=JobStatus.PENDING,
            type=file.file_type.job_type,
            filename=file.filename,
            content_type=file.file_type.content_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            storage_key=f"raw/{job_id}/{file.filename}",
            preset=options.preset,
            priority=options.priority,
            attempt=0,
            retry_count=0,
            max_retries=self.limits.max_retries,
            progress=0.0,
            step=None,
            created_at=now,
            started_at=None,
            finished_at=None,
            next_attempt_at=None,
            worker=None,
            version=1,
            scan=self._scan,
            error=None,
            metadata=options.metadata,
            result={},
        )

    async def open_incoming(self) -> Incoming:
        return await self._storage.receive()


class Reception:
    """The files of one request on their way in. Leaving the context without `finish`
    discards them all."""

    def __init__(self, receiver: Receiver, owner: str) -> None:
        self._receiver = receiver
        self._owner = owner
        self._received: list[_Received] = []
        self._files = AsyncExitStack()

    @property
    def count(self) -> int:
        return len(self._received)

    async def check_room(self, body_bytes: int) -> None:
        """Refuse a request whose body, of several files perhaps, the disk cannot hold."""
        await self._receiver.check_space(body_bytes)

    async def add(self, announced: Announced, body: AsyncIterator[bytes]) -> None:
        """Steps 1 to 3 for one file. Nothing is durable yet.

        Raises FileTooLarge, FileTypeRefused, FileTypeMismatch, EmptyFile, IncompleteBody,
        DigestMismatch, StorageFull, StorageUnavailable, and whatever `body` raises.
        """
        await self._receiver.check_announced(announced)
        filename = filenames.clean(announced.filename)
        incoming = await self._files.enter_async_context(await self._receiver.open_incoming())
        digest = hashlib.sha256()
        head = bytearray()
        file_type: FileType | None = None
        size = 0
        next_space_check = SPACE_CHECK_BYTES
        async for chunk in body:
            size += len(chunk)
            if size > self._receiver.limits.max_upload_bytes:
                raise self._receiver.too_large()
            if file_type is None:
                head += chunk[: SNIFF_BYTES - len(head)]
                if len(head) == SNIFF_BYTES:
                    file_type = self._recognise(head, filename, announced)
                else:
                    self._receiver.refuse_early(bytes(head))
            if size >= next_space_check:
                await self._receiver.check_space(0)
                next_space_check = size + SPACE_CHECK_BYTES
            digest.update(chunk)
            await incoming.write(chunk)
        if size == 0:
            raise EmptyFile(f"{filename} has no bytes. Check it at your side, and send it again.")
        if announced.size_bytes is not None and size != announced.size_bytes:
            raise IncompleteBody(
                f"{announced.size_bytes} bytes were announced and {size} came. Send it again."
            )
        sha256 = digest.hexdigest()
        if announced.sha256 is not None and sha256 != announced.sha256:
            raise DigestMismatch(
                f"The request declares sha-256 {announced.sha256}, the bytes that came have "
                f"{sha256}. They changed on the way; send the file again."
            )
        if file_type is None:
            file_type = self._recognise(head, filename, announced)
        await incoming.seal()
        self._received.append(
            _Received(
                filename=filename,
                file_type=file_type,
                size_bytes=size,
                sha256=sha256,
                incoming=incoming,
            )
        )

    async def finish(self, options: JobOptions) -> list[Job]:
        """Steps 4 and 5: everything is durable when this returns."""
        new_jobs = await self._receiver.commit(self._received, owner=self._owner, options=options)
        for job in new_jobs:
            log.info(
                "upload_received",
                job_id=job.id,
                owner=job.owner,
                type=job.type,
                content_type=job.content_type,
                size_bytes=job.size_bytes,
            )
        return new_jobs

    def _recognise(self, head: bytearray, filename: str, announced: Announced) -> FileType:
        return self._receiver.recognise(bytes(head), filename, announced.content_type)

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
