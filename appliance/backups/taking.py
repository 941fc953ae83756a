"""Taking a backup, beside a server that goes on working.

First the database as it is at one moment, then the files that it names: a file never changes under
its key, and the rows of a file are there before anybody is told of it. A file whose job was deleted
meanwhile is gone; then the database is copied once more, which does not name it any more.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import appliance
from appliance.backups import place as places
from appliance.backups.copies import OpenDatabase, named_files
from appliance.backups.index import Index
from appliance.backups.manifest import (
    DATA,
    DATABASE,
    DELETED,
    Entry,
    Head,
    Writer,
    entries_of,
    head_of,
)
from appliance.backups.place import Stored
from appliance.clock import Clock
from appliance.database import stored_files
from appliance.database.protocol import Database
from appliance.database.stored_files import StoredFile
from appliance.directories import make_directory
from appliance.errors import BackupRunning, ObjectDamaged, ObjectMissing, StorageUnavailable
from appliance.storage import keyring
from appliance.storage.local_files import READ_BYTES
from appliance.storage.protocol import Storage
from appliance.threads import in_thread

ROUNDS = 3
"""How often the database is copied because files were deleted meanwhile. Where somebody deletes all
the time, the last copy still names some; the manifest says so, and a restore lets them go."""

KEPT_BESIDE = ("admin.key", "node-id", "presets")
"""Of the data directory: what a restored server goes on with. The rest is made anew."""


@dataclass
class Taken:
    """What a backup holds, and what it took to make it."""

    snapshot: str
    files: int = 0
    size_bytes: int = 0
    new_files: int = 0
    new_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    """Keys of files that the database names and the store does not have."""
    deleted: list[str] = field(default_factory=list)
    """Keys of files that were deleted between the copy of the database and their own."""
    damaged: list[str] = field(default_factory=list)
    """Keys of files whose bytes are not those that were stored, or cannot be read."""


@contextmanager
def alone(work_dir: Path) -> Iterator[Path]:
    """A folder for this backup's own files; no other one runs on the data directory meanwhile.

    Raises BackupRunning.
    """
    make_directory(work_dir)
    with (work_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRunning from None
        folder = work_dir / "work"
        shutil.rmtree(folder, ignore_errors=True)  # of a life that was killed
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Taker:
    def __init__(
        self,
        *,
        database: Database,
        store: Storage,
        is_encrypted: bool,
        place: Storage,
        data_dir: Path,
        folder: Path,
        open_copy: OpenDatabase,
        clock: Clock,
        trusting: bool = True,
        counted: Callable[[int], None] = lambda size_bytes: None,
    ) -> None:
        """`store` gives the bytes as they lie: encrypted ones stay so. `folder` is that of `alone`;
        `counted` is told the size of each piece that was copied. Not `trusting`, what the place has
        already is read before it is relied on: after a proof that found damage.
        """
        self._database = database
        self._store = store
        self._is_encrypted = is_encrypted
        self._place = place
        self._data_dir = data_dir
        self._folder = folder
        self._open_copy = open_copy
        self._clock = clock
        self._trusting = trusting
        self._counted = counted

    async def take(self) -> Taken:
        """Raises StorageFull, StorageUnavailable, BackupInvalid."""
        with Index(self._folder / "known") as known:
            if self._trusting:
                await self._recall(known)
            for last in range(1, ROUNDS + 1):
                now = self._clock.now()
                taken = Taken(places.snapshot_name(now))
                head = Head(
                    format=1,
                    taken_at=now,
                    version=appliance.__version__,
                    encrypted=self._is_encrypted,
                )
                with Writer(self._folder / "manifest", head) as writer:
                    await self._copy_all(known, writer, taken)
                    if not taken.deleted or last == ROUNDS:
                        await writer.publish(self._place, taken.snapshot)
                        return taken
        raise AssertionError("the last round publishes")

    async def _recall(self, known: Index) -> None:
        """What the newest backup has, unless files from before encryption were among it: these are
        replaced under their keys once they are encrypted."""
        for snapshot in (await places.snapshots(self._place, now=self._clock.now()))[-1:]:
            was_encrypted = (await head_of(self._place, snapshot)).encrypted
            if was_encrypted != self._is_encrypted:
                return
            async for entry in entries_of(self._place, snapshot):
                known.add(entry.key, entry.stored)
            if keyring.PLAINTEXT in known:
                known.clear()

    async def _copy_all(self, known: Index, writer: Writer, taken: Taken) -> None:
        path = self._folder / "database"
        path.unlink(missing_ok=True)
        await self._database.copy_to(path)
        database = await self._open_copy(path)
        try:
            async for file in named_files(database):
                await self._copy_file(file, known, writer, taken)
        finally:
            await database.close()
        await self._copy_keys(known, writer, taken)
        for beside in self._beside():
            name = DATA + str(beside.relative_to(self._data_dir))
            await self._add_local(name, beside, writer, taken)
        await self._add_local(DATABASE, path, writer, taken)

    async def _copy_file(
        self, file: StoredFile, known: Index, writer: Writer, taken: Taken
    ) -> None:
        key = file.storage_key
        stored = known.get(key)
        if stored is None:
            try:
                if self._is_encrypted:  # the digest that is recorded is that of the open bytes
                    stored = await self._digest_of(key)
                else:
                    stored = Stored(file.sha256, file.size_bytes)
                await self._copy(key, stored, taken)
            except ObjectDamaged:
                taken.damaged.append(key)
                writer.add(Entry(key=key, lacking="damaged"))
                return
            except ObjectMissing:
                is_lost = await self._database.read(stored_files.is_named(key))
                (taken.missing if is_lost else taken.deleted).append(key)
                writer.add(Entry(key=key, lacking="missing" if is_lost else DELETED))
                return
            known.add(key, stored)
        _add(key, stored, writer, taken)

    async def _copy_keys(self, known: Index, writer: Writer, taken: Taken) -> None:
        """The wrapped keys of an encrypted store. The master key is not among them."""
        keys = await keyring.objects(self._store) if self._is_encrypted else []
        if self._is_encrypted and not keys:
            raise StorageUnavailable("The store does not list its wrapped keys yet. Try again.")
        for key in keys:
            stored = await self._digest_of(key)
            await self._copy(key, stored, taken)
            _add(key, stored, writer, taken)

    async def _copy(self, key: str, stored: Stored, taken: Taken) -> None:
        """Raises ObjectMissing, ObjectDamaged."""
        if await self._is_there(stored):
            return
        digest, size = hashlib.sha256(), 0
        async with await self._place.receive(stored.key) as incoming:
            async with aclosing(self._read(key)) as pieces:
                async for piece in pieces:
                    await in_thread(digest.update, piece)
                    size += len(piece)
                    await incoming.write(piece)
                    self._counted(len(piece))
            if (digest.hexdigest(), size) != stored:
                raise ObjectDamaged(f"{key} is not what was stored.")
            await incoming.commit()
        taken.new_files += 1
        taken.new_bytes += size

    async def _is_there(self, stored: Stored) -> bool:
        if self._trusting or not await places.has(self._place, stored):
            return await places.has(self._place, stored)
        try:
            async for _ in places.read(self._place, stored, self._counted):
                pass
        except ObjectDamaged:
            return False
        return True

    async def _digest_of(self, key: str) -> Stored:
        digest, size = hashlib.sha256(), 0
        async with aclosing(self._read(key)) as pieces:
            async for piece in pieces:
                await in_thread(digest.update, piece)
                size += len(piece)
        return Stored(digest.hexdigest(), size)

    async def _read(self, key: str) -> AsyncGenerator[bytes, None]:
        """Raises ObjectDamaged also for one that cannot be read while the store works: a bad sector
        keeps no other file from being copied."""
        try:
            async with aclosing(self._store.read(key)) as pieces:
                async for piece in pieces:
                    yield piece
        except StorageUnavailable as fault:
            await self._store.check()  # raises when it is not this file alone
            raise ObjectDamaged(f"{key} cannot be read: {fault.detail}") from fault

    def _beside(self) -> Iterator[Path]:
        for name in KEPT_BESIDE:
            path = self._data_dir / name
            if path.is_file():
                yield path
            elif path.is_dir():
                yield from sorted(one for one in path.rglob("*") if one.is_file())

    async def _add_local(self, name: str, path: Path, writer: Writer, taken: Taken) -> None:
        stored = await places.digest_of(path)
        if not await self._is_there(stored):
            async with await self._place.receive(stored.key) as incoming:
                with path.open("rb") as file:
                    while piece := await in_thread(file.read, READ_BYTES):
                        await incoming.write(piece)
                        self._counted(len(piece))
                await incoming.commit()
            taken.new_files += 1
            taken.new_bytes += stored.size_bytes
        _add(name, stored, writer, taken)


def _add(name: str, stored: Stored, writer: Writer, taken: Taken) -> None:
    writer.add(Entry(key=name, sha256=stored.sha256, size_bytes=stored.size_bytes))
    taken.files += 1
    taken.size_bytes += stored.size_bytes
