"""A file on its way into an object store.

    write ─► spool (one part) ─► sent while the next one fills ─► complete

What fits into one part is put with one request, at its commit. Of each upload there are at most the
part that fills and those that are being sent.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.storage.buckets.protocol import Body, Bucket, Multipart
from appliance.storage.in_flight import InFlight
from appliance.storage.spool import FileSlice, Memory, Spool
from appliance.threads import in_thread

MOST_IN_FLIGHT = 16
"""Parts of all uploads together."""


class Sending:
    """How parts are sent, for all uploads."""

    def __init__(self, bucket: Bucket, spool_dir: Path, *, part_bytes: int) -> None:
        self.bucket = bucket
        self.part_bytes = part_bytes
        self.turns = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._spool_dir = spool_dir
        self._memory = Memory()

    def new_spool(self) -> Spool:
        return Spool(self._spool_dir, self._memory)


class Parts:
    """Of one object, sent beside each other. Use as an async context manager: leaving it without
    `complete` gives the object up."""

    def __init__(self, sending: Sending, multipart: Multipart) -> None:
        self._multipart = multipart
        self._in_flight = InFlight(sending.turns, multipart.in_flight)
        self._number = 0
        self._completed = False

    async def send(self, part: Body) -> None:
        """Return when there was a place for it; it is discarded when that is over.

        Raises StorageFull, StorageUnavailable, of an earlier one too.
        """
        self._number += 1
        await self._in_flight.begin(self._multipart.send(self._number, part), part)

    async def copy(self, key: str, start: int, end: int) -> None:
        """As `send`, of bytes of another object."""
        self._number += 1
        await self._in_flight.begin(self._multipart.copy(self._number, key, start, end))

    async def complete(self) -> None:
        await self._in_flight.finish()
        await self._multipart.complete()
        self._completed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._completed:
            await self._in_flight.cancel()
            await self._multipart.abort()


class ObjectIncoming:
    def __init__(self, sending: Sending, key: str) -> None:
        self._sending = sending
        self._key = key
        self._spool = sending.new_spool()
        self._parts: Parts | None = None
        """Once there is more than one."""

    async def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            room = self._sending.part_bytes - self._spool.size_bytes
            if not room:
                await self._send_part()
                continue
            await self._spool.write(left[:room])
            left = left[room:]

    async def seal(self) -> None:
        await self._spool.park()

    async def commit(self, *, sha256: str | None = None) -> None:
        if self._parts is None:
            self._spool.told_sha256 = sha256
            await self._sending.bucket.put(self._key, self._spool)
        else:
            await self._send_part()
            await self._parts.complete()

    async def _send_part(self) -> None:
        if self._parts is None:
            multipart = await self._sending.bucket.begin(self._key)
            self._parts = Parts(self._sending, multipart)
        full, self._spool = self._spool, self._sending.new_spool()
        await self._parts.send(full)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._spool.discard()
        if self._parts is not None:
            await self._parts.__aexit__(exc_type, exc, traceback)


async def put_file(sending: Sending, path: Path, key: str) -> None:
    """Make a file of this machine an object; it stays where it is."""
    size_bytes = (await in_thread(path.stat)).st_size
    if size_bytes <= sending.part_bytes:
        await sending.bucket.put(key, FileSlice(path, 0, size_bytes))
        return
    async with Parts(sending, await sending.bucket.begin(key)) as parts:
        for start in range(0, size_bytes, sending.part_bytes):
            length = min(sending.part_bytes, size_bytes - start)
            await parts.send(FileSlice(path, start, length))
        await parts.complete()
