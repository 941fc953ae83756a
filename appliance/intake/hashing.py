"""SHA-256 beside the event loop: a core hashes while the next bytes are received and written.

hashlib lets go of the interpreter for as long as it hashes, and hashing is a fifth of what an
upload costs. Small bodies are hashed when they are complete, all that are waiting in one visit to
a thread; of larger ones what has come, while more comes in.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from appliance.threads import Steadfast, in_thread

SMALL_BYTES = 256 * 1024
"""Of a body that are held while nothing is hashed: a slow client makes us hold no more."""

BLOCK_BYTES = 1024 * 1024
"""That are held at most, while those before them are hashed."""

INLINE_BYTES = 128 * 1024
"""Hashed without a thread: a visit to one takes as much of the processor, and milliseconds where
others want it too."""

_Work = tuple["hashlib._Hash", Sequence[bytes | memoryview]]


class Hashing:
    """The thread visits of all uploads."""

    def __init__(self) -> None:
        self._waiting: list[tuple[_Work, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> RunningHash:
        return RunningHash(self)

    async def update(self, sha256: hashlib._Hash, pieces: Sequence[bytes | memoryview]) -> None:
        future: asyncio.Future[None] = Steadfast(loop=asyncio.get_running_loop())
        self._waiting.append(((sha256, pieces), future))
        if self._running is None:
            self._running = asyncio.create_task(self._work(), name="hashing")
        await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    await in_thread(_update_all, [work for work, _ in batch])
                except Exception as error:  # noqa: BLE001  top of a loop: who waits is told
                    for _, future in batch:
                        future.set_exception(error)
                    continue
                for _, future in batch:
                    future.set_result(None)
        finally:
            self._running = None


class RunningHash:
    """Of one body."""

    def __init__(self, hashing: Hashing) -> None:
        self._hashing = hashing
        self._sha256 = hashlib.sha256()
        self._held: list[bytes | memoryview] = []
        self._held_bytes = 0
        self._block: asyncio.Future[None] | None = None

    async def update(self, data: bytes | memoryview) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        is_free = self._block is None or self._block.done()
        if self._held_bytes > (SMALL_BYTES if is_free else BLOCK_BYTES):
            await self._catch_up()
            held, self._held, self._held_bytes = self._held, [], 0
            loop = asyncio.get_running_loop()
            self._block = loop.run_in_executor(None, _update_all, [(self._sha256, held)])

    async def hexdigest(self) -> str:
        """Of all that came; nothing may come afterwards."""
        await self._catch_up()
        if self._held_bytes > INLINE_BYTES:
            await self._hashing.update(self._sha256, self._held)
        else:
            _update_all([(self._sha256, self._held)])
        return self._sha256.hexdigest()

    async def _catch_up(self) -> None:
        if self._block is not None:
            await self._block


def _update_all(work: Sequence[_Work]) -> None:
    for sha256, pieces in work:
        for piece in pieces:
            sha256.update(piece)
