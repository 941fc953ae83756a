"""Backups of this appliance in one place: taken, thinned out, proven, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import structlog

from appliance.backups.copies import OpenDatabase
from appliance.backups.proving import Proof, prove
from appliance.backups.taking import Taken, Taker, alone
from appliance.backups.thinning import thin
from appliance.clock import Clock
from appliance.database import audit
from appliance.database import backups as records
from appliance.database.protocol import Database, Transaction
from appliance.errors import ApplianceError
from appliance.storage.local_files import translated
from appliance.storage.protocol import Storage

log = structlog.get_logger()

Counted = Callable[[int], None]


def _uncounted(size_bytes: int) -> None:
    pass


class UnderWay(NamedTuple):
    """What this process does just now."""

    what: Literal["taken", "proven"]
    began_at: float
    size_bytes: int
    """Copied, or read, so far."""


@dataclass
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
    under_way: UnderWay | None = field(default=None, init=False)
    """None: nothing, though another process may take one."""

    async def take(
        self, *, actor: str | None = None, begun: Callable[[], None] = lambda: None
    ) -> Taken:
        """Take one, and let go of those beyond `keep`. Recorded, also when it fails.

        `actor` is who asked for it, for the audit log; None: nobody. `begun` is called once it is
        recorded. Raises BackupRunning, StorageFull, StorageUnavailable, BackupInvalid.
        """
        with alone(self.data_dir / "backup") as folder, self._told("taken") as began_at:
            trusting = not await self.database.read(records.is_damaged(self.url, now=began_at))
            await self.database.write(self._begun(actor, began_at))
            begun()
            try:
                with translated(folder):
                    taken = await self._taker(folder, trusting=trusting).take()
                    await self._thin_out(taken.snapshot, folder)
            except Exception as error:  # also one that nobody foresaw: else it seems under way
                reason = error.detail if isinstance(error, ApplianceError) else repr(error)
                await self.database.write(records.end(began_at, now=self.clock.now(), error=reason))
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
        """Raises BackupRunning, StorageFull, StorageUnavailable, DatabaseUnavailable: then it is
        not proven, and nothing is recorded."""
        with (
            alone(self.data_dir / "backup") as folder,
            self._told("proven"),
            translated(folder),
        ):
            proof = await prove(
                self.place,
                snapshot,
                folder=folder,
                open_copy=self.open_copy,
                now=self.clock.now(),
                counted=self._count,
            )
            faults = "; ".join(proof.faults[:3]) or None
            await self.database.write(
                records.prove(self.url, snapshot, now=self.clock.now(), faults=faults)
            )
            return proof

    async def _thin_out(self, taken: str, folder: Path) -> None:
        now = self.clock.now()
        known = await self.database.read(records.snapshots(self.url, now=now))
        await thin(self.place, taken=taken, known=known, keep=self.keep, now=now, folder=folder)

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
            counted=self._count,
        )

    @contextmanager
    def _told(self, what: Literal["taken", "proven"]) -> Iterator[float]:
        """When it began."""
        self.under_way = UnderWay(what, self.clock.now(), 0)
        try:
            yield self.under_way.began_at
        finally:
            self.under_way = None

    def _count(self, size_bytes: int) -> None:
        if self.under_way is not None:
            so_far = self.under_way.size_bytes + size_bytes
            self.under_way = self.under_way._replace(size_bytes=so_far)
        self.counted(size_bytes)

    def _begun(self, actor: str | None, now: float) -> Transaction[None]:
        yield from records.begin(self.url, now=now)
        if actor is not None:
            yield from audit.add(actor=actor, action="backup.take", subject=self.url, now=now)


def tell_of_lacking(taken: Taken) -> None:
    """Into the log."""
    if taken.missing or taken.damaged:
        log.error(
            "backup_lacks_files",
            missing=taken.missing[:20],
            damaged=taken.damaged[:20],
            count=len(taken.missing) + len(taken.damaged),
        )
