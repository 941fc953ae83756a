"""Backups of this appliance in one place: taken, thinned out, proven, and recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.backups import place as places
from appliance.backups.copies import OpenDatabase
from appliance.backups.proving import Proof, prove
from appliance.backups.taking import Taken, Taker, alone
from appliance.backups.thinning import thin
from appliance.clock import Clock
from appliance.database import backups as records
from appliance.database.protocol import Database
from appliance.errors import ApplianceError
from appliance.storage.local_files import translated
from appliance.storage.protocol import Storage

Counted = Callable[[int], None]


def _uncounted(size_bytes: int) -> None:
    pass


@dataclass(frozen=True)
class Backups:
    database: Database
    store: Storage
    """The bytes as they lie: encrypted ones stay so."""
    is_encrypted: bool
    place: Storage
    url: str
    """Of the place, for people."""
    data_dir: Path
    keep: int
    open_copy: OpenDatabase
    clock: Clock
    counted: Counted = field(default=_uncounted)
    """Told the size of each piece that was copied or read."""

    async def take(self) -> Taken:
        """Take one, and let go of those beyond `keep`. Recorded, also when it fails.

        Raises BackupRunning, StorageFull, StorageUnavailable, BackupInvalid.
        """
        with alone(self.data_dir / "backup") as folder:
            began_at = self.clock.now()
            trusting = not await self.database.read(records.is_damaged(self.url))
            await self.database.write(records.begin(self.url, now=began_at))
            try:
                with translated(folder):
                    taken = await self._taker(folder, trusting=trusting).take()
                    known = await self.database.read(records.snapshots(self.url))
                    known.add(taken.snapshot)
                    await thin(self.place, known=known, keep=self.keep, folder=folder)
            except ApplianceError as error:
                await self.database.write(
                    records.end(began_at, now=self.clock.now(), error=error.detail)
                )
                raise
            await self.database.write(
                records.end(
                    began_at,
                    now=self.clock.now(),
                    snapshot=taken.snapshot,
                    files=taken.files,
                    size_bytes=taken.size_bytes,
                    new_bytes=taken.new_bytes,
                    lacking=len(taken.missing) + len(taken.damaged),
                )
            )
            return taken

    async def prove(self, snapshot: str) -> Proof:
        """Raises BackupRunning, StorageUnavailable."""
        with alone(self.data_dir / "backup") as folder:
            proof = await prove(
                self.place,
                snapshot,
                folder=folder,
                open_copy=self.open_copy,
                now=self.clock.now(),
                counted=self.counted,
            )
            faults = "; ".join(proof.faults[:3]) or None
            await self.database.write(
                records.prove(self.url, snapshot, now=self.clock.now(), faults=faults)
            )
            return proof

    async def newest(self) -> str | None:
        there = await places.snapshots(self.place)
        return there[-1] if there else None

    def _taker(self, folder: Path, *, trusting: bool) -> Taker:
        return Taker(
            database=self.database,
            store=self.store,
            is_encrypted=self.is_encrypted,
            place=self.place,
            data_dir=self.data_dir,
            folder=folder,
            open_copy=self.open_copy,
            clock=self.clock,
            trusting=trusting,
            counted=self.counted,
        )
