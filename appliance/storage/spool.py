"""Bytes that wait to be sent to an object store: one part of a file, which can be sent again.

In memory while all parts together find room there, else on the local disk: so memory is bounded
however many uploads there are and however slow their clients, and none waits for another. The
store is told the digest of a part before its first byte, and refuses what does not have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

from appliance.ids import new_id
from appliance.storage.local_files import translated
from appliance.threads import in_thread

HELD_BYTES = 256 * 1024
"""Of a part that are held in any case, before they go to the disk."""
SHARED_BYTES = 64 * 1024**2
"""That all parts together may hold beyond that; what finds no room there goes to the disk."""
INLINE_BYTES = 128 * 1024
"""Hashed without a thread: a visit to one would take longer."""
READ_BYTES = 512 * 1024


class Memory:
    """What the parts of all uploads share."""

    def __init__(self, size_bytes: int = SHARED_BYTES) -> None:
        self._free_bytes = size_bytes

    def take(self, size_bytes: int) -> bool:
        if size_bytes > self._free_bytes:
            return False
        self._free_bytes -= size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        self._free_bytes += size_bytes


class Spool:
    def __init__(self, folder: Path, memory: Memory) -> None:
        self._folder = folder
        self._memory = memory
        self._path: Path | None = None
        """Of the file, once there is one."""
        self._held: list[bytes | memoryview] = []
        self._held_bytes = 0
        self._taken_bytes = 0
        """Of the shared memory."""
        self._sha256 = hashlib.sha256()
        self.told_sha256: str | None = None
        """Of all, by who wrote it: then the store checks what it gets against what came."""
        self.size_bytes = 0

    async def write(self, data: bytes | memoryview) -> None:
        """Raises StorageFull, StorageUnavailable."""
        self._held.append(data)
        self._held_bytes += len(data)
        self.size_bytes += len(data)
        if self._held_bytes > HELD_BYTES:
            if self._path is None and self._memory.take(len(data)):
                self._taken_bytes += len(data)
            else:
                await self.park()

    async def park(self) -> None:
        """Hold no memory."""
        held = self._held
        self._held, self._held_bytes = [], 0
        if held:
            await in_thread(self._write, held)
        self._give_back()

    async def sha256(self) -> str:
        """Hexadecimal, of all."""
        if self.told_sha256 is not None:
            return self.told_sha256
        if self._path is not None:
            await self.park()
            return self._sha256.hexdigest()
        if self.size_bytes <= INLINE_BYTES:
            return _sha256_of(self._held)
        return await in_thread(_sha256_of, self._held)

    async def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """All, from the beginning; may be asked again."""
        if self._path is None:
            for piece in self._held:
                yield piece
            return
        await self.park()
        async for piece in _pieces_of(self._path, 0, self.size_bytes):
            yield piece

    def discard(self) -> None:
        self._held.clear()
        self._give_back()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _give_back(self) -> None:
        self._memory.give_back(self._taken_bytes)
        self._taken_bytes = 0

    def _write(self, pieces: list[bytes | memoryview]) -> None:
        with translated(self._folder):
            self._path = self._path or self._folder / new_id()
            with self._path.open("ab", buffering=0) as file:
                for piece in pieces:
                    left = memoryview(piece)
                    self._sha256.update(left)
                    while left:  # a full disk or a signal cuts a write short
                        left = left[file.write(left) or 0 :]


def _sha256_of(pieces: list[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


class FileSlice:
    """A part of a file that lies there already; it stays as it is."""

    def __init__(self, path: Path, start: int, size_bytes: int) -> None:
        self._path = path
        self._start = start
        self.size_bytes = size_bytes

    async def sha256(self) -> str:
        digest = hashlib.sha256()
        async for piece in self.pieces():
            await in_thread(digest.update, piece)
        return digest.hexdigest()

    async def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        async for piece in _pieces_of(self._path, self._start, self.size_bytes):
            yield piece

    def discard(self) -> None:
        pass


class Given:
    """Bytes that are held anyway."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size_bytes = len(data)

    async def sha256(self) -> str:
        return hashlib.sha256(self._data).hexdigest()

    async def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        yield self._data

    def discard(self) -> None:
        pass


async def _pieces_of(path: Path, start: int, size_bytes: int) -> AsyncGenerator[bytes, None]:
    """Opened for each: who sends them may let go of this generator in the middle."""
    end = start + size_bytes
    while start < end and (piece := await in_thread(_read, path, start, end)):
        start += len(piece)
        yield piece


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return file.read(min(READ_BYTES, end - start))
