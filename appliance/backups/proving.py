"""Proving that a backup can be restored, without restoring it over anything.

Every file is read against its digest, the database is opened as a start would open it and looked
through, and every file that it names is looked for in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from appliance.backups import place as places
from appliance.backups.copies import OpenDatabase, named_files
from appliance.backups.index import Index
from appliance.backups.manifest import DATABASE, Entry, entries_of
from appliance.errors import BackupInvalid, DatabaseCorrupt, ObjectMissing
from appliance.storage.protocol import Storage

MOST_FAULTS = 100
"""That are told one by one."""


class Proof:
    """What was found; `faults` are empty for a backup that can be restored."""

    def __init__(self) -> None:
        self.files = 0
        self.size_bytes = 0
        self.faults: list[str] = []
        self.more = 0
        """Faults beyond those."""

    def fault(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)
        else:
            self.more += 1


async def prove(
    place: Storage,
    snapshot: str,
    *,
    folder: Path,
    open_copy: OpenDatabase,
    now: float,
    counted: Callable[[int], None] = lambda size_bytes: None,
) -> Proof:
    """`folder` is an empty one, for the copy of the database.

    Raises StorageUnavailable, StorageFull, DatabaseUnavailable: then nothing is known of it.
    """
    proof = Proof()
    path = folder / "database"
    with Index(folder / "named") as named, Index(folder / "read") as seen:
        try:
            async for entry in entries_of(place, snapshot):
                named.add(entry.key)
                await _prove_entry(place, entry, path, seen, proof, counted)
        except (BackupInvalid, ObjectMissing) as error:
            proof.fault(error.detail)
        if path.exists():
            await _prove_database(path, named, open_copy, proof, now)
        else:
            proof.fault("The copy of the database is not in the backup, or is damaged.")
    return proof


async def _prove_entry(
    place: Storage,
    entry: Entry,
    database: Path,
    seen: Index,
    proof: Proof,
    counted: Callable[[int], None],
) -> None:
    stored = entry.stored
    if stored is None:
        return  # it was not in the store either; the backup has said so
    proof.files += 1
    proof.size_bytes += stored.size_bytes
    try:
        if entry.key == DATABASE:
            await places.fetch(place, stored, database, counted)
        elif stored.sha256 not in seen:
            seen.add(stored.sha256)
            async for _ in places.read(place, stored, counted):
                pass
    except ObjectMissing as error:
        proof.fault(f"{entry.key}: {error.detail}")


async def _prove_database(
    path: Path, named: Index, open_copy: OpenDatabase, proof: Proof, now: float
) -> None:
    try:
        database = await open_copy(path)
    except DatabaseCorrupt as error:
        proof.fault(error.detail)
        return
    try:
        for fault in await database.check(now=now):
            proof.fault(f"The copy of the database is damaged: {fault}.")
        async for file in named_files(database):
            if file.storage_key not in named:
                proof.fault(f"{file.storage_key} is in the database and not in the backup.")
    except DatabaseCorrupt as error:
        proof.fault(error.detail)
    finally:
        await database.close()
