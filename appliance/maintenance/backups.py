"""Backups by themselves, where the settings name a place: taken when one is due, and proven.

When is read from what is recorded: a restart takes none too many.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from appliance.backups.backups import Backups, tell_of_lacking
from appliance.clock import Clock, since
from appliance.database import backups as records
from appliance.database.backups import Backup
from appliance.database.protocol import Database
from appliance.errors import BackupRunning

log = structlog.get_logger()

AGAIN_S = 3600.0
"""After one that failed, or a proof that did not come to its end."""
LOOKED_AT = 50
"""Of the latest that are recorded."""


class BackupTaker:
    name = "backups"
    interval_s = 60.0

    def __init__(
        self,
        backups: Backups,
        *,
        database: Database,
        clock: Clock,
        every_s: float,
        prove_every_s: float,
    ) -> None:
        self._backups = backups
        self._database = database
        self._clock = clock
        self._every_s = every_s
        self._prove_every_s = prove_every_s
        self._gave_up_at: float | None = None
        """Proving, on the monotonic clock; None: the last proof came to its end."""

    async def run_once(self) -> Mapping[str, int]:
        try:
            return {"taken": await self._take(), "proven": await self._prove()}
        except BackupRunning:
            return {}  # by the command, or because somebody asked for one

    async def _take(self) -> int:
        now = self._clock.now()
        known = await self._known()
        tried = next(iter(known), None)
        taken = next((one for one in known if one.snapshot), None)
        if taken is not None and since(taken.began_at, now) < self._every_s:
            return 0
        if tried is not None and tried is not taken and since(tried.began_at, now) < AGAIN_S:
            return 0
        tell_of_lacking(await self._backups.take())
        return 1

    async def _prove(self) -> int:
        now = self._clock.now()
        last = await self._database.read(records.last_proof(now=now, place=self._backups.url))
        if last.at is not None and now - last.at < self._prove_every_s:
            return 0
        if self._gave_up_at is not None and self._clock.monotonic() - self._gave_up_at < AGAIN_S:
            return 0  # each try may read all of it
        newest = next((one for one in await self._known() if one.snapshot), None)
        if newest is None or newest.snapshot is None:
            return 0
        try:
            proof = await self._backups.prove(newest.snapshot)
        except BackupRunning:
            raise
        except Exception:
            self._gave_up_at = self._clock.monotonic()
            raise
        self._gave_up_at = None
        for fault in proof.faults:
            log.error("backup_damaged", snapshot=newest.snapshot, fault=fault)
        return 1

    async def _known(self) -> list[Backup]:
        """Of this place, the newest first."""
        now = self._clock.now()
        latest = await self._database.read(records.latest(LOOKED_AT, now=now))
        return [one for one in latest if one.place == self._backups.url]
