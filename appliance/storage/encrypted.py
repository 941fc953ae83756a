"""Encryption at rest, in front of any store: what lies there are objects of `sealed`.

Names, and how large files are, are not hidden. A child that works on a file is given a copy in
its scratch folder, as a plain file. What it costs: `make bench ONLY=encryption`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.errors import ObjectDamaged
from appliance.ids import new_id
from appliance.storage.encrypted_partials import EncryptedPartials
from appliance.storage.keyring import Keyring
from appliance.storage.own_rules import OwnRules
from appliance.storage.protocol import Incoming, Space, Storage
from appliance.storage.sealed import (
    END_BYTES,
    FRAME_BYTES,
    HEADER_BYTES,
    MAGIC,
    OVERHEAD_BYTES,
    Layout,
    Seal,
    Sealing,
)
from appliance.threads import in_thread

HEAD_BYTES = HEADER_BYTES + 128 * 1024
"""Read first of an object: all of most of them."""

INLINE_BYTES = 128 * 1024
"""Sealed and opened without a thread: a visit to one would take longer."""


class EncryptedStorage:
    def __init__(self, store: Storage, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self.partials: EncryptedPartials | None = None
        if store.partials is not None:
            self.partials = EncryptedPartials(store.partials, keyring)

    @property
    def has_cold_place(self) -> bool:
        return self._store.has_cold_place

    @property
    def least_cold_bytes(self) -> int:
        return self._store.least_cold_bytes

    @property
    def own_rules(self) -> OwnRules | None:
        return self._store.own_rules

    @property
    def clock_skew_s(self) -> float:
        return self._store.clock_skew_s

    async def receive(self, key: str) -> Incoming:
        return _EncryptedIncoming(
            await self._store.receive(key), Sealing(*self._keyring.new_object("A new file"))
        )

    async def store_file(self, path: Path, key: str) -> None:
        async with await self.receive(key) as incoming:
            with path.open("rb") as file:
                while piece := await in_thread(file.read, FRAME_BYTES):
                    await incoming.write(piece)
            await incoming.commit()
        await in_thread(path.unlink)

    async def read(
        self,
        key: str,
        *,
        start: int = 0,
        length: int | None = None,
        size_bytes: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        opened = await self._open(key)
        if opened is None:
            pieces = self._store.read(key, start=start, length=length, size_bytes=size_bytes)
        elif size_bytes not in (None, opened.layout.size_bytes):
            raise ObjectDamaged(f"{key} is another file than it was. Restore it from a backup.")
        else:
            pieces = opened.read(start, length)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def size(self, key: str) -> int:
        opened = await self._open(key)
        return await self._store.size(key) if opened is None else opened.layout.size_bytes

    async def delete(self, prefix: str) -> int:
        return await self._store.delete(prefix)

    def list(self, prefix: str) -> AsyncIterator[str]:
        return self._store.list(prefix)

    def local_path(self, key: str) -> Path | None:
        return None

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        return None  # what lies there is of no use to anybody else

    async def make_cold(self, key: str) -> None:
        await self._store.make_cold(key)

    async def is_cold(self, key: str) -> bool:
        return await self._store.is_cold(key)

    async def tidy(self) -> int:
        return await self._store.tidy()

    async def close(self) -> None:
        await self._store.close()

    async def space(self) -> Space | None:
        return await self._store.space()

    async def check(self, *, hot_only: bool = False) -> None:
        key = f"raw/{new_id()}/check"
        async with await self.receive(key) as incoming:
            await incoming.write(b"check")
            await incoming.commit()
        try:
            if b"".join([piece async for piece in self.read(key)]) != b"check":
                raise ObjectDamaged("What was just written to the store came back as another.")
        finally:
            await self._store.delete(key)
        if not hot_only:
            await self._store.check()

    async def is_plaintext(self, key: str) -> bool:
        """Whether the object is one from before encryption. Raises ObjectMissing."""
        return not (await self._bytes(key, 0, len(MAGIC))).startswith(MAGIC)

    async def encrypt(self, key: str) -> None:
        """Replace an object from before encryption; who reads it meanwhile gets either."""
        was_cold = await self._store.is_cold(key)
        async with await self.receive(key) as incoming:
            async with aclosing(self._store.read(key)) as pieces:
                async for piece in pieces:
                    await incoming.write(piece)
            await incoming.commit()
        if was_cold:  # what is written anew is not
            await self._store.make_cold(key)

    async def _open(self, key: str) -> _Opened | None:
        """None for an object from before encryption, where such are allowed.

        Raises ObjectMissing, ObjectDamaged.
        """
        stored_bytes = await self._store.size(key)
        head = await self._bytes(key, 0, HEAD_BYTES)
        if not head.startswith(MAGIC) and self._keyring.plaintext_allowed:
            return None
        seal = await self._keyring.opened(head[:HEADER_BYTES], key)
        if stored_bytes < HEADER_BYTES + END_BYTES:
            raise _cut_off(key)
        end = await self._tail(key, head, stored_bytes, END_BYTES, before=0)
        size_bytes, index_bytes = seal.open_end(memoryview(end))
        layout = Layout.regular(size_bytes)
        if index_bytes:
            index_bytes += OVERHEAD_BYTES
            index = await self._tail(key, head, stored_bytes, index_bytes, before=END_BYTES)
            layout = seal.open_index(memoryview(index), size_bytes)
        if layout.sealed_bytes + index_bytes + END_BYTES != stored_bytes:
            raise _cut_off(key)
        return _Opened(self._store, key, seal, layout, head)

    async def _tail(
        self, key: str, head: bytes, stored_bytes: int, length: int, *, before: int
    ) -> bytes:
        start = stored_bytes - before - length
        if start < HEADER_BYTES:
            raise _cut_off(key)
        if stored_bytes <= len(head):
            return head[start : start + length]
        return await self._bytes(key, start, length)

    async def _bytes(self, key: str, start: int, length: int) -> bytes:
        async with aclosing(self._store.read(key, start=start, length=length)) as pieces:
            return b"".join([piece async for piece in pieces])


def _cut_off(key: str) -> ObjectDamaged:
    return ObjectDamaged(f"{key} is shorter than it was, or damaged. Restore it from a backup.")


class _Opened:
    """A complete object whose end has been found sound."""

    def __init__(self, store: Storage, key: str, seal: Seal, layout: Layout, head: bytes) -> None:
        self._store = store
        self._key = key
        self._seal = seal
        self._head = head
        self.layout = layout

    async def read(self, start: int, length: int | None) -> AsyncGenerator[bytes, None]:
        layout = self.layout
        end = layout.size_bytes if length is None else min(layout.size_bytes, start + length)
        if start >= end:
            return
        frame, last = layout.frame_at(start), layout.frame_at(end - 1)
        async with aclosing(self._stored(layout.place(frame), layout.place(last + 1))) as stored:
            held = bytearray()
            async for piece in stored:
                held += piece
                while frame <= last and len(held) >= OVERHEAD_BYTES + layout.length(frame):
                    sealed_bytes = OVERHEAD_BYTES + layout.length(frame)
                    plain = await self._frame(frame, bytes(held[:sealed_bytes]))
                    del held[:sealed_bytes]
                    begins = layout.starts[frame]
                    yield plain[max(0, start - begins) : end - begins]
                    frame += 1
        if frame <= last:
            raise _cut_off(self._key)

    async def _stored(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        if end <= len(self._head):
            yield self._head[start:end]
            return
        async with aclosing(self._store.read(self._key, start=start, length=end - start)) as pieces:
            async for piece in pieces:
                yield piece

    async def _frame(self, frame: int, sealed: bytes) -> bytes:
        begins = self.layout.starts[frame]
        if len(sealed) <= INLINE_BYTES:
            return self._seal.open_frame(begins, memoryview(sealed))
        return await in_thread(self._seal.open_frame, begins, memoryview(sealed))


class _EncryptedIncoming:
    def __init__(self, incoming: Incoming, sealing: Sealing) -> None:
        self._incoming = incoming
        self._sealing = sealing
        self._finished = False

    async def write(self, data: bytes | memoryview) -> None:
        if self._sealing.add(data):
            await self._incoming.write(await in_thread(self._sealing.frames))

    async def seal(self) -> None:
        await self._finish()
        await self._incoming.seal()

    async def commit(self, *, sha256: str | None = None) -> None:
        await self._finish()  # what is stored has another digest
        await self._incoming.commit()

    async def _finish(self) -> None:
        if not self._finished:
            held_bytes = self._sealing.held_bytes
            finish = self._sealing.finish
            rest = finish() if held_bytes <= INLINE_BYTES else await in_thread(finish)
            await self._incoming.write(rest)
            self._finished = True

    async def __aenter__(self) -> Self:
        await self._incoming.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._incoming.__aexit__(exc_type, exc, traceback)
