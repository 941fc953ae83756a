"""The sweeper: ends unfinished uploads that have had no byte for too long, and brings to their end
those whose last byte came just before the server died."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.clock import Clock
from appliance.database import ownership, resumables
from appliance.database.protocol import Database
from appliance.intake.resumable import ResumableUploads
from appliance.metrics import Metrics

BATCH = 100
REMEMBER_S = 7 * 24 * 3600.0
"""How long it is known of an upload that has ended, and what came of an idempotency key."""


class Sweeper:
    name = "sweeper"
    interval_s = 30.0

    def __init__(
        self, *, database: Database, uploads: ResumableUploads, metrics: Metrics, clock: Clock
    ) -> None:
        self._database = database
        self._uploads = uploads
        self._metrics = metrics
        self._clock = clock

    async def run_once(self) -> Mapping[str, int]:
        finished = await self._uploads.finish_full()
        expired, freed_bytes = await self._uploads.expire(limit=BATCH)
        self._metrics.reclaimed_bytes.inc(freed_bytes)
        before = self._clock.now() - REMEMBER_S
        return {
            "uploads_finished": finished,
            "uploads_expired": expired,
            "freed_bytes": freed_bytes,
            "uploads_forgotten": await self._database.write(resumables.forget_ended(before=before)),
            "idempotency_keys": await self._database.write(ownership.forget_old(before=before)),
        }
