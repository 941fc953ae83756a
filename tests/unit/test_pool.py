"""A pool with a real nursery, SQLite and files, and a processor that does what the file's name
says: every attempt ends in one settling, and nothing is left lying about."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from appliance.clock import SystemClock
from appliance.coordination.memory import MemoryCoordination
from appliance.database import job_reads, jobs, pauses, scrub, workers
from appliance.database.protocol import Database, Transaction
from appliance.database.stored_files import StoredFile
from appliance.errors import DatabaseUnavailable, NurseryUnavailable, StorageUnavailable
from appliance.jobs import LARGE_BYTES, Job, JobStatus, JobType
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.presets.preset import Preset, Presets
from appliance.processors.protocol import Description, Limits
from appliance.queue.table import TableQueue
from appliance.storage.local import LocalStorage
from appliance.storage.tiered import TieredStorage
from appliance.workers.attempt import Attempts
from appliance.workers.crew import Crew
from appliance.workers.entry_points import Installed
from appliance.workers.nursery import Nursery
from appliance.workers.outputs import Bounds
from appliance.workers.plugins import Plugin, Plugins
from appliance.workers.pool import Pool
from appliance.workers.surroundings import Surroundings
from tests import databases
from tests.records import a_job

DEADLINE_S = 15.0


class SickStorage(LocalStorage):
    """Takes no results while `sick`."""

    sick = False

    async def store_file(self, path: Path, key: str) -> None:
        if self.sick:
            raise StorageUnavailable("The disk failed.")
        await super().store_file(path, key)


class Works:
    def __init__(
        self,
        root: Path,
        database: Database,
        storage: SickStorage,
        queue: TableQueue,
        crew: Crew,
        pool: Pool,
    ) -> None:
        self.queue = queue
        self.root = root
        self.database = database
        self.storage = storage
        self.crew = crew
        self.pool = pool

    async def submit(self, behaviour: str, **fields: Any) -> str:
        job = a_job(filename=behaviour)
        key = f"raw/{job.id}/{behaviour}"
        job = a_job(id=job.id, filename=behaviour, storage_key=key, **fields)
        async with await self.storage.receive(job.storage_key) as incoming:
            await incoming.write(b"data")
            await incoming.commit()
        await self.database.write(jobs.create([job]))
        await self.queue.enqueue(job.id, job.type, priority=job.priority)
        return job.id

    async def until(self, job_id: str, condition: Callable[[Job], object]) -> Job:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            job = await self.database.read(job_reads.get(job_id))
            assert job is not None
            if condition(job):
                return job
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.01)

    async def status(self, job_id: str, status: JobStatus) -> Job:
        return await self.until(job_id, lambda job: job.status is status)

    async def outcomes(self, job_id: str) -> list[str | None]:
        return [one.outcome for one in await self.database.read(job_reads.attempts(job_id))]

    async def job(self, job_id: str) -> Job:
        return await self.until(job_id, lambda _job: True)

    async def until_quiet(self) -> None:
        """No attempt is under way, and so no child lives."""
        deadline = time.monotonic() + DEADLINE_S
        while self.pool.attempts_under_way():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def outage(self) -> workers.Outage:
        """What keeps the pool from working, as everybody is told."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            (told,) = await self.told_pools()
            if told.outage is not None:
                return told.outage
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def told_pools(self) -> list[workers.PoolState]:
        return await self.database.read(workers.pools())

    async def looked_at_the_queue(self) -> None:
        """The pool has asked for work again since this was called."""
        asked = asyncio.Event()
        read = self.database.read

        async def noting(transaction: Transaction[Any]) -> Any:
            found = await read(transaction)
            if transaction.__name__ == "ready":
                asked.set()
            return found

        self.database.read = noting  # type: ignore[method-assign]
        async with asyncio.timeout(DEADLINE_S):
            await asked.wait()
        self.database.read = read  # type: ignore[method-assign]

    def results(self) -> list[Path]:
        return [path for path in (self.root / "files/processed").rglob("*") if path.is_file()]


NewWorks = Callable[..., Awaitable[Works]]


@pytest.fixture
async def new_works(tmp_path: Path) -> AsyncIterator[NewWorks]:
    """Start a pool of one type: `await new_works(smallest=1)`."""
    clock = SystemClock()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    async with AsyncExitStack() as stack:

        async def make(
            *, smallest: int = 2, largest: int = 2, cold: bool = False, **options: Any
        ) -> Works:
            database = await databases.opened(tmp_path)
            stack.push_async_callback(database.close)
            hot = SickStorage(LocalStorage.open(tmp_path / "files")._root)
            storage: Any = hot
            if cold:
                storage = TieredStorage(hot, LocalStorage.open(tmp_path / "cold"))
            coordination = MemoryCoordination(clock)
            announcer = Announcer(coordination)
            queue = TableQueue(database, clock)
            attempts = Attempts(
                database=database,
                storage=storage,
                announcer=announcer,
                metrics=Metrics(),
                clock=clock,
                surroundings=Surroundings(
                    scanner=None,
                    database=database,
                    storage=storage,
                    scratch_dir=scratch,
                    reserve_bytes=1000,
                ),
                scratch_dir=scratch,
                limits=Limits(
                    memory_bytes=100_000_000, cpu_s=20, file_bytes=10_000_000, wall_s=30, idle_s=30
                ),
                **options,
            )
            pool = Pool(
                JobType.IMAGE,
                smallest=smallest,
                largest=largest,
                worker_id="w",
                nursery=Nursery(
                    "IMAGE",
                    scratch_dir=scratch,
                    processor="tests.hostile_processor",
                    sandbox="off",  # what the parent holds must hold without the child's walls
                ),
                attempts=attempts,
                queue=queue,
                database=database,
                coordination=coordination,
                announcer=announcer,
                clock=clock,
            )
            crew = Crew(
                [pool],
                worker_id="w",
                node="n",
                database=database,
                announcer=announcer,
                clock=clock,
                heartbeat_timeout_s=1.2,  # a beat every 0.2 s
                peak_bytes=attempts.peak_bytes,
            )
            await database.write(workers.register("w", node="n", now=clock.now()))
            stack.push_async_callback(crew.drain, 0.0)
            await crew.warm()
            await crew.start()
            return Works(tmp_path, database, storage, queue, crew, pool)

        yield make
    assert list(scratch.iterdir()) == []


@pytest.fixture
async def works(new_works: NewWorks) -> Works:
    return await new_works()


async def test_a_good_job_completes_with_its_results(works: Works) -> None:
    job_id = await works.submit("succeed")
    job = await works.status(job_id, JobStatus.COMPLETED)
    assert job.result == {"words": 1}
    (file,) = job.files
    assert (file.name, file.storage_key) == ("text.txt", f"processed/{job_id}/1/text.txt")
    assert (works.root / "files" / file.storage_key).read_text() == "hello"
    assert await works.outcomes(job_id) == ["completed"]


async def test_an_original_that_is_moved_before_it_is_opened_costs_no_retry(
    new_works: NewWorks, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = await new_works(cold=True)
    look = Attempts._input
    moved = []

    async def look_and_move(self: Attempts, job: Job, scratch: Path) -> Path:
        path = await look(self, job, scratch)
        if not moved:
            moved.append(path)
            await works.storage.make_cold(job.storage_key)
        return path

    monkeypatch.setattr(Attempts, "_input", look_and_move)
    job = await works.status(await works.submit("read_all"), JobStatus.COMPLETED)
    assert job.result == {"words": 1}
    assert await works.outcomes(job.id) == ["handed_back", "completed"]
    assert job.retry_count == 0


async def test_an_original_that_is_moved_while_it_is_looked_for_is_found(
    new_works: NewWorks, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = await new_works(cold=True)
    find = works.storage.local_path
    earlier = []

    def find_earlier(key: str) -> Path | None:
        """Where it lay before the move; then, where it is."""
        if not earlier:
            earlier.append(works.root / "files" / key)
            (works.root / "cold" / key).parent.mkdir(parents=True)
            earlier[0].rename(works.root / "cold" / key)
            return earlier[0]
        return find(key)

    monkeypatch.setattr(works.storage, "local_path", find_earlier)
    job = await works.status(await works.submit("read_all"), JobStatus.COMPLETED)
    assert await works.outcomes(job.id) == ["completed"]


async def test_a_damaged_original_fails_for_good_until_it_is_put_right(works: Works) -> None:
    await works.database.write(
        pauses.set_pause("type", "IMAGE", reason="disk swap", actor="key:A", now=1.0, until=None)
    )
    digest = hashlib.sha256(b"data").hexdigest()
    job_id = await works.submit("read_all", size_bytes=4, sha256=digest)
    job = await works.job(job_id)
    path = works.root / "files" / job.storage_key
    path.write_bytes(b"dat?")
    file = StoredFile(job.id, job.filename, job.storage_key, job.size_bytes, job.sha256)
    await works.database.write(scrub.mark_damaged(file, now=1.0))
    await works.database.write(pauses.resume("type", "IMAGE"))
    job = await works.status(job_id, JobStatus.FAILED)
    assert job.error is not None
    assert (job.error.code, job.error.permanent) == ("object_damaged", True)
    assert await works.outcomes(job_id) == ["failed"]
    path.write_bytes(b"data")  # and no pass of the scrubber since
    await works.database.write(jobs.redrive(job_id, now=2.0, actor="key:A"))
    assert (await works.status(job_id, JobStatus.COMPLETED)).result == {"words": 1}


def a_preset(name: str, version: int, **tables: dict[str, Any]) -> Preset:
    return Preset(name, version, "", tables, {}, Path(f"{name}.toml"), "")


async def test_the_child_is_asked_for_what_the_preset_says(new_works: NewWorks) -> None:
    presets = Presets(
        [
            a_preset("default", 1, hostile={"noise": 5}),
            a_preset("mine", 7, hostile={"mood": "mild"}, other={"mood": "another's"}),
            a_preset("silent", 3),
        ]
    )
    works = await new_works(presets=presets)
    made = {}
    for name in ("default", "mine", "silent"):
        job_id = await works.submit("tell_options", preset=name)
        job = await works.status(job_id, JobStatus.COMPLETED)
        made[name] = (job.result["mood"], job.result["noise"], job.preset_version)
    assert made == {
        "default": ("foul", 5, 1),
        "mine": ("mild", 5, 7),
        "silent": ("foul", 5, 3),
    }


async def test_a_preset_that_is_gone_is_told_and_not_retried(works: Works) -> None:
    job_id = await works.submit("succeed", preset="gone")
    job = await works.status(job_id, JobStatus.FAILED)
    assert job.error is not None
    assert (job.error.code, job.error.permanent) == ("preset_unknown", True)
    assert "preset gone" in job.error.message
    assert (job.retry_count, job.preset_version) == (0, None)
    assert await works.outcomes(job_id) == ["failed"]


async def test_a_permanent_fault_fails_at_once_and_keeps_the_record(works: Works) -> None:
    job_id = await works.submit("say_corrupt")
    job = await works.status(job_id, JobStatus.FAILED)
    assert job.error is not None
    assert (job.error.code, job.error.permanent, job.error.step) == (
        "corrupt_file",
        True,
        "reading",
    )
    (attempt,) = await works.database.read(job_reads.attempts(job_id))
    assert (attempt.outcome, attempt.error_class) == ("failed", "CorruptFile")
    assert "bad" in (attempt.stderr_tail or "")


@pytest.mark.parametrize("behaviour", ["fail", "leave_with_3", "segfault", "kill_nursery"])
async def test_a_fault_that_may_go_away_is_retried(works: Works, behaviour: str) -> None:
    job_id = await works.submit(behaviour)
    job = await works.status(job_id, JobStatus.RETRYING)
    assert job.retry_count == 1
    assert job.next_attempt_at is not None
    assert 2.0 <= job.next_attempt_at - time.time() + 0.5 <= 3.0
    good = await works.submit("succeed")
    await works.status(good, JobStatus.COMPLETED)


async def test_what_a_child_may_not_leave_is_not_kept(works: Works) -> None:
    job_id = await works.submit("leave_links")
    job = await works.status(job_id, JobStatus.FAILED)
    assert job.error is not None
    assert job.error.code == "output_refused"
    assert works.results() == []


async def test_a_missing_original_is_told_and_not_retried(works: Works) -> None:
    job = a_job(filename="succeed")
    await works.database.write(jobs.create([job]))
    failed = await works.status(job.id, JobStatus.FAILED)
    assert failed.error is not None
    assert failed.error.code == "object_missing"


async def test_no_more_at_once_than_there_are_workers(works: Works) -> None:
    ids = [await works.submit("hang") for _ in range(4)]
    await works.until(ids[0], lambda job: job.status is JobStatus.PROCESSING)
    await works.until(ids[1], lambda job: job.status is JobStatus.PROCESSING)
    assert len(works.pool.attempts_under_way()) == 2
    waiting = [await works.database.read(job_reads.get(job_id)) for job_id in ids[2:]]
    assert [job.status for job in waiting if job] == [JobStatus.PENDING, JobStatus.PENDING]


async def test_draining_hands_back_what_does_not_finish(works: Works) -> None:
    job_id = await works.submit("hang")
    await works.status(job_id, JobStatus.PROCESSING)
    await works.crew.drain(0.1)
    job = await works.status(job_id, JobStatus.PENDING)
    assert job.retry_count == 0
    assert await works.outcomes(job_id) == ["handed_back"]


async def test_a_claim_under_way_when_the_pool_stops_is_not_left_lying(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, claiming, go_on = works.database.write, asyncio.Event(), asyncio.Event()

    async def slowly(transaction: Transaction[Any]) -> Any:
        if transaction.__name__ == "claim_all":
            claiming.set()
            await go_on.wait()
        return await write(transaction)

    monkeypatch.setattr(works.database, "write", slowly)
    job_id = await works.submit("succeed")
    await claiming.wait()
    draining = asyncio.create_task(works.crew.drain(DEADLINE_S))
    await asyncio.sleep(0)  # the pool takes no more from here on
    await asyncio.sleep(0)
    go_on.set()
    await draining
    await works.status(job_id, JobStatus.COMPLETED)
    assert await works.outcomes(job_id) == ["completed"]


async def test_a_lost_lease_stops_the_work_and_writes_nothing(works: Works) -> None:
    job_id = await works.submit("hang")
    await works.status(job_id, JobStatus.PROCESSING)
    # As the rescuer and another worker would, while this one was paused.
    await works.database.write(
        jobs.release(job_id, attempt=1, now=2.0, outcome="lost", detail="paused")
    )
    await works.database.write(jobs.claim(job_id, worker="other", now=3.0))
    deadline = time.monotonic() + DEADLINE_S
    while works.pool.attempts_under_way():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    job = await works.database.read(job_reads.get(job_id))
    assert job is not None
    assert (job.status, job.attempt, job.worker) == (JobStatus.PROCESSING, 2, "other")


async def test_a_sick_store_burns_no_retry_and_work_resumes_by_itself(works: Works) -> None:
    works.storage.sick = True
    job_id = await works.submit("succeed")
    job = await works.until(job_id, lambda job: job.attempt and job.status is JobStatus.PENDING)
    assert (job.retry_count, job.error) == (0, None)
    outage = await works.outage()
    assert (outage.code, outage.reason) == ("storage_unavailable", "The disk failed.")
    other = await works.submit("succeed")
    works.storage.sick = False
    await works.status(job_id, JobStatus.COMPLETED)
    # No job was claimed to find out whether the store is well again.
    assert await works.outcomes(job_id) == ["handed_back", "completed"]
    await works.status(other, JobStatus.COMPLETED)
    assert await works.outcomes(other) == ["completed"]
    assert works.pool.state().outage is None


async def test_a_disk_that_is_nearly_full_is_seen_before_a_job_is_claimed(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = shutil.disk_usage(works.root)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _path: room._replace(free=200))
        outage = await works.outage()
        assert outage.code == "storage_full"
        job_id = await works.submit("succeed")
        assert (await works.job(job_id)).attempt == 0
    await works.status(job_id, JobStatus.COMPLETED)
    assert (await works.job(job_id)).attempt == 1


async def test_cancelling_stops_the_child_and_keeps_nothing(works: Works) -> None:
    job_id = await works.submit("hang")
    await works.until(job_id, lambda job: job.step == "hanging")
    job = await works.database.write(jobs.cancel(job_id, now=time.time(), actor="key:A"))
    assert job is not None
    assert (job.status, job.worker) == (JobStatus.CANCELLED, None)
    await works.until_quiet()
    assert await works.outcomes(job_id) == ["cancelled"]
    assert works.results() == []
    assert (await works.job(job_id)).status is JobStatus.CANCELLED


async def test_a_job_cancelled_while_it_waits_never_begins(new_works: NewWorks) -> None:
    works = await new_works(smallest=1, largest=1)
    running = await works.submit("hang")
    await works.status(running, JobStatus.PROCESSING)
    waiting = await works.submit("succeed")
    await works.database.write(jobs.cancel(waiting, now=time.time(), actor="key:A"))
    await works.database.write(jobs.cancel(running, now=time.time(), actor="key:A"))
    after = await works.submit("succeed")
    await works.status(after, JobStatus.COMPLETED)
    assert await works.outcomes(waiting) == []


async def test_results_that_outgrow_their_bound_together_end_the_attempt(
    new_works: NewWorks,
) -> None:
    works = await new_works(bounds=Bounds(max_total_bytes=30_000_000))
    job_id = await works.submit("flood_files")  # each file is within its own limit
    job = await works.status(job_id, JobStatus.FAILED)
    assert job.error is not None
    assert (job.error.code, job.error.permanent) == ("limit_exceeded", True)


async def test_a_small_file_does_not_wait_for_a_large_one_to_end(new_works: NewWorks) -> None:
    works = await new_works(smallest=1, largest=2)
    large = LARGE_BYTES + 1
    first = await works.submit("hang", size_bytes=large)
    await works.status(first, JobStatus.PROCESSING)
    second = await works.submit("hang", size_bytes=large)
    small = await works.submit("succeed")
    await works.status(small, JobStatus.COMPLETED)
    # The last worker is for small ones.
    assert (await works.job(second)).status is JobStatus.PENDING
    assert works.pool.target == 1


async def test_a_paused_type_is_not_begun_and_resumes(works: Works) -> None:
    await works.database.write(
        pauses.set_pause("type", "IMAGE", reason="disk swap", actor="key:A", now=1.0, until=None)
    )
    job_id = await works.submit("succeed")
    await works.looked_at_the_queue()
    assert (await works.job(job_id)).status is JobStatus.PENDING
    await works.database.write(pauses.resume("type", "IMAGE"))
    await works.status(job_id, JobStatus.COMPLETED)


async def test_the_pool_grows_with_the_queue_and_says_why(new_works: NewWorks) -> None:
    works = await new_works(smallest=1, largest=2)
    for _ in range(13):
        await works.submit("hang")
    deadline = time.monotonic() + DEADLINE_S
    while works.pool.target < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    while len(works.pool.attempts_under_way()) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    (told,) = await works.told_pools()
    assert (told.target, told.smallest, told.largest) == (2, 1, 2)
    assert "up to 2: 12 queued" in (told.decision or "")
    while not (kept := await works.database.read(workers.scalings(limit=10))):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    (grown,) = kept
    assert (grown.type, grown.node) == (JobType.IMAGE, "n")
    assert (grown.workers_before, grown.workers_after) == (1, 2)
    assert grown.reason == told.decision


async def test_a_hint_when_to_come_back_is_honoured(works: Works) -> None:
    job_id = await works.submit("come_back_later")
    job = await works.status(job_id, JobStatus.RETRYING)
    assert job.next_attempt_at is not None
    assert 55 < job.next_attempt_at - time.time() < 70


@pytest.mark.parametrize("behaviour", ["succeed", "say_corrupt"])
async def test_a_database_that_is_down_when_the_work_is_done_loses_nothing(
    works: Works, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    write, refused = works.database.write, []

    async def failing(transaction: Transaction[Any]) -> Any:
        if transaction.__name__ in ("complete", "fail") and not refused:
            refused.append(transaction)
            transaction.close()
            raise DatabaseUnavailable("The database failed.")
        return await write(transaction)

    monkeypatch.setattr(works.database, "write", failing)
    job_id = await works.submit(behaviour)
    job = await works.until(job_id, lambda job: job.status.is_final)
    assert (len(refused), job.attempt) == (1, 1)
    assert len(await works.outcomes(job_id)) == 1


async def test_progress_is_told_while_it_runs(works: Works) -> None:
    job_id = await works.submit("hang")
    job = await works.until(job_id, lambda job: job.step)
    assert job.status is JobStatus.PROCESSING
    assert 0 <= job.progress <= 1


def test_nothing_of_the_media_libraries_is_in_this_process() -> None:
    """The server's own process never parses media: it does not even load the code."""
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import appliance.cli, sys; print(*sorted(name.partition('.')[0] "
            "for name in sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "aiohttp" in loaded
    assert not {"PIL", "av", "pypdf", "pypdfium2", "pillow_heif"} & set(loaded)


class FallenNursery(Nursery):
    """A plug-in's, lost just after it was chosen, and not coming up again."""

    stands = True

    async def is_up(self, *, within_s: float) -> bool:
        return self.stands

    async def describe(self) -> Description:
        self.stands = False
        raise NurseryUnavailable


async def test_a_plug_in_that_falls_closes_no_gate(new_works: NewWorks, tmp_path: Path) -> None:
    works = await new_works()
    fallen = FallenNursery("fallen", scratch_dir=tmp_path, processor="tests.hostile_processor")
    plugin = Plugin(
        Installed("fallen", "tests.hostile_processor", "processor-fallen"), fallen, None
    )
    fallen._said = works.pool._nursery.said
    works.pool._plugins = Plugins([plugin])
    works.pool._plugins._settled.set()
    with capture_logs() as logs:
        job_id = await works.submit("succeed")
        await works.status(job_id, JobStatus.COMPLETED)
    assert await works.outcomes(job_id) == ["handed_back", "completed"]
    assert "pool_paused" not in [line["event"] for line in logs]
