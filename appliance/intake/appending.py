"""The bytes of one request on their way to the end of an upload, with a checkpoint now and then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from appliance.intake import filenames
from appliance.intake.admission import Admission
from appliance.intake.digests import Digest, Digests
from appliance.intake.filetypes import SNIFF_BYTES, FileType
from appliance.storage.partials import Appending
from appliance.uploads import Resumable

CHECKPOINT_BYTES = 64 * 1024**2
"""How much may come in before what is there is synced and recorded, within one request."""

SPACE_CHECK_BYTES = 64 * 1024**2

Record = Callable[[Resumable, int, bool], Awaitable[Resumable]]
"""Note the durable offset, and whether the client has closed the upload."""

OnCheckpoint = Callable[[int], None]


class Growth:
    """Of one upload by one request."""

    def __init__(
        self,
        upload: Resumable,
        appending: Appending,
        *,
        admission: Admission,
        digests: Digests,
        record: Record,
        on_checkpoint: OnCheckpoint,
        all_or_nothing: bool,
    ) -> None:
        """`all_or_nothing`: what came of a body that breaks off does not count."""
        self._upload = upload
        self._appending = appending
        self._admission = admission
        self._digests = digests
        self._digest: Digest | None = digests.take(upload.id, upload.offset_bytes)
        self._record = record
        self._on_checkpoint = on_checkpoint
        self._all_or_nothing = all_or_nothing
        self._head = bytearray()
        self._file_type: FileType | None = None
        """By its content, where its first bytes came in this request."""
        self._checkpoint_bytes = upload.offset_bytes + CHECKPOINT_BYTES
        self._space_check_bytes = upload.offset_bytes + SPACE_CHECK_BYTES
        self._recorded_bytes = upload.offset_bytes
        self.offset_bytes = upload.offset_bytes

    async def write(self, chunk: bytes) -> None:
        """Raises FileTooLarge, FileTypeRefused, FileTypeMismatch, QuotaExceeded, StorageFull,
        StorageUnavailable."""
        if self.offset_bytes < SNIFF_BYTES and self._upload.kind == "plain":
            self._sniff(chunk)
        self._admission.check_size(self.offset_bytes + len(chunk), self._file_type)
        await self._appending.write(chunk)
        if self._digest is not None:
            self._digest.update(chunk)
        self.offset_bytes += len(chunk)
        if self.offset_bytes >= self._space_check_bytes:
            await self._admission.check_space(0)
            await self._check_quota()
            self._space_check_bytes = self.offset_bytes + SPACE_CHECK_BYTES
        if self.offset_bytes >= self._checkpoint_bytes and not self._all_or_nothing:
            await self._appending.sync()
            await self._record(self._upload, self.offset_bytes, False)
            self._recorded_bytes = self.offset_bytes
            self._on_checkpoint(self.offset_bytes)
            self._checkpoint_bytes = self.offset_bytes + CHECKPOINT_BYTES

    async def _check_quota(self) -> None:
        """Of an upload whose length is not known, and so not counted yet. Raises QuotaExceeded."""
        more_bytes = self.offset_bytes - self._recorded_bytes
        if self._upload.length_bytes is None and more_bytes:
            await self._admission.check_quota(self._upload.owner, more_bytes)

    def _sniff(self, chunk: bytes) -> None:
        """Refuse by the first bytes, where they all come in this request."""
        if len(self._head) != self.offset_bytes:
            return  # the first ones came earlier: the whole is judged at the end
        self._head += chunk[: SNIFF_BYTES - len(self._head)]
        announced = self._upload.announced
        if len(self._head) == SNIFF_BYTES:
            filename = filenames.clean(announced.filename)
            self._file_type = self._admission.recognise(
                bytes(self._head), filename, announced.content_type
            )
            self._admission.check_size(self._upload.length_bytes or 0, self._file_type)
        else:
            self._admission.refuse_early(bytes(self._head))

    async def save(self, *, closed: bool) -> Resumable:
        """Make durable what came and record it; the upload as it is then."""
        await self._appending.sync()
        self._digests.keep(self._upload.id, self._digest)
        return await self._record(self._upload, self.offset_bytes, closed)

    async def break_off(self) -> None:
        """Keep what may be kept of a body that did not come to its end."""
        if not self._all_or_nothing:
            await self.save(closed=False)
