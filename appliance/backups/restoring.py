"""Restoring a backup: into a data directory and a store that hold nothing yet.

Files first, each against its digest, the database last and in one step: so there is a database only
once everything that it names is there. Stopped in the middle, it is begun again and goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.backups import place as places
from appliance.backups.copies import OpenDatabase
from appliance.backups.manifest import DATA, DATABASE, DELETED, Entry, entries_of, head_of
from appliance.data_dir import RESTORING
from appliance.database import ages, job_reads, jobs, resumables, stored_files
from appliance.database.protocol import Transaction
from appliance.directories import make_directory, sync_directory
from appliance.errors import BackupInvalid, ObjectMissing
from appliance.storage.protocol import Storage, components
from appliance.threads import in_thread


@dataclass
class Restored:
    snapshot: str
    encrypted: bool
    files: int = 0
    size_bytes: int = 0
    lacking: list[str] = field(default_factory=list)
    """Keys that were not in the store when the backup was taken, or are damaged in it."""


async def check_empty(
    data_dir: Path, *, database: str | None, store: Storage, snapshot: str
) -> None:
    """`database` says what there is, where there is one with something in it.

    Raises BackupInvalid where there is something already, unless this restore was begun.
    """
    mark = data_dir / RESTORING
    if mark.exists() and mark.read_text("utf-8") == snapshot:
        return
    files = await places.names(store, "raw") + await places.names(store, "processed")
    if database is not None or files:
        raise BackupInvalid(
            f"There is something already: {database or 'files in the store'}. Restore into an "
            "empty place: set APPLIANCE_DATA_DIR (and APPLIANCE_STORAGE_URL and "
            "APPLIANCE_DATABASE_URL, where they are set) to a new one."
        )
    mark.write_text(snapshot, "utf-8")
    sync_directory(data_dir)


async def restore(
    place: Storage,
    snapshot: str,
    *,
    data_dir: Path,
    coming: Path,
    adopt: Callable[[Path], Awaitable[None]],
    store: Storage,
    open_copy: OpenDatabase,
    despite_damage: bool = False,
    counted: Callable[[int], None] = lambda size_bytes: None,
) -> Restored:
    """`store` takes the bytes as they are. `check_empty` goes before. The database is made ready
    in the file `coming`, which is `adopt`ed when all else is there.

    Raises BackupInvalid where something is damaged in the backup, after all else was restored,
    unless `despite_damage`; and StorageFull, StorageUnavailable.
    """
    head = await head_of(place, snapshot)
    restored = Restored(snapshot, head.encrypted)
    make_directory(coming.parent)
    await in_thread(coming.unlink, missing_ok=True)
    faults, deleted = [], []
    async for entry in entries_of(place, snapshot):
        try:
            await _restore_entry(place, entry, data_dir, coming, store, counted)
        except ObjectMissing as error:
            faults.append(f"{entry.key}: {error.detail}")
            restored.lacking.append(entry.key)
        if entry.lacking == DELETED:
            deleted.append(entry.key)
        elif entry.stored is None:
            restored.lacking.append(entry.key)
        else:
            restored.files += 1
            restored.size_bytes += entry.size_bytes
    if not await in_thread(coming.exists) or (faults and not despite_damage):
        await in_thread(coming.unlink, missing_ok=True)
        raise BackupInvalid(
            "The backup is damaged: " + " ".join(faults[:5] or ["it has no database."]) + " Use "
            "another snapshot, or restore the rest with --despite-damage."
        )
    copy = await open_copy(coming)
    try:
        await copy.write(resumables.forget_unfinished())
        for key in sorted(deleted):  # `processed` before `raw`
            await copy.write(_let_go(key, now=head.taken_at))
    finally:
        await copy.close()
    await adopt(coming)
    (data_dir / RESTORING).unlink()
    return restored


def _let_go(key: str, *, now: float) -> Transaction[None]:
    """A file that was deleted while the backup was taken: by its age or with its job, or a result
    with its attempt. Jobs that have results stay with them. Those of a deleted file were final;
    here perhaps not yet."""
    folder, an_id, _ = key.split("/", 2)
    if folder == "processed":
        yield from ages.lose_results(an_id)
        return
    for job_id in (yield from stored_files.jobs_of(an_id)):
        yield from jobs.cancel(job_id, now=now, actor="system")
        job = yield from job_reads.get(job_id)
        if job is not None and not job.files:
            yield from stored_files.delete(job_id)
    yield from ages.lose_original(an_id, now=now)


async def _restore_entry(
    place: Storage,
    entry: Entry,
    data_dir: Path,
    database: Path,
    store: Storage,
    counted: Callable[[int], None],
) -> None:
    stored = entry.stored
    if stored is None:
        return
    if entry.key == DATABASE:
        await places.fetch(place, stored, database, counted)
    elif entry.key.startswith(DATA):
        path = _within(data_dir, entry.key.removeprefix(DATA))
        make_directory(path.parent)
        path.unlink(missing_ok=True)
        await places.fetch(place, stored, path, counted)
        path.chmod(0o600)
    else:
        try:
            components(entry.key)
        except ValueError as error:
            raise BackupInvalid(f"The backup names what is no stored file: {error}.") from error
        async with await store.receive(entry.key) as incoming:
            async for piece in places.read(place, stored, counted):
                await incoming.write(piece)
            await incoming.commit()


def _within(data_dir: Path, name: str) -> Path:
    """Raises BackupInvalid for a name that leads elsewhere."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise BackupInvalid(f"The backup names a file outside of the data directory: {name!r}.")
    return data_dir / name
