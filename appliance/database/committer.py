"""Group commit: transactions that arrive while one commit is under way share the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog

from appliance.database.protocol import Transaction
from appliance.errors import DatabaseUnavailable
from appliance.threads import Steadfast

log = structlog.get_logger()
T = TypeVar("T")

Batch = Sequence[Transaction[Any]]


class Returned(NamedTuple):
    value: Any


Outcomes = Sequence[Returned | BaseException]
"""Of transactions of a batch, in its order: the value of each, or what it raised."""


class _Waiting(NamedTuple):
    transaction: Transaction[Any]
    future: asyncio.Future[Any]


class Committer:
    """Hands batches to `commit`, which returns when they are durable, with the outcomes of all of
    them or of the first few; the others come again, first, with the next batch. What it raises,
    all of the batch are told.
    """

    def __init__(
        self, commit: Callable[[Batch], Awaitable[Outcomes]], *, most: int, name: str
    ) -> None:
        self._commit = commit
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._commit_batches(), name=name)

    async def write(self, transaction: Transaction[T]) -> T:
        if self._closing:
            raise DatabaseUnavailable("The database is closed; the server is stopping.")
        # Cancelled or not, it will be committed: the caller's cleanup must find it settled.
        future: asyncio.Future[T] = Steadfast(loop=asyncio.get_running_loop())
        self._waiting.append(_Waiting(transaction, future))
        self._arrived.set()
        return await future

    async def close(self) -> None:
        """What waits is committed; nothing more is taken."""
        self._closing = True
        self._arrived.set()
        await self._task

    async def _commit_batches(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            count = min(len(self._waiting), self._most)
            batch = [self._waiting.popleft() for _ in range(count)]
            try:
                outcomes = await self._commit([one.transaction for one in batch])
            except Exception as error:  # noqa: BLE001 - top of a loop: the batch fails, we go on
                log.error("commit_failed", transactions=count, error=str(error))
                outcomes = [error] * count
            self._waiting.extendleft(reversed(batch[len(outcomes) :]))
            for (_, future), outcome in zip(batch, outcomes, strict=False):
                if isinstance(outcome, Returned):
                    future.set_result(outcome.value)
                else:
                    future.set_exception(outcome)
