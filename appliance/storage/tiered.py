"""Two stores as one: what is new lies in the hot one, what is old in the cold, cheaper one.

An object is moved by a copy that is read back and compared before the hot one goes. Killed at any
point, it lies in the hot store, or in both, or in the cold one; `make_cold` once more ends the
move, and `delete` takes both. Encryption stands in front of this: objects are moved as they lie.

Moving an object that is being read harms no reader. Who holds its `local_path` for longer may find
nothing there when he opens it, and asks for the path again. A cold store that is full or away keeps
objects from being moved, and those that are there from being read; nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from appliance.errors import ObjectDamaged, ObjectMissing, StorageFull, StorageUnavailable
from appliance.storage.protocol import Incoming, Space, Storage
from appliance.threads import in_thread


class TieredStorage:
    has_cold_place = True
    least_cold_bytes = 0
    own_rules = None
    """No rule of the hot store moves anything to another one."""

    def __init__(self, hot: Storage, cold: Storage, *, reserve_bytes: int = 0) -> None:
        """`reserve_bytes`: room that moves leave in the cold store."""
        self._hot = hot
        self._cold = cold
        self._reserve_bytes = reserve_bytes
        self.partials = hot.partials

    @property
    def clock_skew_s(self) -> float:
        return max(self._hot.clock_skew_s, self._cold.clock_skew_s, key=abs)

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
        begun = False
        try:
            pieces = self._hot.read(key, start=start, length=length, size_bytes=size_bytes)
            async with aclosing(pieces):
                async for piece in pieces:
                    begun = True
                    yield piece
            return
        except ObjectDamaged:
            raise
        except ObjectMissing:
            if begun:
                raise
        pieces = self._cold.read(key, start=start, length=length, size_bytes=size_bytes)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def size(self, key: str) -> int:
        try:
            return await self._hot.size(key)
        except ObjectMissing:
            return await self._cold.size(key)

    async def delete(self, prefix: str) -> int:
        return await self._hot.delete(prefix) + await self._cold.delete(prefix)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        seen: set[str] = set()
        missing: ObjectMissing | None = None
        for store in (self._hot, self._cold):
            try:
                async for name in store.list(prefix):
                    if name not in seen:
                        seen.add(name)
                        yield name
            except ObjectMissing as error:
                if missing is not None:
                    raise
                missing = error

    def local_path(self, key: str) -> Path | None:
        path = self._hot.local_path(key)
        if path is not None and path.exists():
            return path
        return self._cold.local_path(key)

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        try:
            await self._hot.size(key)
            holder = self._hot
        except ObjectMissing:
            holder = self._cold
        return await holder.presigned(
            key, expires_s=expires_s, content_type=content_type, disposition=disposition
        )

    async def make_cold(self, key: str) -> None:
        """Raises StorageFull when the cold store has no room; then the object stays where it is."""
        try:
            size_bytes = await self._hot.size(key)
        except ObjectMissing:
            await self._cold.size(key)  # it is there already, or nowhere
            return
        space = await self._cold.space()
        if space is not None and space.free_bytes - size_bytes < self._reserve_bytes:
            raise StorageFull(
                "The cold place has no room for another file. Free some space there; what is to "
                "go there stays where it is meanwhile."
            )
        digest = hashlib.sha256()
        # Over one that an earlier life has left there: whether that is whole is not known.
        async with await self._cold.receive(key) as incoming:
            async with aclosing(self._hot.read(key, size_bytes=size_bytes)) as pieces:
                async for piece in pieces:
                    await in_thread(digest.update, piece)
                    await incoming.write(piece)
            await incoming.commit()
        if await self._cold_digest(key, size_bytes) != digest.digest():
            raise StorageUnavailable(
                f"The cold place gave back something else than was written to it ({key}). The file "
                "stays where it is; look at that disk or bucket."
            )
        # Not told apart from one deleted meanwhile: another process may just have ended this move.
        await self._hot.delete(key)

    async def is_cold(self, key: str) -> bool:
        try:
            await self._hot.size(key)
        except ObjectMissing:
            await self._cold.size(key)
            return True
        return False

    async def _cold_digest(self, key: str, size_bytes: int) -> bytes:
        digest = hashlib.sha256()
        try:
            async with aclosing(self._cold.read(key, size_bytes=size_bytes)) as pieces:
                async for piece in pieces:
                    await in_thread(digest.update, piece)
        except ObjectDamaged:
            return b""
        return digest.digest()

    async def tidy(self) -> int:
        return await self._hot.tidy() + await self._cold.tidy()

    async def space(self) -> Space | None:
        """Of the hot store: that is where uploads go."""
        return await self._hot.space()

    async def check(self, *, hot_only: bool = False) -> None:
        """Of a fault of the cold store it is said that it is one."""
        await self._hot.check()
        if hot_only:
            return
        try:
            await self._cold.check()
        except (StorageFull, StorageUnavailable) as fault:
            raise type(fault)(f"The cold place: {fault.detail}") from fault

    async def close(self) -> None:
        try:
            await self._hot.close()
        finally:
            await self._cold.close()
