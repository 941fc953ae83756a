"""The pruner: clears away what nothing refers to any more.

- sessions and sign-in links that have expired
- originals that were made durable but whose rows were not (a crash between the two)
- results of attempts that never settled
- originals and results that are older than their age, unless their job waits for review or is
  pinned, and jobs that have no others; one act of the audit log for each batch
- parts of uploads to an object store that were never ended
- ended redrives, deliveries of webhooks, and the lanes of owners who have long had their turn
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from appliance.acts import Acts
from appliance.clock import Clock
from appliance.database import ages, audit, deliveries, keys, redrives, stored_files, turns
from appliance.database.ages import Ages, Expired, Kind
from appliance.database.protocol import Database, Transaction
from appliance.errors import ObjectMissing
from appliance.ids import is_id, time_of
from appliance.storage.protocol import Storage

BATCH = 500
EXPIRED_TOGETHER = 100
"""Originals, or jobs that lose their results, in one transaction with the act of the audit log that
names them."""
YOUNG_S = 3600.0
"""Results this young may belong to an attempt that is being settled just now."""
YOUNG_ORIGINAL_S = 30 * 24 * 3600.0
"""An original without a row is left over from a crash before the answer, or newer than the backup
that the database was restored from: then it may be somebody's only copy."""
KEEP_REDRIVES_S = 30 * 24 * 3600.0
KEEP_DELIVERIES_S = 30 * 24 * 3600.0


class Pruner:
    name = "pruner"
    interval_s = 3600.0

    def __init__(
        self,
        *,
        database: Database,
        storage: Storage,
        acts: Acts,
        clock: Clock,
        file_ages: Ages,
        counted: Callable[[int], None] = lambda size_bytes: None,
    ) -> None:
        """`counted` is told what each job took that was deleted by its age."""
        self._database = database
        self._storage = storage
        self._acts = acts
        self._clock = clock
        self._ages = file_ages
        self._counted = counted

    async def run_once(self) -> Mapping[str, int]:
        old = self._clock.now() - KEEP_REDRIVES_S
        return {
            "expired_originals": await self._expire("originals"),
            "expired_results": await self._expire("results"),
            "redrives": await self._database.write(redrives.forget_ended(before=old)),
            "lanes": await self._database.write(turns.forget_idle()),
            "deliveries": await self._prune_deliveries(),
            "sessions": await self._database.write(keys.delete_expired(now=self._clock.now())),
            "orphan_originals": await self._prune_originals(),
            "orphan_results": await self._prune_results(),
            "abandoned_parts": await self._storage.tidy(),
        }

    async def _expire(self, kind: Kind) -> int:
        """How many files of that kind went by their age."""
        await self._storage.space()  # raises where the files could not go with their rows
        files, now = 0, self._clock.now()
        while ids := await self._database.read(
            ages.due(kind, self._ages.of(kind), now=now, limit=EXPIRED_TOGETHER)
        ):
            for expired in await self._database.write(self._expired(kind, ids, now)):
                await self._acts.delete_expired(expired)
                self._counted(expired.size_bytes)
                files += expired.originals + expired.results
        return files

    def _expired(self, kind: Kind, ids: list[str], now: float) -> Transaction[list[Expired]]:
        found = []
        for an_id in ids:
            expired = yield from ages.expire(kind, an_id, now=now)
            if expired is not None:
                found.append(expired)
        told = [one for one in found if one.originals or one.results]
        if told:
            job_ids = [job_id for one in told for job_id in one.job_ids]
            detail = {
                "originals": sum(one.originals for one in told),
                "results": sum(one.results for one in told),
                "bytes": sum(one.size_bytes for one in told),
                "jobIds": job_ids,
            }
            yield from audit.add(
                actor="system",
                action="storage.delete",
                subject=kind,
                now=now,
                detail=detail,
                jobs=len(job_ids),
            )
        return found

    async def _prune_deliveries(self) -> int:
        before = self._clock.now() - KEEP_DELIVERIES_S
        pruned = 0
        while count := await self._database.write(deliveries.prune(before=before, limit=BATCH)):
            pruned += count
        return pruned

    async def _prune_originals(self) -> int:
        pruned = 0
        for ids in await self._old_ids("raw", YOUNG_ORIGINAL_S):
            known = await self._database.read(stored_files.known_uploads(ids))
            for orphan in set(ids) - known:
                pruned += await self._storage.delete(f"raw/{orphan}")
        return pruned

    async def _prune_results(self) -> int:
        pruned = 0
        for ids in await self._old_ids("processed", YOUNG_S):
            # First what lies there, then what is in use: an attempt is claimed before it stores.
            found = [
                f"processed/{job_id}/{number}"
                for job_id in ids
                for number in await self._attempts_of(job_id)
            ]
            keys_in_use, running = await self._database.read(stored_files.results_in_use(ids))
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

    async def _old_ids(self, prefix: str, young_s: float) -> list[list[str]]:
        """Ids of the jobs that have files below `prefix` and are older than that, in batches."""
        youngest = self._clock.now() - young_s
        ids = [
            name
            async for name in self._storage.list(prefix)
            if is_id(name) and time_of(name) < youngest
        ]
        return [ids[at : at + BATCH] for at in range(0, len(ids), BATCH)]
