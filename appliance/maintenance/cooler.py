"""The cooler: moves originals to the cheaper place once they are old enough.

An original that a job still works on stays, and so does one that somebody reads for as long as he
reads. A cold place that does not answer or is full stops the pass, loses nothing, and is told.
Where the store's own rules move what is old, they are given time for it: then what they have moved
is only recorded here, and the rest moved. What is too small to cost less there stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from appliance.clock import Clock
from appliance.database import audit, lifecycle
from appliance.database.protocol import Database, Transaction
from appliance.errors import ApplianceError, ObjectMissing, StorageRefused
from appliance.storage.own_rules import OwnRules
from appliance.storage.protocol import Storage

log = structlog.get_logger()

BATCH = 100
DAY_S = 24 * 3600.0
GRACE_S = 3 * DAY_S
"""Of the store's own rules, which are followed once a day, some time after midnight."""


class Cooler:
    name = "cooler"
    interval_s = 3600.0

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        clock: Clock,
        after_s: float,
        own_rules: OwnRules | None = None,
        counted: Callable[[int], None] = lambda size_bytes: None,
    ) -> None:
        """`storage` has a cold place; `after_s` is the age at which an original goes there.
        `own_rules` are those of the store that are to be waited for, if there are any. `counted` is
        told the size of each that was moved."""
        self._database = database
        self._storage = storage
        self._clock = clock
        self._after_s = after_s
        self._own_rules = own_rules
        self._counted = counted

    async def run_once(self) -> Mapping[str, int]:
        files = size_bytes = 0
        after, error = "", None
        try:
            before = self._clock.now() - self._after_s - await self._grace_s()
            while batch := await self._database.read(
                lifecycle.to_make_cold(
                    before=before,
                    least_bytes=self._storage.least_cold_bytes,
                    after=after,
                    limit=BATCH,
                )
            ):
                after = batch[-1].id
                for file in batch:
                    try:
                        await self._storage.make_cold(file.storage_key)
                    except ObjectMissing as fault:  # damaged ones too; the scrubber tells of them
                        log.warning("file_not_moved", key=file.storage_key, reason=fault.detail)
                        continue
                    now = self._clock.now()
                    if await self._database.write(lifecycle.mark_cold(file.id, now=now)):
                        files, size_bytes = files + 1, size_bytes + file.size_bytes
                        self._counted(file.size_bytes)
        except ApplianceError as fault:
            error = fault.detail
            raise
        finally:
            await self._database.write(self._noted(files, size_bytes, error))
        return {"moved": files}

    async def _grace_s(self) -> float:
        """Raises StorageUnavailable."""
        if self._own_rules is None:
            return 0.0
        try:
            rules = await self._own_rules.installed()
        except StorageRefused:  # it has no rules, or tells us none: then none is ours
            return 0.0
        cooling = rules.cooling if rules is not None else None
        follows = (
            cooling is not None
            and (cooling.storage_class, cooling.prefix)
            == (self._own_rules.cold_class, self._own_rules.originals)
            and 0 < cooling.after_days * DAY_S <= self._after_s
        )
        return GRACE_S if follows else 0.0

    def _noted(self, files: int, size_bytes: int, error: str | None) -> Transaction[None]:
        now = self._clock.now()
        yield from lifecycle.note(now=now, files=files, size_bytes=size_bytes, error=error)
        if files:
            detail = {"files": files, "bytes": size_bytes}
            yield from audit.add(
                actor="system", action="storage.cool", subject="raw", now=now, detail=detail
            )
