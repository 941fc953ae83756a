"""Two places as one store: what is new lies in the hot one, what was made cold in the other.

Reading looks in both, so nobody has to know. An object that is moved is in both for a moment, never
in none: it is copied, read back and compared, and only then deleted where it was.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from appliance.errors import ObjectDamaged, ObjectMissing
from appliance.storage.partials import Partials
from appliance.storage.protocol import Incoming, Space, Storage
from appliance.threads import in_thread


class TieredStorage:
    def __init__(self, hot: Storage, cold: Storage) -> None:
        self._hot = hot
        self._cold = cold

    @property
    def partials(self) -> Partials | None:
        return self._hot.partials

    has_cold_place = True

    async def receive(self, key: str) -> Incoming:
        return await self._hot.receive(key)

    async def store_file(self, path: Path, key: str) -> None:
        await self._hot.store_file(path, key)

    async def read(
        self,
        key: str,
        *,
        start: int = 0,
        length: int | None = None,
        size_bytes: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        sent = 0
        for place in (self._hot, self._cold):
            left = None if length is None else length - sent
            pieces = place.read(key, start=start + sent, length=left, size_bytes=size_bytes)
            try:
                async with aclosing(pieces):
                    async for piece in pieces:
                        sent += len(piece)
                        yield piece
                return
            except ObjectDamaged:
                raise
            except ObjectMissing:
                if place is self._cold:
                    raise

    async def size(self, key: str) -> int:
        try:
            return await self._hot.size(key)
        except ObjectMissing:
            return await self._cold.size(key)

    async def delete(self, prefix: str) -> int:
        """An object that is being moved is counted twice."""
        return await self._hot.delete(prefix) + await self._cold.delete(prefix)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        told: set[str] = set()
        for place in (self._hot, self._cold):
            try:
                async for name in place.list(prefix):
                    if name not in told:
                        told.add(name)
                        yield name
            except ObjectMissing:
                if place is self._cold and not told:
                    raise

    def local_path(self, key: str) -> Path | None:
        path = self._hot.local_path(key)
        if path is not None and path.exists():
            return path
        return self._cold.local_path(key) or path

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        place = self._hot if await _has(self._hot, key) else self._cold
        return await place.presigned(
            key, expires_s=expires_s, content_type=content_type, disposition=disposition
        )

    async def make_cold(self, key: str) -> None:
        if not await _has(self._hot, key):
            await self._cold.size(key)  # raises ObjectMissing where it is in neither
            return
        digest, size = hashlib.sha256(), 0
        async with await self._cold.receive(key) as incoming:
            async with aclosing(self._hot.read(key)) as pieces:
                async for piece in pieces:
                    await in_thread(digest.update, piece)
                    size += len(piece)
                    await incoming.write(piece)
            await incoming.commit()
        if await _digest_of(self._cold, key, size) != digest.digest():
            await self._cold.delete(key)
            raise ObjectDamaged(f"{key} did not arrive whole in the cold place; it stays.")
        await self._hot.delete(key)

    async def tidy(self) -> int:
        return await self._hot.tidy() + await self._cold.tidy()

    async def close(self) -> None:
        await asyncio.gather(self._hot.close(), self._cold.close())

    async def space(self) -> Space | None:
        """Of the hot place: that is where uploads go."""
        return await self._hot.space()

    async def check(self) -> None:
        await self._hot.check()
        await self._cold.check()


async def _has(place: Storage, key: str) -> bool:
    try:
        await place.size(key)
    except ObjectMissing:
        return False
    return True


async def _digest_of(place: Storage, key: str, size_bytes: int) -> bytes:
    digest = hashlib.sha256()
    async with aclosing(place.read(key, size_bytes=size_bytes)) as pieces:
        async for piece in pieces:
            await in_thread(digest.update, piece)
    return digest.digest()
