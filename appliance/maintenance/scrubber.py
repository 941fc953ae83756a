"""The scrubber: reads every stored file slowly against its digest, over and over.

A disk that rots says nothing until somebody reads, and then it may be too late for the last backup
that is whole. What is not what was stored is told and not served any more; what was put right is
found by the next pass, or by `appliance scrub`. How far it is survives a restart.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import aclosing

import structlog

from appliance.clock import Clock
from appliance.database import scrub
from appliance.database.protocol import Database
from appliance.database.scrub import Scrub
from appliance.database.stored_files import StoredFile
from appliance.errors import ObjectDamaged, ObjectMissing
from appliance.storage.protocol import Storage
from appliance.threads import in_thread

log = structlog.get_logger()

BATCH = 20
"""Files between two notes of how far it is."""


class Scrubber:
    name = "scrubber"
    interval_s = 1.0

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        clock: Clock,
        bytes_per_s: float | None,
        every_s: float,
        counted: Callable[[int], None] = lambda size_bytes: None,
    ) -> None:
        """`bytes_per_s` None: as fast as it goes. `every_s`: from the begin of a pass to that of
        the next. `counted` is told the size of each piece that was read."""
        self._database = database
        self._storage = storage
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._every_s = every_s
        self._counted = counted

    async def run_once(self) -> Mapping[str, int]:
        """A batch of files; one after the other makes a pass."""
        at = await self._database.read(scrub.progress())
        now = self._clock.now()
        if at is None or (at.ended_at is not None and now - at.began_at >= self._every_s):
            await self._database.write(scrub.begin(now=now))
            at = await self._database.read(scrub.progress())
        if at is None or at.ended_at is not None:
            return {}
        return await self._read_batch(at)

    async def pass_over_all(self) -> tuple[int, Scrub]:
        """A whole pass, now; how many damaged files it found, and what it read."""
        await self._database.write(scrub.begin(now=self._clock.now()))
        while True:
            at = await self._database.read(scrub.progress())
            assert at is not None
            if at.ended_at is not None:
                return await self._database.read(scrub.count_damaged()), at
            await self._read_batch(at)

    async def _read_batch(self, at: Scrub) -> Mapping[str, int]:
        files = await self._database.read(scrub.next_files(at, limit=BATCH))
        damaged = found = 0
        for file in files:
            is_sound = await self._is_sound(file)
            if is_sound is None:
                continue
            if is_sound:
                if await self._database.write(scrub.mark_sound(file.storage_key)):
                    log.info("file_sound_again", key=file.storage_key)
                    found += 1
            elif await self._database.write(scrub.mark_damaged(file, now=self._clock.now())):
                log.error("file_damaged", key=file.storage_key, job_id=file.id)
                damaged += 1
        await self._database.write(scrub.advance(at, files, now=self._clock.now()))
        return {"damaged": damaged, "sound_again": found}

    async def _is_sound(self, file: StoredFile) -> bool | None:
        """None: it is not there; the inspector tells of originals that are missing, and a result
        goes with its attempt."""
        digest = hashlib.sha256()
        pieces = self._storage.read(file.storage_key, size_bytes=file.size_bytes)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    await in_thread(digest.update, piece)
                    self._counted(len(piece))
                    if self._bytes_per_s is not None:
                        await asyncio.sleep(len(piece) / self._bytes_per_s)
        except ObjectDamaged:
            return False
        except ObjectMissing:
            return None
        return digest.hexdigest() == file.sha256
