"""Requests that are under way beside each other: so many of one upload, so many of all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from appliance.storage.buckets.protocol import Body


class InFlight:
    """Of one upload. Whoever begins some ends with `finish`, or with `cancel`."""

    def __init__(self, turns: asyncio.Semaphore, most: int) -> None:
        """`turns`: those that all uploads share."""
        self._turns = turns
        self._places = asyncio.Semaphore(most)
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None

    async def begin(self, work: Coroutine[Any, Any, None], body: Body | None = None) -> None:
        """Return when there was a place for it. `body` is discarded when it is over.

        Raises what an earlier one came to.
        """
        try:
            await self.place()
        except BaseException:
            _end(work, body)
            raise
        self.start(work, body)

    async def place(self) -> None:
        """Return when there is one, for the caller to `start` something in.

        Raises what an earlier one came to.
        """
        await self._places.acquire()
        self._check()

    def start(self, work: Coroutine[Any, Any, None], body: Body | None = None) -> None:
        """As `begin`, in a place that there is."""

        def done(task: asyncio.Task[None]) -> None:
            # Not in the task: one that is cancelled before its first step runs no line of its own.
            self._tasks.discard(task)
            self._places.release()
            _end(work, body)

        task = asyncio.create_task(self._do(work), name="part")
        self._tasks.add(task)
        task.add_done_callback(done)

    async def finish(self) -> None:
        """Return when all are done. Raises what one of them came to."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._check()

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with self._turns:
                await work
        except Exception as fault:  # noqa: BLE001  whoever began it is told
            self._fault = self._fault or fault

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault


def _end(work: Coroutine[Any, Any, None], body: Body | None) -> None:
    work.close()
    if body is not None:
        body.discard()
