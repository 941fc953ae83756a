"""An ability of a store: objects that grow over several requests, and outlive the server's life.

A partial is named by the id of its upload. What was appended counts once `sync` has returned:
only then may anybody be told of it. A store without this ability has `partials` None, and no
resumable uploads are offered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self


class Appending(Protocol):
    """A partial held open to append to it, by one holder at a time.

    Use as an async context manager; leaving it closes it and syncs nothing.
    """

    async def write(self, data: bytes | memoryview) -> None:
        """Append. Raises StorageFull, StorageUnavailable."""
        ...

    async def sync(self) -> None:
        """What was written is durable when this returns. Raises StorageFull, StorageUnavailable;
        then nothing written since the last sync may be counted."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Partials(Protocol):
    async def recover(self, recorded: Mapping[str, int]) -> int:
        """At a start, before anything else: make what is there agree with what can be relied on.

        `recorded` are the partials that are known, each with the offset that was recorded after
        a sync. Others are deleted; the known ones are cut where their end may have been lost.
        Returns how many bytes that gave back.
        """
        ...

    async def create(self, name: str) -> None:
        """Begin an empty one; durable, name included, when this returns."""
        ...

    async def append_at(self, name: str, offset_bytes: int) -> Appending:
        """Open it to append at `offset_bytes`; what lies beyond is cut off.

        Raises ObjectMissing when it is not there, or shorter.
        """
        ...

    async def exists(self, name: str) -> bool: ...

    async def size(self, name: str) -> int:
        """In bytes, synced or not. Raises ObjectMissing."""
        ...

    def read(
        self, name: str, *, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """As `Storage.read`. Raises ObjectMissing."""
        ...

    async def join(self, names: Sequence[str], into: str) -> int:
        """Append the others, in this order, to the empty `into`; durable, and its size, when this
        returns. The others stay."""
        ...

    async def commit(self, name: str, key: str) -> None:
        """Make it an object under `key`; durable when this returns. Once done, a no-op."""
        ...

    async def delete(self, name: str) -> int:
        """Delete it; returns how many bytes that gave back, 0 when it was not there."""
        ...

    async def names(self) -> Sequence[str]:
        """All that there are."""
        ...
