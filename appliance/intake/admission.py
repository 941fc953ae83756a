"""What may come in: size, type, room and quota, judged as soon as something is known of them.

From what is announced before a byte is read, from the first bytes, and from the whole. One place
for every way in: forms, raw bodies, both resumable protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from appliance.clock import Clock
from appliance.database import links, ownership
from appliance.database.jobs import create
from appliance.database.ownership import UNLIMITED, Quota, Standing
from appliance.database.protocol import Database, Transaction
from appliance.errors import FileTooLarge, FileTypeMismatch, FileTypeRefused, StorageFull
from appliance.intake import filenames, filetypes
from appliance.intake.filetypes import FileType
from appliance.jobs import Job, JobStatus, JobType, Scan
from appliance.links import UploadLink
from appliance.storage.protocol import Storage
from appliance.uploads import Announced, JobOptions

T = TypeVar("T")

LOOKED_AT_BYTES = 1024 * 1024
"""Without a general quota, only a key may have one. It is not looked for before less than this
comes: what goes beyond is refused all the same, when it is there."""


@dataclass(frozen=True)
class IntakeLimits:
    max_upload_bytes: int
    reserve_bytes: int
    allowed_types: tuple[str, ...]
    max_retries: int
    max_type_bytes: Mapping[JobType, int] = field(default_factory=dict)
    """Where that is less than `max_upload_bytes`."""
    max_bytes_set_by: str = "APPLIANCE_MAX_UPLOAD_BYTES"
    quota: Quota = UNLIMITED
    """Of one owner."""
    max_open_uploads: int = 1000
    """Of one owner."""
    upload_expiry_s: float = 24 * 3600.0
    """How long an unfinished upload is kept after its last byte."""

    def max_bytes(self, job_type: JobType | None) -> int:
        """Of a file of that type; of any, where none is known."""
        if job_type is None:
            return self.max_upload_bytes
        return min(self.max_upload_bytes, self.max_type_bytes.get(job_type, self.max_upload_bytes))


@dataclass(frozen=True)
class Received:
    """A file that is here and found good."""

    filename: str
    file_type: FileType
    size_bytes: int
    sha256: str


def original_key(job_id: str, filename: str) -> str:
    """Where the original of a job lies in the store."""
    return f"raw/{job_id}/{filename}"


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

    def check_announced(self, announced: Announced) -> None:
        """Refuse what can be refused by what is said of it. Raises FileTooLarge,
        FileTypeRefused."""
        claimed = _claimed(announced)
        self.check_size(announced.size_bytes or 0, claimed)
        if claimed is not None:
            self._check_allowed(claimed)

    async def check_room(self, owner: str, needed_bytes: int, *, files: int = 1) -> None:
        """On the disk, and of what the owner may have. Raises StorageFull, QuotaExceeded."""
        await self.check_space(needed_bytes)
        await self.check_quota(owner, needed_bytes, files=files)

    async def standing(self, owner: str) -> Standing:
        return await self._database.read(ownership.standing(owner, self.limits.quota))

    async def check_space(self, needed_bytes: int) -> None:
        space = await self._storage.space()
        if space is not None and space.free_bytes - needed_bytes < self.limits.reserve_bytes:
            raise StorageFull(
                "The server has no room for this file. Free some space there, or try later."
            )

    async def check_quota(self, owner: str, needed_bytes: int, *, files: int = 0) -> None:
        """Whether `owner` may have so much more, as far as can be known before it is here: at
        least a byte, since there is no file without. Raises QuotaExceeded.

        Many may ask at once and all be let in; `within_quota` decides.
        """
        if self.limits.quota == UNLIMITED and needed_bytes < LOOKED_AT_BYTES:
            return
        standing = await self.standing(owner)
        now = standing.usage
        then = msgspec.structs.replace(
            now,
            kept_bytes=now.kept_bytes + max(needed_bytes, 1),
            originals=now.originals + files,
        )
        standing.quota.check(now, then)

    async def check_below_quota(self, owner: str) -> None:
        """Whether `owner` may have anything more at all. Raises QuotaExceeded."""
        standing = await self.standing(owner)
        now = standing.usage
        standing.quota.check(now, msgspec.structs.replace(now, kept_bytes=now.kept_bytes + 1))

    def creating(self, jobs: Sequence[Job], owner: str) -> Transaction[None]:
        """Record new uploads and their jobs, if the owner may have them. Raises QuotaExceeded."""
        yield from self.within_quota(owner, create(jobs))

    def within_quota(
        self, owner: str, change: Transaction[T], *, opens: bool = False
    ) -> Transaction[T]:
        """`change`, unless the owner has more by it than may be. `opens`: it begins an upload.

        Raises QuotaExceeded, TooManyOpenUploads.
        """
        quota = self.limits.quota
        if opens:
            quota = msgspec.structs.replace(quota, open_uploads=self.limits.max_open_uploads)
        return ownership.within(quota, owner, change)

    # --- by the size --------------------------------------------------------------------------

    def max_bytes(self, announced: Announced) -> int:
        """Of such a file, by its name and its declaration."""
        return self._max_bytes(_claimed(announced))

    def _max_bytes(self, file_type: FileType | None) -> int:
        return self.limits.max_bytes(None if file_type is None else file_type.job_type)

    def too_large(self, announced: Announced) -> FileTooLarge:
        return self._too_large(_claimed(announced))

    def check_size(self, size_bytes: int, file_type: FileType | None) -> None:
        """Raises FileTooLarge."""
        if size_bytes > self._max_bytes(file_type):
            raise self._too_large(file_type)

    def _too_large(self, file_type: FileType | None) -> FileTooLarge:
        most = self._max_bytes(file_type)
        if file_type is None or most == self.limits.max_upload_bytes:
            detail = f"Files may have up to {most:,} bytes here ({self.limits.max_bytes_set_by})."
        else:
            detail = (
                f"This is a {file_type.label}, and files of the type {file_type.job_type} may have "
                f"up to {most:,} bytes here (APPLIANCE_MAX_TYPE_BYTES)."
            )
        return FileTooLarge(detail, maxUploadBytes=most)

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
            storage_key=original_key(job_id, file.filename),
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


class LinkAdmission(Admission):
    """What may come in by an upload link: less than otherwise, and so many files in all."""

    def __init__(self, whole: Admission, link: UploadLink) -> None:
        limits = whole.limits
        if link.max_bytes is not None:
            most = min(limits.max_upload_bytes, link.max_bytes)
            limits = replace(limits, max_upload_bytes=most, max_bytes_set_by="This link")
        super().__init__(
            storage=whole._storage,
            database=whole._database,
            clock=whole._clock,
            limits=limits,
            scan=whole._scan,
        )
        self._link = link

    def _check_allowed(self, file_type: FileType) -> None:
        super()._check_allowed(file_type)
        if self._link.types and not filetypes.is_allowed(file_type, self._link.types):
            raise FileTypeRefused(
                f"This is a {file_type.label}, and by this link only "
                f"{', '.join(self._link.types)} may come.",
                allowedTypes=list(self._link.types),
                contentType=file_type.content_type,
            )

    def creating(self, jobs: Sequence[Job], owner: str) -> Transaction[None]:
        yield from super().creating(jobs, owner)
        job_ids = [job.id for job in jobs]
        yield from links.use(self._link.id, job_ids, now=self._clock.now())


def _claimed(announced: Announced) -> FileType | None:
    """What a file is by its name and its declaration."""
    extension = filenames.extension(filenames.clean(announced.filename))
    return filetypes.declared_type(announced.content_type, extension)
