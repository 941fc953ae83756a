"""One file to the server, whatever happens in between.

    noted? ─► look where it is ┐
        └───► create, note ────┴─► send from there ─► hold the digests against each other ─► job
                                        └──◄── ask where it is, after whatever broke ──◄──┘

The offset is always the server's, which tells only what is durable there. So after a kill of
either side, at any byte, nothing is sent that is there already and nothing is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from appliance.client import jobs, tus
from appliance.client.connection import Connection
from appliance.client.failures import (
    Altered,
    ClientFailure,
    MayPass,
    Refused,
    SourceChanged,
    SourceUnfit,
)
from appliance.client.journal import Entry, Journal
from appliance.client.patience import Patience
from appliance.client.sources import PIECE_BYTES, Source, SourceFile, SourceStream
from appliance.client.tus import Place
from appliance.client.watching import Watcher

HASHED_FIRST_BYTES = 64 * 1024 * 1024
"""Up to this, a file is hashed before it is sent, and the server refuses what has become another
one on the way. Larger ones are hashed while they are sent, and the job's digest is looked at."""

BLOCK_BYTES = 8 * 1024 * 1024
"""Of a stream. As much is kept until the server has it, because it cannot be read again."""

T = TypeVar("T")


@dataclass(frozen=True)
class Sent:
    job: dict[str, Any]
    """Its document, as it was when all of the file was there."""
    size_bytes: int
    resumed_bytes: int
    """So much was there before."""
    was_there: bool = False
    """Acknowledged to an earlier life of this command."""


class Uploads:
    def __init__(
        self,
        connection: Connection,
        journal: Journal,
        *,
        asked: Mapping[str, str],
        new_patience: Callable[[], Patience],
    ) -> None:
        """`asked` are the options of the jobs, as fields of Upload-Metadata."""
        self._connection = connection
        self._journal = journal
        self._asked = asked
        self._new_patience = new_patience

    async def send(self, source: Source, watcher: Watcher) -> Sent:
        """Raises ClientFailure."""
        transfer = _Transfer(self._connection, self._new_patience(), watcher)
        metadata = {"filename": source.name, **self._asked}
        if source.relative_path:
            metadata["relativePath"] = source.relative_path
        if len(tus.encode_metadata(metadata)) > tus.MAX_METADATA_BYTES:
            raise SourceUnfit("Its name and its metadata are too long: 5,000 bytes together.")
        if source.is_stream:
            return await _send_stream(transfer, source, metadata)
        assert source.path is not None
        file = await asyncio.to_thread(SourceFile, source.path)
        try:
            if file.size_bytes == 0:
                raise SourceUnfit("It is empty, and an upload has at least one byte.")
            with self._journal.entry(
                source.path.resolve(),
                size_bytes=file.size_bytes,
                mtime_ns=file.mtime_ns,
                asked=metadata,
            ) as entry:
                return await _send_file(transfer, file, entry, metadata)
        finally:
            await asyncio.to_thread(file.close)


# --- a file ----------------------------------------------------------------------------------


async def _send_file(
    transfer: _Transfer, file: SourceFile, entry: Entry, metadata: Mapping[str, str]
) -> Sent:
    place = await _where_it_was_left(transfer, file, entry)
    if place is None:
        sha256 = await file.sha256() if file.size_bytes <= HASHED_FIRST_BYTES else None
        upload_id = await transfer.create(metadata, length_bytes=file.size_bytes, sha256=sha256)
        entry.write(msgspec.structs.replace(entry.note, upload_id=upload_id, is_acknowledged=False))
        place = Place(0)
    resumed_bytes, was_there = place.offset_bytes, entry.note.is_acknowledged
    upload_id = str(entry.note.upload_id)
    transfer.watcher.moved(resumed_bytes)

    async def pieces(offset_bytes: int) -> AsyncIterator[bytes]:
        while offset_bytes < file.size_bytes:
            piece = await asyncio.to_thread(file.read, offset_bytes)
            yield piece
            offset_bytes += len(piece)
            transfer.watcher.moved(offset_bytes)

    await file.hash_until(resumed_bytes if not was_there else 0)
    try:
        place = await transfer.send_until(upload_id, place, file.size_bytes, pieces, is_last=True)
    except SourceChanged:  # what is there is half of what was here
        entry.forget()
        with contextlib.suppress(ClientFailure):
            await tus.terminate(transfer.connection, upload_id)
        raise
    except Refused:
        try:
            await tus.look(transfer.connection, upload_id)
        except tus.UploadForgotten:
            entry.forget()
        except ClientFailure:
            pass  # it may be there still
        raise
    assert place.job_id is not None
    job = await jobs.read(transfer.connection, place.job_id, patience=transfer.patience)
    if not was_there:
        try:
            _compare(jobs.of(job), (await file.sha256()).hex())
        except ClientFailure:
            entry.forget()
            raise
        entry.write(msgspec.structs.replace(entry.note, is_acknowledged=True))
    return Sent(job, file.size_bytes, resumed_bytes, was_there)


async def _where_it_was_left(transfer: _Transfer, file: SourceFile, entry: Entry) -> Place | None:
    """By an earlier life of this command; None: there is nothing to go on with."""
    if entry.note.upload_id is None:
        return None
    try:
        place = await transfer.look(entry.note.upload_id)
    except tus.UploadForgotten:
        return None
    if place.job_id is None:
        # All of it and no job: that was deleted since.
        return place if place.offset_bytes < file.size_bytes else None
    if entry.note.is_acknowledged:
        job = await jobs.read(transfer.connection, place.job_id, patience=transfer.patience)
        if jobs.of(job).has_failed:
            return None  # what is sent again is to be tried again
    return place


def _compare(job: jobs.Read, sha256: str) -> None:
    if job.sha256 != sha256:
        raise Altered(
            f"The server has other bytes (SHA-256 {job.sha256}) than the file ({sha256}): job "
            f"{job.job_id} is not it. Send the file again."
        )


# --- a stream --------------------------------------------------------------------------------


async def _send_stream(transfer: _Transfer, source: Source, metadata: Mapping[str, str]) -> Sent:
    """Block by block, each kept until it is durable. It outlives the server's end, not ours."""
    digest = hashlib.sha256()
    async with SourceStream(source.path) as stream:
        block = await stream.read(BLOCK_BYTES)
        if not block:
            raise SourceUnfit("Nothing came from it, and an upload has at least one byte.")
        upload_id = await transfer.create(metadata, length_bytes=None)
        place, start_bytes = Place(0), 0
        while True:
            digest.update(block)
            following = b""
            if len(block) == BLOCK_BYTES:
                following = await stream.read(BLOCK_BYTES)
            place = await transfer.send_until(
                upload_id,
                place,
                start_bytes + len(block),
                _pieces_of(block, start_bytes, transfer.watcher),
                is_last=not following,
                tells_length=not following,
            )
            start_bytes += len(block)
            if not following:
                break
            block = following
    assert place.job_id is not None
    job = await jobs.read(transfer.connection, place.job_id, patience=transfer.patience)
    _compare(jobs.of(job), digest.hexdigest())
    return Sent(job, start_bytes, 0)


def _pieces_of(
    block: bytes, start_bytes: int, watcher: Watcher
) -> Callable[[int], AsyncIterator[bytes]]:
    view = memoryview(block)

    async def pieces(offset_bytes: int) -> AsyncIterator[bytes]:
        for at in range(offset_bytes - start_bytes, len(view), PIECE_BYTES):
            piece = bytes(view[at : at + PIECE_BYTES])
            yield piece
            watcher.moved(start_bytes + at + len(piece))

    return pieces


# --- what both have in common ----------------------------------------------------------------


class _Transfer:
    """Requests for one upload, asked again until the patience is over."""

    def __init__(self, connection: Connection, patience: Patience, watcher: Watcher) -> None:
        self.connection = connection
        self.patience = patience
        self.watcher = watcher

    async def create(
        self, metadata: Mapping[str, str], *, length_bytes: int | None, sha256: bytes | None = None
    ) -> str:
        return await self._again(
            lambda: tus.create(self.connection, metadata, length_bytes=length_bytes, sha256=sha256)
        )

    async def look(self, upload_id: str) -> Place:
        return await self._again(lambda: tus.look(self.connection, upload_id))

    async def _again(self, asked: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await asked()
            except MayPass as failure:
                await self._pause(failure)

    async def _pause(self, failure: MayPass) -> None:
        self.watcher.waits(failure.brief)
        await self.patience.wait(failure)

    async def send_until(
        self,
        upload_id: str,
        place: Place,
        end_bytes: int,
        pieces: Callable[[int], AsyncIterator[bytes]],
        *,
        is_last: bool,
        tells_length: bool = False,
    ) -> Place:
        """Send what is missing up to `end_bytes`; with `is_last`, until it has become a job.

        Raises what the server refuses, and what reading `pieces` raises.
        """
        start_bytes = place.offset_bytes
        while place.job_id is None and (is_last or place.offset_bytes < end_bytes):
            before = place
            if not start_bytes <= before.offset_bytes <= end_bytes:
                raise Refused(
                    f"The server is at byte {before.offset_bytes}, where it cannot be.", status=200
                )
            body = _Body(pieces(before.offset_bytes))
            try:
                place = await tus.append(
                    self.connection,
                    upload_id,
                    before.offset_bytes,
                    body if before.offset_bytes < end_bytes else None,
                    body_bytes=end_bytes - before.offset_bytes,
                    length_bytes=end_bytes if tells_length else None,
                )
                if place.job_id is None and place.offset_bytes <= before.offset_bytes:
                    raise Refused("The server took nothing, and does not say why.", status=204)
            except MayPass as failure:
                if body.failure is not None:
                    raise body.failure from failure
                await self._pause(failure)
                place = await self.look(upload_id)
                if place.offset_bytes > before.offset_bytes:
                    self.patience.renew()
                self.watcher.moved(place.offset_bytes)
        return place


class _Body:
    """Pieces for a request. What reading them raises is kept: the request only breaks off."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.failure: ClientFailure | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except ClientFailure as failure:
            self.failure = failure
            raise
