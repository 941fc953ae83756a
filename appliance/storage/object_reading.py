"""The bytes of an object, over connections that may break."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from appliance.errors import ObjectDamaged
from appliance.storage.buckets.protocol import Bucket
from appliance.storage.buckets.requests import ConnectionLost, OutOfRange

MOST_RESUMED = 5
"""Connections in a row that may break without a byte."""


async def read_object(
    bucket: Bucket,
    key: str,
    *,
    start: int = 0,
    length: int | None = None,
    size_bytes: int | None = None,
) -> AsyncGenerator[bytes, None]:
    """As `Storage.read`. A connection that breaks is made again, and goes on where it broke."""
    left = length
    etag: str | None = None
    failures = 0
    while left is None or left > 0:
        try:
            async with bucket.get(key, start=start, length=left, etag=etag) as opened:
                etag = opened.head.etag or None
                whole_bytes = opened.head.size_bytes
                if size_bytes is not None and whole_bytes != size_bytes:
                    raise ObjectDamaged(
                        f"{key} has {whole_bytes} bytes in the store instead of {size_bytes}. "
                        "Restore it from a backup."
                    )
                left = min(whole_bytes - start, whole_bytes if left is None else left)
                async for piece in opened.pieces():
                    failures = 0
                    yield piece
                    start += len(piece)
                    left -= len(piece)
                if left > 0:
                    raise ConnectionLost("The store broke off in the middle of a file.")
        except OutOfRange:
            return
        except ConnectionLost:
            failures += 1
            if failures > MOST_RESUMED:
                raise
