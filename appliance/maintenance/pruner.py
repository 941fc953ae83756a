"""The pruner: clears away what nothing refers to any more.

- sessions and sign-in links that have expired
- originals that were made durable but whose rows were not (a crash between the two)
- results of attempts that never settled
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.clock import Clock
from appliance.database import jobs, keys
from appliance.database.protocol import Database
from appliance.errors import ObjectMissing
from appliance.ids import is_id, time_of
from appliance.storage.protocol import Storage

BATCH = 500
YOUNG_S = 3600.0
"""A file this young may belong to an upload whose rows are being written just now."""


class Pruner:
    name = "pruner"
    interval_s = 3600.0

    def __init__(self, *, database: Database, storage: Storage, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._clock = clock

    async def run_once(self) -> Mapping[str, int]:
        return {
            "sessions": await self._database.write(keys.delete_expired(now=self._clock.now())),
            "orphan_originals": await self._prune_originals(),
            "orphan_results": await self._prune_results(),
        }

    async def _prune_originals(self) -> int:
        pruned = 0
        for ids in await self._old_ids("raw"):
            known = await self._database.read(jobs.known_uploads(ids))
            for orphan in set(ids) - known:
                pruned += await self._storage.delete(f"raw/{orphan}")
        return pruned

    async def _prune_results(self) -> int:
        pruned = 0
        for ids in await self._old_ids("processed"):
            # First what lies there, then what is in use: an attempt is claimed before it stores.
            found = [
                f"processed/{job_id}/{number}"
                for job_id in ids
                for number in await self._attempts_of(job_id)
            ]
            keys_in_use, running = await self._database.read(jobs.results_in_use(ids))
            in_use = {key.rpartition("/")[0] for key in keys_in_use} | {
                f"processed/{job_id}/{attempt}" for job_id, attempt in running.items()
            }
            for prefix in found:
                if prefix not in in_use:
                    pruned += await self._storage.delete(prefix)
        return pruned

    async def _attempts_of(self, job_id: str) -> list[str]:
        try:
            return [number async for number in self._storage.list(f"processed/{job_id}")]
        except ObjectMissing:
            return []  # deleted since it was listed

    async def _old_ids(self, prefix: str) -> list[list[str]]:
        """Ids of the jobs that have files below `prefix`, in batches."""
        youngest = self._clock.now() - YOUNG_S
        ids = [
            name
            async for name in self._storage.list(prefix)
            if is_id(name) and time_of(name) < youngest
        ]
        return [ids[at : at + BATCH] for at in range(0, len(ids), BATCH)]
