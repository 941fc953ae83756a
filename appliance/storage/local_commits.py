"""Making files durable, many with one sync.

Files that are to become objects at the same time are put in place one after the other and share
one `syncfs`: it makes all of them durable, with their names and their directories. One that comes
alone is synced alone, and so are all while the disk has much else to write, which a `syncfs` would
wait for. Either way nobody is told before his file is safe, and those that come while a sync runs
share the next one: the same as the database does with its commits.

A rename before the sync can leave an empty file under its final name after a power cut. Nothing
refers to it then: the row is written after the sync.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.storage.local_files import sync
from appliance.threads import Steadfast, in_thread

MAX_BATCH = 256
"""Files that share a sync; bounds how long the first of them waits."""

SHARE_FROM = 2
"""Fewer than this many are synced alone: three syncs of what is small cost less than one of all."""

MOST_DIRTY_BYTES = 256 * 1024**2
"""With more than this to be written by others, nobody is made to wait for it."""

_libc = ctypes.CDLL(None, use_errno=True)

Place = Callable[[], Sequence[Path]]
"""Puts a file where it belongs, on a thread; returns it and its directories, to be synced."""


@dataclass(frozen=True)
class _Waiting:
    place: Place
    future: asyncio.Future[None]


class LocalCommits:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._waiting: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None

    async def commit(self, place: Place) -> None:
        """Return when what `place` puts in place is durable. Raises what `place` raises, and
        OSError.

        Cancelled or not, it is done or has failed when this ends.
        """
        future: asyncio.Future[None] = Steadfast(loop=asyncio.get_running_loop())
        self._waiting.append(_Waiting(place, future))
        if self._running is None:
            self._running = asyncio.create_task(self._commit_batches(), name="file-commits")
        await future

    async def _commit_batches(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                try:
                    faults = await in_thread(self._commit, [one.place for one in batch])
                except Exception as error:  # noqa: BLE001  top of a loop: the batch fails
                    faults = [error] * len(batch)
                for one, fault in zip(batch, faults, strict=True):
                    if fault is None:
                        one.future.set_result(None)
                    else:
                        one.future.set_exception(fault)
        finally:
            self._running = None

    # --- on a thread --------------------------------------------------------------------------

    def _commit(self, places: Sequence[Place]) -> list[BaseException | None]:
        faults: list[BaseException | None] = []
        placed: list[Sequence[Path]] = []
        for place in places:
            try:
                placed.append(place())
                faults.append(None)
            except Exception as error:  # noqa: BLE001  whoever brought the file is told
                placed.append(())
                faults.append(error)
        if len(places) >= SHARE_FROM and _dirty_bytes() < MOST_DIRTY_BYTES:
            try:
                self._sync_all()
            except OSError as error:
                return [fault or error for fault in faults]
            return faults
        for position, paths in enumerate(placed):
            try:
                for path in paths:
                    sync(path)
            except OSError as error:
                faults[position] = error
        return faults

    def _sync_all(self) -> None:
        """syncfs(2): since Linux 5.8 it fails when anything could not be written."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _libc.syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)


def _dirty_bytes() -> int:
    """What all file systems together have still to write."""
    with open("/proc/meminfo", "rb") as file:  # noqa: PTH123  a hot path: no Path objects
        match = re.search(rb"Dirty:\s+(\d+) kB", file.read())
    return int(match[1]) * 1024 if match else 0
