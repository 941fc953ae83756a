"""Backups of a real database and store, with a clock that is moved, and a place that fails."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.backups import place as places
from appliance.backups import restoring, taking
from appliance.backups.asked import AskedBackups
from appliance.backups.backups import Backups
from appliance.backups.taking import Taker
from appliance.database import ages, job_reads, jobs, stored_files
from appliance.database import backups as records
from appliance.database.backups import Backup
from appliance.database.protocol import Database, Transaction
from appliance.database.sqlite import SqliteDatabase
from appliance.errors import ShuttingDown, StorageFull, StorageUnavailable
from appliance.ids import new_id
from appliance.jobs import Job
from appliance.maintenance.backups import AGAIN_S, BackupTaker
from appliance.maintenance.scrubber import Scrubber
from appliance.storage.local import LocalStorage
from tests import databases
from tests.clocks import MovedClock
from tests.conformance.test_storage import put
from tests.records import a_job, a_result

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
YEAR_S = 365 * DAY_S


class FailingPlace(LocalStorage):
    """A place that may be away, or a disk beside it that is full, while it is read."""

    fault: Exception | None = None
    reads = 0

    async def read(self, key: str, **options: Any) -> AsyncGenerator[bytes, None]:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        async for piece in super().read(key, **options):
            yield piece


@dataclass
class Stage:
    folder: Path
    clock: MovedClock
    database: Database
    store: LocalStorage
    place: FailingPlace
    backups: Backups

    def taker(self, *, prove_every_s: float = 7 * DAY_S) -> BackupTaker:
        """Takes one every hour."""
        return BackupTaker(
            self.backups,
            database=self.database,
            clock=self.clock,
            every_s=HOUR_S,
            prove_every_s=prove_every_s,
        )

    async def known(self) -> list[Backup]:
        return await self.database.read(records.latest(1000, now=self.clock.now()))

    async def snapshots(self) -> list[str]:
        return await places.snapshots(self.place, now=self.clock.now())

    async def stored(self, *results: str) -> Job:
        """A job, completed, with these results."""
        original = new_id().encode()
        sha256 = hashlib.sha256(original).hexdigest()
        job = a_job(size_bytes=len(original), sha256=sha256)
        await put(self.store, job.storage_key, original)
        await self.database.write(jobs.create([job]))
        claim = jobs.claim(job.id, worker="worker", now=self.clock.now())
        assert await self.database.write(claim) is not None
        files = []
        for name in results:
            content = f"{job.id} {name}".encode()
            file = msgspec.structs.replace(
                a_result(job.id, 1, name),
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            await put(self.store, file.storage_key, content)
            files.append(file)
        completed = jobs.complete(job.id, attempt=1, files=files, result={}, now=self.clock.now())
        assert await self.database.write(completed)
        return job


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = MovedClock()
    database = await databases.opened(tmp_path / "data")
    store = LocalStorage.open(tmp_path / "files")
    LocalStorage.open(tmp_path / "place", folders=())
    place = FailingPlace(tmp_path / "place")
    backups = Backups(
        database=database,
        store=store,
        is_encrypted=False,
        place=place,
        url="file:///place",
        data_dir=tmp_path / "data",
        keep=1,
        open_copy=SqliteDatabase.open,
        clock=clock,
    )
    yield Stage(tmp_path, clock, database, store, place, backups)
    await database.close()


# --- proving --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [StorageUnavailable("It is away."), StorageFull("No room.")])
async def test_what_could_not_be_read_is_not_proven_and_not_damaged(
    stage: Stage, fault: Exception
) -> None:
    await stage.stored()
    taker = stage.taker()
    stage.place.fault = fault
    with pytest.raises(type(fault)):
        await taker.run_once()
    (backup,) = await stage.known()
    assert backup.snapshot
    assert (backup.proven_at, backup.faults) == (None, None)
    tried = stage.place.reads
    stage.place.fault = None
    stage.clock.pass_time(60)
    await taker.run_once()
    assert stage.place.reads == tried, "each try may read all of it"
    stage.clock.pass_time(AGAIN_S)
    await taker.run_once()
    newest = (await stage.known())[0]
    assert (newest.proven_at, newest.faults) == (stage.clock.now(), None)


async def test_a_file_that_is_gone_is_damage(stage: Stage) -> None:
    job = await stage.stored()
    await stage.taker(prove_every_s=YEAR_S)._take()
    await stage.place.delete(f"{places.OBJECTS}/{job.sha256[:2]}/{job.sha256}")
    await stage.taker().run_once()
    (backup,) = await stage.known()
    assert backup.faults is not None
    assert job.storage_key in backup.faults


async def test_a_proof_a_week_however_many_backups(stage: Stage) -> None:
    taker = stage.taker()
    assert await taker.run_once() == {"taken": 1, "proven": 1}
    (first,) = await stage.known()
    proven = []
    for hour in range(1, 7 * 24 + 1):
        stage.clock.pass_time(HOUR_S)
        at = stage.clock.now()
        await stage.database.write(records.begin(stage.backups.url, now=at))
        await stage.database.write(records.end(at, now=at, snapshot=first.snapshot))
        if await taker._prove():
            proven.append(hour)
    assert proven == [7 * 24]


async def test_what_is_forgotten_is_neither_the_last_taken_nor_the_last_proof(
    stage: Stage,
) -> None:
    url = stage.backups.url
    await stage.backups.take()
    (taken,) = await stage.known()
    assert taken.snapshot
    await stage.database.write(records.prove(url, taken.snapshot, now=1.0, faults=None))
    for number in range(150):
        await stage.database.write(records.begin(url, now=stage.clock.now() + 1 + number))
    stage.clock.pass_time(200)
    known = await stage.known()
    assert len(known) == records.MOST_REMEMBERED + 1
    assert known[-1].snapshot == taken.snapshot
    proof = await stage.database.read(records.last_proof(now=stage.clock.now(), place=url))
    assert proof == (1.0, 1.0)
    stage.clock.wall -= DAY_S  # now more than are remembered are to come
    await stage.database.write(records.begin(url, now=stage.clock.now()))
    assert (await stage.known())[0].began_at == stage.clock.now()


# --- a clock that was wrong -------------------------------------------------------------------


async def test_one_of_a_clock_that_was_ahead_shadows_none(stage: Stage) -> None:
    taker = stage.taker()
    stage.backups.keep = 2
    stage.clock.wall += YEAR_S
    assert (await taker.run_once()) == {"taken": 1, "proven": 1}
    (ahead,) = await stage.snapshots()
    stage.clock.wall -= YEAR_S
    assert (await taker.run_once()) == {"taken": 1, "proven": 1}
    _, taken = await stage.snapshots()
    assert taken < ahead
    assert await places.chosen(stage.place, None, now=stage.clock.now()) == taken
    assert [one.snapshot for one in await stage.known()] == [taken, ahead]
    assert (await taker.run_once()) == {"taken": 0, "proven": 0}
    stage.clock.pass_time(HOUR_S)
    assert (await taker.run_once())["taken"] == 1
    first, newest = await stage.snapshots()
    assert first == taken < newest < ahead


async def test_the_one_taken_just_now_stays_when_the_clock_is_set_back_meanwhile(
    stage: Stage,
) -> None:
    first = (await stage.backups.take()).snapshot
    stage.clock.wall += YEAR_S

    def set_back(size_bytes: int) -> None:
        stage.clock.moved_to(1_000_100.0)

    stage.backups.counted = set_back
    await stage.stored()
    taken = (await stage.backups.take()).snapshot
    assert first < places.snapshot_name(stage.clock.now()) < taken
    assert await stage.snapshots() == [taken]


async def test_a_scrub_of_a_clock_that_was_ahead_is_not_waited_for(stage: Stage) -> None:
    scrubber = Scrubber(
        database=stage.database,
        storage=stage.store,
        clock=stage.clock,
        bytes_per_s=None,
        every_s=30 * DAY_S,
    )
    stage.clock.wall += YEAR_S
    assert (await scrubber.pass_over_all()).is_sound
    stage.clock.wall -= YEAR_S
    job = await stage.stored()
    await stage.store.delete(job.storage_key)
    await put(stage.store, job.storage_key, b"another")
    assert await scrubber.run_once() == {"damaged": 1}


# --- how one ends -----------------------------------------------------------------------------


async def test_one_that_breaks_is_not_under_way(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Taker) -> Any:
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(Taker, "take", broken)
    with pytest.raises(KeyError):
        await stage.backups.take()
    (backup,) = await stage.known()
    assert backup.ended_at == stage.clock.now()
    assert "nobody foresaw this" in (backup.error or "")


async def test_one_that_is_about_to_begin_ends_with_the_server(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def slow(transaction: Transaction[Any]) -> Any:
        transaction.close()
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.database, "write", slow)
    asked = AskedBackups(stage.backups)
    beginning = asyncio.create_task(asked.begin(actor="key:A"))
    await reached.wait()
    await asked.close()
    with pytest.raises(ShuttingDown):
        await beginning
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "backup"]


# --- what goes while one is taken -------------------------------------------------------------


async def restored(stage: Stage) -> tuple[Database, LocalStorage]:
    """The newest backup, elsewhere."""
    new = stage.folder / "new"
    new.mkdir()
    store = LocalStorage.open(new / "files")
    (snapshot,) = await stage.snapshots()
    await restoring.check_empty(new, database=None, store=store, snapshot=snapshot)
    coming = new / "coming.db"

    async def adopt(path: Path) -> None:
        path.rename(new / "appliance.db")

    await restoring.restore(
        stage.place,
        snapshot,
        data_dir=new,
        coming=coming,
        adopt=adopt,
        store=store,
        open_copy=SqliteDatabase.open,
    )
    return await SqliteDatabase.open(new / "appliance.db"), store


async def test_files_that_go_by_age_meanwhile_take_no_other_along(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the copy of the database, the only one here, and that of the files."""
    monkeypatch.setattr(taking, "ROUNDS", 1)
    no_original = await stage.stored("a.webp")
    no_results = await stage.stored("a.webp", "b.webp")
    nothing = await stage.stored("a.webp")
    untouched = await stage.stored("a.webp")
    copy_to = stage.database.copy_to

    async def copy_and_expire(path: Path) -> None:
        await copy_to(path)
        now = stage.clock.now() + 2 * ages.DAY_S
        for job, kinds in (
            (no_original, ("originals",)),
            (no_results, ("results",)),
            (nothing, ("results", "originals")),
        ):
            for kind in kinds:
                assert await stage.database.write(ages.expire(kind, job.id, ages.Age(1), now=now))
                folder = "raw" if kind == "originals" else "processed"
                assert await stage.store.delete(f"{folder}/{job.id}")

    monkeypatch.setattr(stage.database, "copy_to", copy_and_expire)
    assert len((await stage.backups.take()).deleted) == 5
    database, store = await restored(stage)
    try:
        left = {}
        for job in (no_original, no_results, nothing, untouched):
            found = await database.read(job_reads.get(job.id))
            left[job.id] = found and (found.files_left, [file.name for file in found.files])
        assert left == {
            no_original.id: ("results", ["a.webp"]),
            no_results.id: ("original", []),
            nothing.id: None,
            untouched.id: ("all", ["a.webp"]),
        }
        assert await store.size(f"processed/{no_original.id}/1/a.webp")
        assert await store.size(no_results.storage_key)
    finally:
        await database.close()


async def test_a_job_that_is_deleted_meanwhile_stays_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "ROUNDS", 1)
    job = a_job(sha256=hashlib.sha256(b"abc").hexdigest())
    await put(stage.store, job.storage_key, b"abc")
    await stage.database.write(jobs.create([job]))
    copy_to = stage.database.copy_to

    async def copy_and_delete(path: Path) -> None:
        await copy_to(path)
        cancelled = jobs.cancel(job.id, now=stage.clock.now(), actor="key:A")
        assert (await stage.database.write(cancelled)) is not None
        assert await stage.database.write(stored_files.delete(job.id))
        await stage.store.delete(f"raw/{job.id}")

    monkeypatch.setattr(stage.database, "copy_to", copy_and_delete)
    assert (await stage.backups.take()).deleted == [job.storage_key]
    database, _ = await restored(stage)
    try:
        assert await database.read(job_reads.get(job.id)) is None
    finally:
        await database.close()
