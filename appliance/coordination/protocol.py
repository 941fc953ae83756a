"""What the processes of one deployment share beside the truth: a cache, events, locks, rates.

All of it may be lost at any time; the outcome of every job stays right without it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from appliance.rates import Rate, Taken


class Subscription(Protocol):
    @property
    def lost(self) -> bool:
        """Whether messages may have been lost. Who needs to know of all changes begins anew."""
        ...

    async def next(self, timeout_s: float) -> bytes | None:
        """The next message, or None when there was none for that long.

        The same message published again before it was heard is heard once. A subscriber that
        falls far behind loses the oldest messages, so a message says *that*
        something changed and what it is now is read from the database.
        """
        ...


class Coordination(Protocol):
    @property
    def fault(self) -> str | None:
        """Why the servers share nothing at the moment, for those who run them."""
        ...

    async def check(self) -> None:
        """Raises ConfigurationError where what is set does not answer."""
        ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None: ...

    async def delete(self, key: str) -> None: ...

    async def publish(self, topic: str, message: bytes) -> None: ...

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[Subscription]:
        """Messages published from now on until the context is left."""
        ...

    def lock(self, name: str, *, ttl_s: float) -> AbstractAsyncContextManager[bool]:
        """Try to take a lock, without waiting; the context's value says whether it is ours.

        Saves work that would be done twice; never what keeps a result right.
        """
        ...

    async def lead(self, name: str, *, ttl_s: float) -> bool:
        """Whether this process is the one that does what `name` stands for, from now on for so
        long. The one that leads goes on to lead by asking again in time; when servers share
        nothing at the moment, each leads."""
        ...

    async def step_down(self, name: str) -> None:
        """Let another lead at once, if this process does."""
        ...

    async def take(self, name: str, rate: Rate, *, cost: int = 1) -> Taken:
        """Count that `name` does something `cost` times, if `rate` allows that now.

        What is refused costs nothing. A negative `cost` gives back, and is always allowed. Exact
        however many ask at once: of what one rate bounds, no more is allowed than it says. A name
        that is forgotten, because there are too many of them, begins anew.
        """
        ...
