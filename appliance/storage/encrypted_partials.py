"""Partials in an encrypted store: frames that are appended, and an end when they are complete.

Each sync ends a frame, so what counts always ends with one, and an upload of many small requests
has many small frames. A kill leaves a torn frame at the end; it counts for nothing and is cut off
by whoever appends next. Where the frames lie is remembered, and found by walking through them
after a restart.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

from appliance.errors import ObjectMissing
from appliance.storage.keyring import Keyring
from appliance.storage.partials import Appending, Partials
from appliance.storage.sealed import (
    EMPTY,
    HEADER_BYTES,
    MAGIC,
    OVERHEAD_BYTES,
    PREFIX_BYTES,
    Layout,
    Seal,
    Sealing,
    frame_length,
)
from appliance.threads import in_thread, see_through

MOST_REMEMBERED = 1000


class EncryptedPartials:
    def __init__(self, partials: Partials, keyring: Keyring) -> None:
        self._partials = partials
        self._keyring = keyring
        self._plain: set[str] = set()
        """Those from before encryption; they stay as they are, and so does what becomes of them."""
        self._known: OrderedDict[str, tuple[Seal, Layout]] = OrderedDict()

    async def recover(self, recorded: Mapping[str, int]) -> int:
        stored: dict[str, int] = {}
        for name in await self._partials.names():
            if name not in recorded:
                continue
            head = await self._bytes(name, 0, len(MAGIC))
            if self._keyring.plaintext_allowed and head and not head.startswith(MAGIC):
                self._plain.add(name)
                stored[name] = recorded[name]
            else:
                layout = await self._walked(name, until=recorded[name])
                stored[name] = layout.sealed_bytes if layout.starts else 0
        return await self._partials.recover(stored)

    async def create(self, name: str) -> None:
        await self._partials.create(name)

    async def append_at(self, name: str, offset_bytes: int) -> Appending:
        if name in self._plain:
            return await self._partials.append_at(name, offset_bytes)
        seal, layout = await self._open(name)
        if layout.size_bytes < offset_bytes:
            raise ObjectMissing(f"{name} has {layout.size_bytes} of {offset_bytes} bytes.")
        kept, rest = layout, b""
        # What was synced ends with a frame, so an offset within one is of something that never
        # counted; its beginning is sealed again, under another nonce.
        if layout.size_bytes > offset_bytes:
            kept = layout.cut(layout.frame_at(offset_bytes))
            rest = b"".join(
                [p async for p in self._opened(name, seal, layout, kept.size_bytes, offset_bytes)]
            )
        header = b""
        if not kept.starts:
            seal, header = self._keyring.new_object(name)
        place = kept.sealed_bytes if kept.starts else 0
        appending = await self._partials.append_at(name, place)
        growing = _EncryptedAppending(self, name, appending, seal, Sealing(seal, header, kept))
        self._known.pop(name, None)
        if rest:
            await growing.write(rest)
        return growing

    async def exists(self, name: str) -> bool:
        return await self._partials.exists(name)

    async def size(self, name: str) -> int:
        if name in self._plain:
            return await self._partials.size(name)
        return (await self._open(name))[1].size_bytes

    async def read(
        self, name: str, *, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        if name in self._plain:
            pieces = self._partials.read(name, start=start, length=length)
        else:
            seal, layout = await self._open(name)
            end = layout.size_bytes if length is None else start + length
            pieces = self._opened(name, seal, layout, start, min(end, layout.size_bytes))
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def join(self, names: Sequence[str], into: str) -> int:
        """Each is under a key of its own, so all are opened and sealed anew."""
        async with await self.append_at(into, 0) as appending:
            for name in names:
                async with aclosing(self.read(name)) as pieces:
                    async for piece in pieces:
                        await appending.write(piece)
            await appending.sync()
        return await self.size(into)

    async def commit(self, name: str, key: str) -> None:
        if name not in self._plain and await self._partials.exists(name):
            seal, layout = await self._open(name)
            async with await self._partials.append_at(name, layout.sealed_bytes) as appending:
                await appending.write(seal.ending(layout))
                await appending.sync()
        await self._partials.commit(name, key)
        self._known.pop(name, None)
        self._plain.discard(name)

    async def delete(self, name: str) -> int:
        self._known.pop(name, None)
        self._plain.discard(name)
        return await self._partials.delete(name)

    async def names(self) -> Sequence[str]:
        return await self._partials.names()

    async def count_plaintext(self) -> int:
        """Of partials from before encryption."""
        names = await self._partials.names()
        heads = [await self._bytes(name, 0, len(MAGIC)) for name in names]
        return sum(bool(head) and not head.startswith(MAGIC) for head in heads)

    # --- what is there ------------------------------------------------------------------------

    def remember(self, name: str, seal: Seal, layout: Layout) -> None:
        self._known[name] = seal, layout
        self._known.move_to_end(name)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    async def _open(self, name: str) -> tuple[Seal, Layout]:
        """Raises ObjectMissing, ObjectDamaged."""
        known = self._known.get(name)
        if known is None:
            layout = await self._walked(name)
            if layout.starts:
                seal = await self._keyring.opened(await self._bytes(name, 0, HEADER_BYTES), name)
            else:  # killed before its first frame was whole: it begins anew
                seal, _ = self._keyring.new_object(name)
            known = seal, layout
            self.remember(name, *known)
        return known

    async def _walked(self, name: str, until: int | None = None) -> Layout:
        """The whole frames that are there, up to the plaintext's offset `until`."""
        stored_bytes = await self._partials.size(name)
        lengths: list[int] = []
        place, offset = HEADER_BYTES, 0
        while place < stored_bytes and (until is None or offset < until):
            length = frame_length(await self._bytes(name, place, PREFIX_BYTES))
            if length is None or place + OVERHEAD_BYTES + length > stored_bytes:
                break
            lengths.append(length)
            place += OVERHEAD_BYTES + length
            offset += length
        return EMPTY.grown(lengths)

    async def _opened(
        self, name: str, seal: Seal, layout: Layout, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        while start < end:
            frame = layout.frame_at(start)
            begins, length = layout.starts[frame], layout.length(frame)
            sealed = await self._bytes(name, layout.place(frame), OVERHEAD_BYTES + length)
            plain = await in_thread(seal.open_frame, begins, memoryview(sealed))
            yield plain[start - begins : end - begins]
            start = begins + length

    async def _bytes(self, name: str, start: int, length: int) -> bytes:
        async with aclosing(self._partials.read(name, start=start, length=length)) as pieces:
            return b"".join([piece async for piece in pieces])


class _EncryptedAppending:
    def __init__(
        self,
        partials: EncryptedPartials,
        name: str,
        appending: Appending,
        seal: Seal,
        sealing: Sealing,
    ) -> None:
        self._partials = partials
        self._name = name
        self._appending = appending
        self._seal = seal
        self._sealing = sealing

    async def write(self, data: bytes | memoryview) -> None:
        if self._sealing.add(data):
            await self._take_out(self._sealing.frames)

    async def _take_out(self, frames: Callable[[], bytes]) -> None:
        """Whoever is cancelled here may sync what came before: none of it must be lost between
        the sealing and the store."""
        await see_through(asyncio.ensure_future(self._pass_on(frames)))

    async def _pass_on(self, frames: Callable[[], bytes]) -> None:
        sealed = await in_thread(frames)
        if sealed:
            await self._appending.write(sealed)

    async def sync(self) -> None:
        await self._take_out(self._sealing.flush)
        await self._appending.sync()
        self._partials.remember(self._name, self._seal, self._sealing.layout)

    async def __aenter__(self) -> Self:
        await self._appending.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._appending.__aexit__(exc_type, exc, traceback)
