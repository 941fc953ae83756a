"""The inspector: looks, a few at a time, whether every original is where it should be.

It reports what is missing, in the log, the metrics and on the dashboard, and mends nothing: a
restored file is found again by a later look. It compares sizes, not content. Once a day it has
the database look through its own pages too: one that rotted says nothing until it is read.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from appliance.clock import Clock
from appliance.database import stored_files
from appliance.database.protocol import Database
from appliance.database.stored_files import StoredOriginal
from appliance.errors import ObjectMissing
from appliance.storage.protocol import Storage

log = structlog.get_logger()

BATCH = 200
"""Files that one pass looks at: a million in two weeks at most."""


CHECK_DATABASE_S = 24 * 3600.0


class Inspector:
    name = "inspector"
    interval_s = 60.0

    def __init__(self, *, database: Database, storage: Storage, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._clock = clock
        self._after = ""
        """Id of the upload that was looked at last; the pass after the last begins anew."""
        self._database_checked_at = float("-inf")

    async def run_once(self) -> Mapping[str, int]:
        return {**await self._look_at_files(), "database_faults": await self._check_database()}

    async def _check_database(self) -> int:
        now = self._clock.monotonic()
        if now - self._database_checked_at < CHECK_DATABASE_S:
            return 0
        self._database_checked_at = now
        faults = await self._database.check(now=self._clock.now())
        for fault in faults:
            log.error("database_fault", fault=fault)
        return len(faults)

    async def _look_at_files(self) -> Mapping[str, int]:
        originals = await self._database.read(
            stored_files.originals_after(self._after, limit=BATCH)
        )
        self._after = originals[-1].id if len(originals) == BATCH else ""
        missing, found = [], []
        for original in originals:
            is_there = await self._is_there(original)
            if not is_there and original.missing_since is None:
                missing.append(original.id)
                log.error("file_missing", upload_id=original.id, key=original.storage_key)
            elif is_there and original.missing_since is not None:
                found.append(original.id)
                log.info("file_found", upload_id=original.id, key=original.storage_key)
        if missing or found:
            await self._database.write(
                stored_files.mark(missing=missing, found=found, now=self._clock.now())
            )
        return {"missing": len(missing), "found": len(found)}

    async def _is_there(self, original: StoredOriginal) -> bool:
        try:
            return await self._storage.size(original.storage_key) == original.size_bytes
        except ObjectMissing:
            # Deleted with its job since the list was read, it is missed by nobody.
            known = await self._database.read(stored_files.known_uploads([original.id]))
            return not known
