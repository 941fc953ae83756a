"""A bucket as the store.

    <prefix>/raw/<jobId>/<filename>                   originals
    <prefix>/processed/<jobId>/<attempt>/<name>       results
    <prefix>/partial/<uploadId>/…                     resumable uploads (`object_partials`)
    <prefix>/check/<random>                           written, read and deleted to see that it works

An object is put in one request where it is small, else in parts; either is there as a whole or not
at all, and has arrived with the digest that it left with. Nothing is cached: the bucket is the
truth, for as many servers as share it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from appliance.errors import StorageUnavailable
from appliance.ids import new_id
from appliance.storage.buckets.protocol import Bucket
from appliance.storage.object_incoming import ObjectIncoming, Sending, put_file
from appliance.storage.object_partials import ObjectPartials
from appliance.storage.object_reading import read_object
from appliance.storage.own_rules import OwnRules
from appliance.storage.protocol import Incoming, Space, components

PART_BYTES = 8 * 1024**2
MOST_PARTS = 10_000
"""Of one object, on S3 and on GCS alike."""
ABANDONED_S = 24 * 3600.0
"""Parts that were sent so long ago belong to no upload any more."""


class ObjectStorage:
    def __init__(self, bucket: Bucket, spool_dir: Path, *, max_object_bytes: int) -> None:
        """`spool_dir` is there; what waits there to be sent is lost with this process."""
        self._bucket = bucket
        self._sending = Sending(
            bucket,
            spool_dir,
            part_bytes=max(PART_BYTES, _whole_mib(max_object_bytes // (MOST_PARTS - 1) + 1)),
        )
        self.partials = ObjectPartials(bucket, self._sending)

    @property
    def has_cold_place(self) -> bool:
        return self._bucket.has_cold_class

    @property
    def least_cold_bytes(self) -> int:
        return self._bucket.least_cold_bytes

    @property
    def own_rules(self) -> OwnRules:
        return self._bucket.own_rules

    @property
    def clock_skew_s(self) -> float:
        return self._bucket.clock.skew_s

    async def receive(self, key: str) -> Incoming:
        components(key)
        return ObjectIncoming(self._sending, key)

    async def store_file(self, path: Path, key: str) -> None:
        components(key)
        await put_file(self._sending, path, key)

    async def read(
        self,
        key: str,
        *,
        start: int = 0,
        length: int | None = None,
        size_bytes: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        components(key)
        pieces = read_object(self._bucket, key, start=start, length=length, size_bytes=size_bytes)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def size(self, key: str) -> int:
        return (await self._bucket.head(key)).size_bytes

    async def delete(self, prefix: str) -> int:
        components(prefix)
        keys = [
            entry.key
            async for entry in self._bucket.entries(prefix)
            if entry.key == prefix or entry.key.startswith(f"{prefix}/")
        ]
        # Itself too where no listing tells of it yet: nobody would come back for it.
        await self._bucket.delete(list({prefix, *keys}))
        return len(keys)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        async for name in self._bucket.names(f"{prefix}/"):
            yield name

    def local_path(self, key: str) -> Path | None:
        return None

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        return await self._bucket.presigned(
            key, expires_s=expires_s, content_type=content_type, disposition=disposition
        )

    async def make_cold(self, key: str) -> None:
        await self._bucket.make_cold(key)

    async def is_cold(self, key: str) -> bool:
        return self.has_cold_place and await self._bucket.is_cold(key)

    async def tidy(self) -> int:
        return await self._bucket.abort_old(ABANDONED_S)

    async def space(self) -> Space | None:
        await self._bucket.pulse.check(self._bucket.ping)
        return None

    async def check(self, *, hot_only: bool = False) -> None:
        key = f"check/{new_id()}"
        async with await self.receive(key) as incoming:
            await incoming.write(b"check")
            await incoming.commit()
        try:
            async with aclosing(self.read(key)) as pieces:
                if b"".join([piece async for piece in pieces]) != b"check":
                    raise StorageUnavailable(
                        f"{self._bucket.name}: what was just written came back as another."
                    )
        finally:
            await self._bucket.delete([key])
        await self._bucket.ping()

    async def close(self) -> None:
        await self._bucket.close()


def _whole_mib(size_bytes: int) -> int:
    return -(-size_bytes // 1024**2) * 1024**2
