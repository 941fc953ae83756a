"""Files that are known by their digest, read whole: what is another one by now is not given out."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from appliance.errors import ObjectDamaged
from appliance.storage.protocol import Storage
from appliance.threads import in_thread

INLINE_BYTES = 128 * 1024
"""Hashed without a thread: a visit to one would take longer."""


class Recorded(Protocol):
    """A file as it is recorded: a job's original, or a result."""

    @property
    def storage_key(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str:
        """In hexadecimal."""
        ...


def read_verified(storage: Storage, file: Recorded) -> AsyncGenerator[bytes, None]:
    """All of it, the last piece only once the digest is known to be right.

    What lies on this machine's own disk is judged by its size alone: nobody else writes there, and
    a download would take longer. Raises ObjectMissing, ObjectDamaged.
    """
    pieces = storage.read(file.storage_key, size_bytes=file.size_bytes)
    if storage.local_path(file.storage_key) is not None:
        return pieces
    return _verified(pieces, file)


async def verify(storage: Storage, file: Recorded) -> None:
    """Read all of it, wherever it lies. Raises ObjectMissing, ObjectDamaged."""
    pieces = storage.read(file.storage_key, size_bytes=file.size_bytes)
    async with aclosing(_verified(pieces, file)) as verified:
        async for _ in verified:
            pass


async def _verified(
    pieces: AsyncGenerator[bytes, None], file: Recorded
) -> AsyncGenerator[bytes, None]:
    digest, held = hashlib.sha256(), b""
    async with aclosing(pieces):
        async for piece in pieces:
            if held:
                yield held
            if len(piece) > INLINE_BYTES:
                await in_thread(digest.update, piece)
            else:
                digest.update(piece)
            held = piece
    if digest.hexdigest() != file.sha256:
        raise ObjectDamaged(
            f"{file.storage_key} is another file than was stored. Restore it from a backup."
        )
    if held:
        yield held
