"""The scrubber: reads every stored file slowly against its digest, over and over.

A disk that rots says nothing until somebody reads, and then it may be too late for the last backup
that is whole. What is not what was stored is told and not served any more; what was put right is
found by the next pass, or by `appliance scrub`. How far it is survives a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing

import msgspec
import structlog

from appliance.clock import Clock, since
from appliance.database import scrub, stored_files
from appliance.database.protocol import Database, Transaction
from appliance.database.scrub import Scrub
from appliance.database.stored_files import StoredFile
from appliance.errors import ObjectDamaged, ObjectMissing, StorageFull, StorageUnavailable
from appliance.storage.protocol import Storage
from appliance.threads import in_thread

log = structlog.get_logger()

BATCH = 20
BATCH_BYTES = 256 * 1024 * 1024
"""Files between two notes of how far it is, and of what size."""


class Outcome(msgspec.Struct, frozen=True):
    """Of a whole pass: what was read, and how many files are out of order now."""

    files: int
    bytes: int
    damaged: int
    missing: int
    """Originals; a result that is gone counts as damaged."""
    unreadable: int
    """Not judged: the store works, and these could not be read."""

    @property
    def is_sound(self) -> bool:
        return not (self.damaged or self.missing or self.unreadable)


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
        if at is None or (at.ended_at is not None and since(at.began_at, now) >= self._every_s):
            await self._database.write(scrub.begin(now=now))
            at = await self._database.read(scrub.progress())
        if at is None or at.ended_at is not None:
            return {}
        return await self._read_batch(at)

    async def pass_over_all(self) -> Outcome:
        """A whole pass, now. Raises StorageUnavailable, StorageFull."""
        await self._database.write(scrub.begin(now=self._clock.now()))
        unreadable = 0
        while True:
            at = await self._database.read(scrub.progress())
            assert at is not None
            if at.ended_at is not None:
                damaged = (await self._database.read(scrub.out_of_order())).damaged
                missing = await self._database.read(stored_files.count_missing())
                return Outcome(at.files, at.bytes, damaged, missing, unreadable)
            unreadable += (await self._read_batch(at)).get("unreadable", 0)

    async def _read_batch(self, at: Scrub) -> Mapping[str, int]:
        files = _bounded(await self._database.read(scrub.next_files(at, limit=BATCH)))
        found: Counter[str] = Counter()
        for file in files:
            news = await self._look_at(file, is_original=not at.results)
            found.update([news] if news else [])
        await self._database.write(scrub.advance(at, files, now=self._clock.now()))
        return found

    async def _look_at(self, file: StoredFile, *, is_original: bool) -> str | None:
        """What is new of it. An original that is gone is missing, as the inspector has it."""
        try:
            is_sound = await self._is_sound(file)
        except ObjectDamaged:
            is_sound = False
        except ObjectMissing:
            if is_original:
                await self._database.write(self._gone(file))
                return None
            is_sound = False  # unless it went with its attempt: then no row names it any more
        except StorageUnavailable as fault:
            with contextlib.suppress(StorageFull):  # what is full can be read
                await self._storage.check()  # raises when it is not this file alone
            log.error("file_unreadable", key=file.storage_key, job_id=file.id, reason=fault.detail)
            now = self._clock.now()
            await self._database.write(scrub.mark_damaged(file, now=now, unreadable=fault.detail))
            return "unreadable"
        now = self._clock.now()
        if not is_sound:
            if not await self._database.write(scrub.mark_damaged(file, now=now)):
                return None
            log.error("file_damaged", key=file.storage_key, job_id=file.id)
            return "damaged"
        if is_original:
            found = stored_files.mark(missing=[], found=[file.id], now=now)
            await self._database.write(found)
        if not await self._database.write(scrub.mark_sound(file, now=now)):
            return None
        log.info("file_sound_again", key=file.storage_key, job_id=file.id)
        return "sound_again"

    def _gone(self, original: StoredFile) -> Transaction[None]:
        """What is not there is neither damaged nor unreadable: it is counted once."""
        yield from stored_files.mark(missing=[original.id], found=[], now=self._clock.now())
        yield from scrub.forget(original)

    async def _is_sound(self, file: StoredFile) -> bool:
        """Raises ObjectDamaged, ObjectMissing, StorageUnavailable."""
        digest = hashlib.sha256()
        pieces = self._storage.read(file.storage_key, size_bytes=file.size_bytes)
        async with aclosing(pieces):
            async for piece in pieces:
                await in_thread(digest.update, piece)
                self._counted(len(piece))
                if self._bytes_per_s is not None:
                    await asyncio.sleep(len(piece) / self._bytes_per_s)
        return digest.hexdigest() == file.sha256


def _bounded(files: list[StoredFile]) -> list[StoredFile]:
    """The first of them, as many as a restart may read again; at least one."""
    size_bytes = 0
    for number, file in enumerate(files, 1):
        size_bytes += file.size_bytes
        if size_bytes >= BATCH_BYTES:
            return files[:number]
    return files
