"""What a store must do: keep bytes under a key, whole or not at all.

A key is a path of plain components, `raw/{jobId}/{filename}` for originals and
`processed/{jobId}/{attempt}/{name}` for results. An object is never changed once it is there.
Abilities that not every store has (a local path, partials) answer None where they are missing;
nobody guesses from the kind of store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from appliance.storage.own_rules import OwnRules
from appliance.storage.partials import Partials


class Space(NamedTuple):
    free_bytes: int
    total_bytes: int


class Incoming(Protocol):
    """A file on its way in. Invisible until `commit`; gone if that is never reached.

    Use as an async context manager: leaving it without a commit discards what was written.
    """

    async def write(self, data: bytes | memoryview) -> None:
        """Append. Raises StorageFull, StorageUnavailable."""
        ...

    async def seal(self) -> None:
        """No more bytes come, but the commit waits for other files: hold neither memory nor a
        descriptor until then.

        Raises StorageFull, StorageUnavailable. `commit` needs no seal before it.
        """
        ...

    async def commit(self, *, sha256: str | None = None) -> None:
        """Make it an object under its key; durable, name included, when this returns.

        `sha256`, hexadecimal, is of all that was written, where the caller has it: a store that
        needs one does not take it again.
        Raises StorageFull or StorageUnavailable, and then nothing is visible.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Storage(Protocol):
    @property
    def partials(self) -> Partials | None:
        """Objects that grow over several requests; None where the store cannot."""
        ...

    @property
    def has_cold_place(self) -> bool:
        """Whether `make_cold` works."""
        ...

    @property
    def least_cold_bytes(self) -> int:
        """Smaller objects are not worth `make_cold`: they would cost no less."""
        ...

    @property
    def own_rules(self) -> OwnRules | None:
        """By which the store makes originals cold by itself; None where it cannot."""
        ...

    @property
    def clock_skew_s(self) -> float:
        """By how much the store's own clock is ahead of this machine's, as far as its answers have
        told; 0 where they agree, or where it has none."""
        ...

    async def receive(self, key: str) -> Incoming:
        """Begin a new object, which will lie under `key`. Raises StorageUnavailable."""
        ...

    async def store_file(self, path: Path, key: str) -> None:
        """Make the local file at `path` an object; durable when this returns.

        The store may take the file itself: `path` may be gone afterwards. Writing the same key
        again replaces the object (an attempt that is settled once never does).
        """
        ...

    def read(
        self,
        key: str,
        *,
        start: int = 0,
        length: int | None = None,
        size_bytes: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The object's bytes from `start`, all of them or `length`, in bounded pieces.

        `size_bytes` is what the whole must have, where that is known. Raises ObjectMissing, and
        ObjectDamaged where it has another size, or is replaced while it is read.
        """
        ...

    async def size(self, key: str) -> int:
        """In bytes. Raises ObjectMissing."""
        ...

    async def delete(self, prefix: str) -> int:
        """Delete the object `prefix` and all below it; returns how many there were.

        Where listings lag, what is below it may be left; the object `prefix` never is.
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[str]:
        """The names of the components directly below `prefix`, in no order.

        A bucket may tell what was there a while ago: without what was just written, and with what
        was just deleted. Whether one object is there, `size` says.
        """
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the object lies as a plain file that a child may read; None if it does not."""
        ...

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        """A URL at which anybody gets the object until then, with these two header fields; None
        where the store gives no such, or must not."""
        ...

    async def make_cold(self, key: str) -> None:
        """Move the object to the cheaper place; reading it works as before. Durable when this
        returns; again is harmless. Raises ObjectMissing, StorageUnavailable."""
        ...

    async def is_cold(self, key: str) -> bool:
        """Whether it lies in the cheaper place. Raises ObjectMissing."""
        ...

    async def tidy(self) -> int:
        """Clear away what earlier lives began and never ended; how much there was."""
        ...

    async def space(self) -> Space | None:
        """Room in the store; None where there is no such limit. Quick enough to be asked before
        every upload. Raises StorageUnavailable while the store is known not to answer."""
        ...

    async def check(self, *, hot_only: bool = False) -> None:
        """Write, read and delete a small object, in the cold place too where that is another store
        and not `hot_only`. Raises StorageFull, StorageUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of connections; it is not used afterwards."""
        ...


def components(key: str) -> list[str]:
    """Of a key. Raises ValueError for what is none."""
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"not a storage key: {key!r}")
    return parts
