"""Faults of the surroundings: what keeps work from being begun, and when it may go on.

A full disk, a store, a database or a nursery that is down says nothing about a job. Whoever
meets such a fault hands the job back and closes the gate of its pool; the gate probes what
failed and opens by itself. Only the pool that met the fault waits, so that a nursery of videos
that does not come up holds no picture back. No job is claimed to find out.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from appliance.clock import Clock
from appliance.database import workers
from appliance.database.protocol import Database
from appliance.database.workers import Outage
from appliance.errors import (
    ApplianceError,
    DatabaseUnavailable,
    NurseryUnavailable,
    ScannerUnavailable,
    StorageFull,
    StorageUnavailable,
)
from appliance.retry import LONGEST_HINT_S
from appliance.scanning.protocol import Scanner
from appliance.storage.protocol import Storage
from appliance.threads import in_thread

log = structlog.get_logger()

SURROUNDINGS = (
    NurseryUnavailable,
    StorageFull,
    StorageUnavailable,
    DatabaseUnavailable,
    ScannerUnavailable,
)
"""Faults that say nothing about the job: it is handed back, and no retry is counted."""

SURROUNDINGS_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""What the kernel says in our own process when they are at fault. Other errors of a scratch folder
may be a hostile child's doing, which must not be handed back for ever."""

FULL_SHARE = 0.25
"""Of the reserve that uploads leave free: with less than this share of it, work that writes files
cannot be expected to succeed."""
ROOM_SHARE = 0.375
"""With this share free, work goes on after the disk was full: more, so that it does not flutter."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0
TRIED_BYTES = 4 * 1024**2
"""For which there has to be room after an attempt failed, else that is taken to be why."""
FEW_NAMES = 200
"""With fewer inodes left, the same."""
LOOK_EVERY_S = 1.0
"""How old the last look at the free space may be."""


class Surroundings:
    """What all pools of the process stand on."""

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        scanner: Scanner | None,
        scratch_dir: Path,
        reserve_bytes: int,
    ) -> None:
        self._database = database
        self._storage = storage
        self._scanner = scanner
        self._scratch_dir = scratch_dir
        self._full_bytes = int(reserve_bytes * FULL_SHARE)
        self._room_bytes = int(reserve_bytes * ROOM_SHARE)
        self._looked_at = float("-inf")
        self._free_bytes = 0

    async def check_room(self, least_bytes: int | None = None) -> None:
        """Raises StorageFull when work that writes files cannot be expected to succeed."""
        least_bytes = self._full_bytes if least_bytes is None else least_bytes
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._free_bytes = await self.free_bytes()
            self._looked_at = time.monotonic()
        if self._free_bytes < least_bytes:
            raise StorageFull(
                f"The disk is nearly full: {self._free_bytes // 1024**2} MiB are free. Free some "
                "space; work goes on by itself."
            )

    async def check_room_for(self, size_bytes: int) -> None:
        """As `check_room`, for a copy of so many bytes."""
        await self.check_room(self._full_bytes + size_bytes)

    async def free_bytes(self) -> int:
        """The least of what scratch and store have. Raises StorageUnavailable."""
        try:
            usage = await in_thread(shutil.disk_usage, self._scratch_dir)
        except OSError as error:
            raise StorageUnavailable(f"The scratch folder fails: {error.strerror}.") from error
        space = await self._storage.space()
        return usage.free if space is None else min(usage.free, space.free_bytes)

    async def is_full(self) -> bool:
        """Whether the lack of room, rather than the file, may be why an attempt failed.

        Room is tried too: a quota, or a disk that has bytes but no inodes left, shows no other
        way, and where no reserve is kept, the free bytes say nothing.
        """
        if await self.free_bytes() < self._full_bytes:
            return True
        return await in_thread(self._lacks_room)

    def _lacks_room(self) -> bool:
        names = os.statvfs(self._scratch_dir)
        if names.f_files and names.f_favail < FEW_NAMES:  # some file systems do not count them
            return True
        try:
            with tempfile.NamedTemporaryFile(dir=self._scratch_dir) as file:
                os.posix_fallocate(file.fileno(), 0, TRIED_BYTES)
        except OSError as error:
            return error.errno in (errno.ENOSPC, errno.EDQUOT)
        return False

    async def probe(self, fault: ApplianceError) -> None:
        """Raises what still keeps work from succeeding that failed with `fault`."""
        self._looked_at = float("-inf")
        if isinstance(fault, (StorageFull, StorageUnavailable)):
            await self.check_room(self._room_bytes)
            # Without the cold place, all work goes on but that on what lies there.
            await self._storage.check(hot_only=True)
        if isinstance(fault, (StorageFull, DatabaseUnavailable)):
            await self._database.write(workers.probe())
        if isinstance(fault, ScannerUnavailable) and self._scanner is not None:
            await self._scanner.check()


class Gate:
    """Whether a pool may begin work. Closed by a fault, opened when its cause is gone."""

    def __init__(
        self,
        name: str,
        surroundings: Surroundings,
        clock: Clock,
        *,
        probe: Callable[[], Awaitable[None]],
    ) -> None:
        """`probe` looks at what is the pool's own, its nursery, and raises while that is down."""
        self._name = name
        self._surroundings = surroundings
        self._clock = clock
        self._probe = probe
        self._fault: ApplianceError | None = None
        self.outage: Outage | None = None

    def close(self, fault: ApplianceError) -> None:
        """Keep shut until what failed works again. A second fault while shut changes nothing but
        what is probed."""
        self._fault = fault
        if self.outage is None or self.outage.code != fault.code:
            since = self._clock.now() if self.outage is None else self.outage.since
            self.outage = Outage(fault.code, fault.detail, since)
            log.warning("pool_paused", type=self._name, code=fault.code, reason=fault.detail)

    async def look(self) -> ApplianceError | None:
        """A fault that would keep the next job from succeeding, while the gate is open."""
        if self.outage is not None:
            return None  # whoever waits at the gate probes
        try:
            await self._surroundings.check_room()
        except ApplianceError as fault:
            return fault
        return None

    async def passed(self) -> None:
        """Return when work may be begun."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if self._fault is not None:
                    fault = self._fault
                    await asyncio.sleep(max(pause_s, min(fault.retry_after_s or 0, LONGEST_HINT_S)))
                    await self._surroundings.probe(fault)
                await self._surroundings.check_room()
                await self._probe()
            except ApplianceError as fault:
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                self.close(fault)
                continue
            if self.outage is not None:
                out_s = max(0.0, self._clock.now() - self.outage.since)
                log.info("pool_resumed", type=self._name, after_s=round(out_s, 1))
            self._fault = self.outage = None
            return
