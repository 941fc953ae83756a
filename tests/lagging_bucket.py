"""A bucket whose listings lag, as those of some stores do; all else is as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from appliance.storage.buckets.protocol import Bucket, Entry
from appliance.storage.object_store import ObjectStorage


class LaggingBucket:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._then: list[Entry] | None = None

    async def lag(self) -> None:
        """From now on, listings tell what is there now."""
        self._then = [entry async for entry in self._bucket.entries("")]

    async def hear_of(self, prefix: str) -> None:
        """Tell of what lies there before all else."""
        assert self._then is not None
        others = [entry for entry in self._then if not entry.key.startswith(prefix)]
        self._then = others + [entry async for entry in self._bucket.entries(prefix)]

    def catch_up(self) -> None:
        self._then = None

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        if self._then is None:
            async for entry in self._bucket.entries(prefix):
                yield entry
            return
        for entry in self._then:
            if entry.key.startswith(prefix):
                yield entry

    async def names(self, prefix: str) -> AsyncIterator[str]:
        found = [entry.key async for entry in self.entries(prefix)]
        for name in {key.removeprefix(prefix).split("/")[0] for key in found}:
            yield name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)


def lagging(storage: ObjectStorage) -> LaggingBucket:
    """Put between the store and its bucket."""
    bucket = LaggingBucket(storage._bucket)
    for holder in (storage, storage.partials, storage._sending):
        for attribute in ("_bucket", "bucket"):
            if hasattr(holder, attribute):
                setattr(holder, attribute, bucket)
    return bucket
