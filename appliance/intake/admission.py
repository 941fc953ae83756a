"""What may come in: size, type, room and quota, judged as soon as something is known of them.

From what is announced before a byte is read, from the first bytes, and from the whole. One place
for every way in: forms, raw bodies, both resumable protocols.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.clock import Clock
from appliance.database import ownership
from appliance.database.protocol import Database
from appliance.errors import (
    FileTooLarge,
    FileTypeMismatch,
    FileTypeRefused,
    QuotaExceeded,
    StorageFull,
    TooManyOpenUploads,
)
from appliance.intake import filenames, filetypes
from appliance.intake.filetypes import FileType
from appliance.jobs import Job, JobStatus, Scan
from appliance.storage.protocol import Storage
from appliance.uploads import Announced, JobOptions


@dataclass(frozen=True)
class IntakeLimits:
    max_upload_bytes: int
    reserve_bytes: int
    allowed_types: tuple[str, ...]
    max_retries: int
    quota_bytes: int | None = None
    """Of one owner: originals, results, and what open uploads may come to."""
    max_open_uploads: int = 1000
    """Of one owner."""
    upload_expiry_s: float = 24 * 3600.0
    """How long an unfinished upload is kept after its last byte."""


@dataclass(frozen=True)
class Received:
    """A file that is here and found good."""

    filename: str
    file_type: FileType
    size_bytes: int
    sha256: str


class Admission:
    def __init__(
        self,
        *,
        storage: Storage,
        database: Database,
        clock: Clock,
        limits: IntakeLimits,
        scan: Scan,
    ) -> None:
        self._storage = storage
        self._database = database
        self._clock = clock
        self._scan = scan
        self.limits = limits

    # --- before a byte is read ----------------------------------------------------------------

    async def check_announced(self, owner: str, announced: Announced) -> None:
        """Refuse what can be refused by what is said of it.

        Raises FileTooLarge, FileTypeRefused, StorageFull, QuotaExceeded.
        """
        size_bytes = announced.size_bytes or 0
        if size_bytes > self.limits.max_upload_bytes:
            raise self.too_large()
        extension = filenames.extension(filenames.clean(announced.filename))
        claimed = filetypes.declared_type(announced.content_type, extension)
        if claimed is not None:
            self._check_allowed(claimed)
        await self.check_space(size_bytes)
        await self.check_quota(owner, size_bytes)

    async def check_space(self, needed_bytes: int) -> None:
        space = await self._storage.space()
        if space is not None and space.free_bytes - needed_bytes < self.limits.reserve_bytes:
            raise StorageFull(
                "The server has no room for this file. Free some space there, or try later."
            )

    async def check_quota(self, owner: str, needed_bytes: int, *, open_uploads: int = 0) -> None:
        """Whether `owner` may have `needed_bytes` and `open_uploads` more."""
        limits = self.limits
        if limits.quota_bytes is None and not open_uploads:
            return
        usage = await self._database.read(ownership.usage(owner))
        if open_uploads and usage.open_uploads + open_uploads > limits.max_open_uploads:
            raise TooManyOpenUploads(
                f"You have {usage.open_uploads} unfinished uploads. Finish or delete some first."
            )
        quota = limits.quota_bytes
        if quota is not None and usage.total_bytes + needed_bytes > quota:
            raise QuotaExceeded(
                f"This would take more than your {quota:,} bytes; {usage.total_bytes:,} are taken. "
                "Delete what you need no more.",
                quotaBytes=quota,
                usedBytes=usage.total_bytes,
            )

    def too_large(self) -> FileTooLarge:
        return FileTooLarge(
            f"Files may have up to {self.limits.max_upload_bytes:,} bytes here "
            "(APPLIANCE_MAX_UPLOAD_BYTES).",
            maxUploadBytes=self.limits.max_upload_bytes,
        )

    # --- by the content -----------------------------------------------------------------------

    def recognise(self, head: bytes, filename: str, declared: str | None) -> FileType:
        """The type of the content, if it is taken and nothing contradicts it."""
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
        """With fewer bytes than it takes to be sure of a type: what is known to be harmful by its
        beginning stays so, whatever follows."""
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

    # --- what it becomes ----------------------------------------------------------------------

    def new_job(self, job_id: str, file: Received, owner: str, options: JobOptions) -> Job:
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
            created_at=self._clock.now(),
            started_at=None,
            finished_at=None,
            next_attempt_at=None,
            worker=None,
            version=1,
            scan=self._scan,
            error=None,
            metadata=options.metadata,
            result={},
            callback_url=options.callback_url,
        )
