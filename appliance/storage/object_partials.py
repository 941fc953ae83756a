"""Partials in an object store, where nothing can be appended to.

    partial/<uploadId>/manifest      of what it consists, in order; this is the partial
    partial/<uploadId>/<random>      its pieces, all of the same size but the last

A piece counts once the manifest names it, and the manifest is replaced as a whole: so a crash
leaves the old state or the new one, and no listing is relied on. A
last piece that is not full becomes part of a new one when more comes. In the end the pieces are
put together within the store, where it can do that.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

import msgspec

from appliance.errors import ObjectDamaged, ObjectMissing, StorageUnavailable
from appliance.ids import is_id, new_id, time_of
from appliance.storage.buckets.protocol import Bucket
from appliance.storage.in_flight import InFlight
from appliance.storage.object_assembly import Piece, assemble
from appliance.storage.object_incoming import Sending
from appliance.storage.object_reading import read_object
from appliance.storage.partials import Appending
from appliance.storage.spool import Given

FOLDER = "partial"
MANIFEST = "manifest"
YOUNG_S = 3600.0
"""One that nobody knows may be another server's, which is about to record it."""
IN_FLIGHT = 3


class ObjectPartials:
    def __init__(self, bucket: Bucket, sending: Sending) -> None:
        self._bucket = bucket
        self._sending = sending

    async def recover(self, recorded: Mapping[str, int]) -> int:
        """What is recorded is there: it was durable when it was."""
        freed = 0
        for name in await self.names():
            is_young = is_id(name) and time_of(name) > time.time() - YOUNG_S
            if name not in recorded and not is_young:
                freed += await self.delete(name)
        return freed

    async def create(self, name: str) -> None:
        await self.save(name, [])

    async def append_at(self, name: str, offset_bytes: int) -> Appending:
        pieces = await self._pieces(name)
        size_bytes = sum(piece.length for piece in pieces)
        if size_bytes < offset_bytes:
            raise ObjectMissing(f"{name} has {size_bytes} of {offset_bytes} bytes.")
        kept = _cut(pieces, offset_bytes)
        tail = kept.pop() if kept and kept[-1].length < self._sending.part_bytes else None
        unused = [piece.key for piece in pieces if piece not in kept]
        appending = ObjectAppending(self, self._sending, name, kept, unused)
        if tail is not None:
            try:
                await appending.take_over(tail)
            except BaseException:
                await appending.close()
                raise
        return appending

    async def exists(self, name: str) -> bool:
        try:
            await self._bucket.head(_key(name, MANIFEST))
        except ObjectMissing:
            return False
        return True

    async def size(self, name: str) -> int:
        return sum(piece.length for piece in await self._pieces(name))

    async def read(
        self, name: str, *, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        pieces = await self._pieces(name)
        end = sum(piece.length for piece in pieces)
        end = end if length is None else min(end, start + length)
        begins = 0
        for piece in pieces:
            first, last = max(0, start - begins), min(piece.length, end - begins)
            begins += piece.length
            if first >= last:
                continue
            part = read_object(self._bucket, piece.key, start=first, length=last - first)
            async with aclosing(part):
                async for data in part:
                    yield data

    async def join(self, names: Sequence[str], into: str) -> int:
        """Nothing is copied yet: the manifest names the pieces of the others."""
        pieces = [piece for name in names for piece in await self._pieces(name)]
        await self.save(into, pieces)
        return sum(piece.length for piece in pieces)

    async def commit(self, name: str, key: str) -> None:
        try:
            pieces = await self._pieces(name)
        except ObjectMissing:
            await self._bucket.head(key)  # an earlier life came this far
        else:
            await assemble(self._sending, pieces, key)
        await self.delete(name)

    async def delete(self, name: str) -> int:
        folder, manifest = _key(name, ""), _key(name, MANIFEST)
        sizes: dict[str, int] = {}
        with contextlib.suppress(ObjectMissing):  # damaged, or gone already
            for piece in await self._pieces(name):
                if piece.key.startswith(folder):  # others are those of what was joined
                    sizes[piece.key] = piece.length
        # The manifest first: without it, what a kill leaves of the pieces counts for nothing.
        await self._bucket.delete([manifest])
        async for entry in self._bucket.entries(folder):
            sizes[entry.key] = entry.size_bytes
        sizes.pop(manifest, None)
        await self._bucket.delete(list(sizes))
        return sum(sizes.values())

    async def names(self) -> Sequence[str]:
        return [name async for name in self._bucket.names(f"{FOLDER}/")]

    async def _pieces(self, name: str) -> list[Piece]:
        key = _key(name, MANIFEST)
        text = b"".join([part async for part in read_object(self._bucket, key)])
        try:
            return msgspec.json.decode(text, type=list[Piece])
        except msgspec.MsgspecError as error:
            raise ObjectDamaged(f"{key} in the store is damaged. Begin a new upload.") from error

    async def save(self, name: str, pieces: Sequence[Piece]) -> None:
        """What it consists of from now on."""
        await self._bucket.put(_key(name, MANIFEST), Given(msgspec.json.encode(pieces)))


class ObjectAppending:
    def __init__(
        self,
        partials: ObjectPartials,
        sending: Sending,
        name: str,
        kept: list[Piece],
        unused: list[str],
    ) -> None:
        """`kept` are full pieces; `unused` those that the next manifest does not name."""
        self._partials = partials
        self._sending = sending
        self._bucket = sending.bucket
        self._name = name
        self._pieces = kept
        self._unused = unused
        self._unsaved: list[str] = []
        """Put, or being put, and in no manifest."""
        self._spool = sending.new_spool()
        self._in_flight = InFlight(sending.turns, IN_FLIGHT)

    async def take_over(self, tail: Piece) -> None:
        """Begin with what is in a piece that is not full."""
        async with aclosing(read_object(self._bucket, tail.key, length=tail.length)) as found:
            async for data in found:
                await self.write(data)

    async def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            room = self._sending.part_bytes - self._spool.size_bytes
            await self._spool.write(left[:room])
            left = left[room:]
            if self._spool.size_bytes == self._sending.part_bytes:
                # Whoever is cancelled here still has all that came in the spool, for a sync.
                await self._in_flight.place()
                piece = self._next_piece()
                full, self._spool = self._spool, self._sending.new_spool()
                self._pieces.append(piece)
                self._in_flight.start(self._bucket.put(piece.key, full), full)

    async def sync(self) -> None:
        pieces = list(self._pieces)
        if self._spool.size_bytes:
            tail = self._next_piece()
            pieces.append(tail)
            await self._bucket.put(tail.key, self._spool)
        await self._in_flight.finish()
        self._unsaved.clear()  # from here on they may be named, also when no answer comes
        await self._partials.save(self._name, pieces)
        gone, self._unused = self._unused, []
        if self._spool.size_bytes:
            self._unused.append(pieces[-1].key)
        await self._forget(gone)

    def _next_piece(self) -> Piece:
        """That holds what is in the spool."""
        piece = Piece(_key(self._name, new_id()), self._spool.size_bytes)
        self._unsaved.append(piece.key)
        return piece

    async def _forget(self, keys: Sequence[str]) -> None:
        """What is left over goes with the partial at last."""
        with contextlib.suppress(StorageUnavailable):
            await self._bucket.delete(keys)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        self._spool.discard()
        await self._in_flight.cancel()
        await self._forget(self._unsaved)


def _cut(pieces: Sequence[Piece], size_bytes: int) -> list[Piece]:
    """Those that make up the first bytes; of the last one, a part perhaps."""
    kept = []
    for piece in pieces:
        length = min(piece.length, size_bytes)
        if length:
            kept.append(Piece(piece.key, length))
        size_bytes -= length
    return kept


def _checked(name: str) -> str:
    if not name.isalnum():
        raise ValueError(f"not the name of a partial: {name!r}")
    return name


def _key(name: str, leaf: str) -> str:
    return f"{FOLDER}/{_checked(name)}/{leaf}"
