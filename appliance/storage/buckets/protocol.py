"""What an object store's own API must do for us: small and whole requests on one bucket.

Written once above it is what makes a store of that: `object_store`, `object_incoming` and
`object_partials`. A request that fails for a reason that may go away was repeated already; what
comes out then is StorageUnavailable, or StorageRefused where only people can mend it.
Keys are those of the store; the adapter puts its prefix before them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from appliance.storage.buckets.pulse import Pulse
from appliance.storage.buckets.store_clock import StoreClock
from appliance.storage.own_rules import OwnRules


class Body(Protocol):
    """Bytes to be sent, which can be read again."""

    size_bytes: int

    async def sha256(self) -> str:
        """In hexadecimal."""
        ...

    def pieces(self) -> AsyncGenerator[bytes | memoryview, None]: ...

    def discard(self) -> None:
        """It is not needed any more."""
        ...


class Entry(NamedTuple):
    key: str
    size_bytes: int


class Head(NamedTuple):
    size_bytes: int
    """Of the whole object."""
    etag: str


class Opened(Protocol):
    """An answer whose bytes are still on their way."""

    head: Head

    def pieces(self) -> AsyncIterator[bytes]:
        """Bounded ones. Raises ConnectionLost where they end before they should."""
        ...


class Multipart(Protocol):
    """An object that is made of parts; invisible until `complete`, which checks what arrived."""

    in_flight: int
    """Parts that may be sent at a time."""

    async def send(self, number: int, part: Body) -> None:
        """Part `number`, from 1; all but the last have the same size. Arrived whole, with the
        digest that it was sent with, when this returns."""
        ...

    async def copy(self, number: int, key: str, start: int, end: int) -> None:
        """Take bytes of another object as a part, within the store; only where the bucket
        `copies_parts`. Raises ObjectMissing."""
        ...

    async def complete(self) -> None: ...

    async def abort(self) -> None:
        """Give up; raises nothing that a store may answer."""
        ...


class Bucket(Protocol):
    name: str
    """As people know it: `s3://bucket/prefix`."""
    least_part_bytes: int
    """A part that is not the last must have so many."""
    copies_parts: bool
    """Within the store, from another object (`Multipart.copy`)."""
    composes: bool
    """Whether `compose` works."""
    has_cold_class: bool
    least_cold_bytes: int
    """Smaller objects gain nothing by the cold class."""
    pulse: Pulse
    clock: StoreClock

    @property
    def own_rules(self) -> OwnRules: ...

    async def put(self, key: str, body: Body) -> None:
        """Make an object, or replace it; it has arrived whole when this returns."""
        ...

    async def begin(self, key: str, *, cold: bool = False) -> Multipart: ...

    async def compose(self, keys: Sequence[str], key: str, *, size_bytes: int) -> None:
        """Make one object of others, in their order, within the store; they stay.

        Raises ObjectMissing, and StorageUnavailable where it has another size.
        """
        ...

    def get(
        self, key: str, *, start: int, length: int | None, etag: str | None
    ) -> AbstractAsyncContextManager[Opened]:
        """Only while it still is the one with `etag`, where that is given.

        Raises ObjectMissing, ObjectDamaged (another one by now), ConnectionLost.
        """
        ...

    async def head(self, key: str) -> Head:
        """Raises ObjectMissing."""
        ...

    def entries(self, prefix: str) -> AsyncIterator[Entry]:
        """All objects whose keys begin so."""
        ...

    def names(self, prefix: str) -> AsyncIterator[str]:
        """What follows `prefix` in their keys, up to the next `/`; each once."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that are not there are none to complain of."""
        ...

    async def make_cold(self, key: str) -> None:
        """Only where `has_cold_class`. Raises ObjectMissing."""
        ...

    async def is_cold(self, key: str) -> bool:
        """As `make_cold`."""
        ...

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        """A URL that gives the object to anybody until then; None where there is no such."""
        ...

    async def abort_old(self, age_s: float) -> int:
        """Of multiparts that were begun so long ago, and never ended; how many there were."""
        ...

    async def ping(self) -> None:
        """One small request, not repeated. Raises StorageUnavailable."""
        ...

    async def close(self) -> None: ...
