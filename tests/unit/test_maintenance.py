"""The maintenance services, one pass at a time, on real SQLite with a clock that is moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.acts import Acts
from appliance.coordination.memory import MemoryCoordination
from appliance.database import history, job_reads, jobs, keys, pauses, stored_files, workers
from appliance.database.ages import Age, Ages
from appliance.database.dead_letters import Filter
from appliance.database.protocol import Database
from appliance.database.workers import About, Kind, PoolState
from appliance.ids import new_id, time_of
from appliance.jobs import Claim, Job, JobStatus, JobType
from appliance.keys import ApiKey
from appliance.maintenance import inspector as inspector_module
from appliance.maintenance.heartbeat import Heartbeat
from appliance.maintenance.inspector import Inspector
from appliance.maintenance.pruner import YOUNG_ORIGINAL_S, YOUNG_S, Pruner
from appliance.maintenance.rescuer import MAX_LOST, SHOW_GONE_S, Rescuer
from appliance.maintenance.sampler import Sampler
from appliance.maintenance.stager import Stager
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.permissions import Role
from appliance.queue.table import TableQueue
from appliance.storage.local import LocalStorage
from tests import databases
from tests.clocks import MovedClock
from tests.records import FAULT, a_job, a_result


@dataclass
class Stage:
    clock: MovedClock
    database: Database
    storage: LocalStorage
    stager: Stager
    rescuer: Rescuer
    pruner: Pruner
    acts: Acts

    async def job(self, job_id: str) -> Job:
        job = await self.database.read(job_reads.get(job_id))
        assert job is not None
        return job

    async def claimed(self, worker: str) -> Claim:
        job = a_job()
        await self.database.write(jobs.create([job]))
        return await self.claimed_again(job.id, worker)

    async def claimed_again(self, job_id: str, worker: str) -> Claim:
        claim = await self.database.write(jobs.claim(job_id, worker=worker, now=self.clock.now()))
        assert claim is not None
        return claim

    async def registered(self, worker: str, node: str = "node") -> list[workers.Worker]:
        return await self.database.write(workers.register(worker, node=node, now=self.clock.now()))

    async def beat(self, worker: str, **running: int) -> None:
        await self.database.write(
            workers.beat(worker, node="node", running=running, now=self.clock.now())
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = MovedClock()
    database = await databases.opened(tmp_path)
    storage = LocalStorage.open(tmp_path / "files")
    queue = TableQueue(database, clock)
    announcer = Announcer(MemoryCoordination(clock))
    acts = Acts(database, storage, queue, announcer, clock)
    yield Stage(
        clock,
        database,
        storage,
        Stager(database=database, queue=queue, announcer=announcer, clock=clock),
        Rescuer(
            database=database,
            queue=queue,
            announcer=announcer,
            metrics=Metrics(),
            clock=clock,
            heartbeat_timeout_s=60,
            stale_after_s=300,
        ),
        Pruner(
            database=database,
            storage=storage,
            acts=acts,
            clock=clock,
            file_ages=Ages(Age(0)),
        ),
        acts,
    )
    await database.close()


# --- stager -------------------------------------------------------------------------------


async def test_a_retry_is_staged_when_it_is_due_and_not_before(stage: Stage) -> None:
    claim = await stage.claimed("w")
    await stage.database.write(
        jobs.retry(
            claim.job.id,
            attempt=1,
            now=stage.clock.now(),
            next_attempt_at=stage.clock.now() + 2,
            error=FAULT,
            error_class="X",
            stderr_tail=None,
        )
    )
    stage.clock.pass_time(1.9)
    assert await stage.stager.run_once() == {}
    stage.clock.pass_time(0.2)
    assert await stage.stager.run_once() == {"staged": 1}
    assert (await stage.job(claim.job.id)).status is JobStatus.PENDING
    assert await stage.stager.run_once() == {}


# --- rescuer ------------------------------------------------------------------------------


async def test_a_silent_worker_loses_its_jobs_after_the_timeout(stage: Stage) -> None:
    await stage.registered("w")
    claim = await stage.claimed("w")
    await stage.rescuer.run_once()
    stage.clock.pass_time(59)
    await stage.rescuer.run_once()
    assert (await stage.job(claim.job.id)).status is JobStatus.PROCESSING
    stage.clock.pass_time(2)
    assert await stage.rescuer.run_once() == {"rescued": 1, "workers_gone": 1}
    job = await stage.job(claim.job.id)
    assert (job.status, job.retry_count) == (JobStatus.PENDING, 0)
    (attempt,) = await stage.database.read(job_reads.attempts(job.id))
    assert attempt.outcome == "lost"


async def test_a_beating_worker_keeps_its_jobs(stage: Stage) -> None:
    await stage.registered("w")
    claim = await stage.claimed("w")
    for _ in range(100):
        await stage.beat("w", **{claim.job.id: claim.attempt})
        await stage.rescuer.run_once()
        stage.clock.pass_time(30)
    assert (await stage.job(claim.job.id)).status is JobStatus.PROCESSING


async def test_a_job_its_living_worker_forgot_is_rescued_when_stale(stage: Stage) -> None:
    await stage.registered("w")
    claim = await stage.claimed("w")
    for _ in range(10):
        await stage.beat("w")  # alive, but the job is not among what it runs
        assert (await stage.rescuer.run_once())["rescued"] == 0
        stage.clock.pass_time(30)
    stage.clock.pass_time(1)
    await stage.beat("w")
    assert (await stage.rescuer.run_once())["rescued"] == 1
    assert (await stage.job(claim.job.id)).status is JobStatus.PENDING


async def test_a_wall_clock_that_jumps_rescues_nothing(stage: Stage) -> None:
    await stage.registered("w")
    claim = await stage.claimed("w")
    await stage.rescuer.run_once()
    for jump in (+86_400.0, -10 * 86_400.0):
        stage.clock.wall += jump
        assert (await stage.rescuer.run_once())["rescued"] == 0
    assert (await stage.job(claim.job.id)).status is JobStatus.PROCESSING


async def test_a_stalled_database_makes_nobody_look_dead(stage: Stage) -> None:
    """No beat arrives while nothing can be written: neither one's own nor that of others."""
    await stage.registered("own")
    await stage.registered("other", "elsewhere")
    mine, others = await stage.claimed("own"), await stage.claimed("other")
    stage.rescuer._own = "own"
    await stage.rescuer.run_once()
    for _ in range(20):
        stage.clock.pass_time(100)
        assert await stage.rescuer.run_once() in ({}, {"rescued": 0, "workers_gone": 0})
    for claim in (mine, others):
        assert (await stage.job(claim.job.id)).status is JobStatus.PROCESSING


async def test_one_given_up_by_mistake_is_back_with_its_next_beat(stage: Stage) -> None:
    await stage.registered("slow")
    await stage.rescuer.run_once()
    stage.clock.pass_time(61)
    assert (await stage.rescuer.run_once())["workers_gone"] == 1
    await stage.beat("slow")
    claim = await stage.claimed("slow")
    assert (await stage.rescuer.run_once())["rescued"] == 0
    assert (await stage.job(claim.job.id)).status is JobStatus.PROCESSING


async def test_one_that_is_gone_is_shown_for_a_while_and_counts_for_nothing(stage: Stage) -> None:
    pool = PoolState(JobType.ANY, 1, 4, 1, True)
    await stage.database.write(
        workers.beat("w", node="n", running={}, now=stage.clock.now(), pools=[pool])
    )
    await stage.rescuer.run_once()
    stage.clock.pass_time(61)
    assert (await stage.rescuer.run_once())["workers_gone"] == 1
    (gone,) = await stage.database.read(workers.servers())
    assert gone.gone_at == stage.clock.now()
    assert await stage.database.read(workers.pools()) == []
    stage.clock.pass_time(SHOW_GONE_S - 1)
    assert (await stage.rescuer.run_once())["workers_gone"] == 0  # it was told once
    assert len(await stage.database.read(workers.servers())) == 1
    stage.clock.pass_time(2)
    await stage.rescuer.run_once()
    assert await stage.database.read(workers.servers()) == []


async def test_one_that_was_gone_lives_again_with_its_next_beat(stage: Stage) -> None:
    await stage.registered("slow")
    await stage.rescuer.run_once()
    stage.clock.pass_time(61)
    await stage.rescuer.run_once()
    await stage.beat("slow")
    await stage.rescuer.run_once()
    (back,) = await stage.database.read(workers.servers())
    assert back.gone_at is None


async def test_a_server_without_workers_beats_too(stage: Stage) -> None:
    about = About(Kind.API, "kitchen", 7, "1.2")
    ended = workers.register("own", node="n", about=about, now=stage.clock.now())
    assert await stage.database.write(ended) == []
    heartbeat = Heartbeat(
        "own", node="n", about=about, database=stage.database, clock=stage.clock, interval_s=10
    )
    for _ in range(10):
        await heartbeat.run_once()
        assert (await stage.rescuer.run_once())["workers_gone"] == 0
        stage.clock.pass_time(30)
    (server,) = await stage.database.read(workers.servers())
    assert (server.kind, server.host, server.pid, server.version) == (Kind.API, "kitchen", 7, "1.2")
    assert server.beat == 10
    await heartbeat.leave()
    assert await stage.database.read(workers.servers()) == []


async def test_what_a_previous_life_held_is_recovered_at_once(stage: Stage) -> None:
    await stage.registered("node:1", "node")
    await stage.registered("other:1", "other")
    mine, others = await stage.claimed("node:1"), await stage.claimed("other:1")
    ended = await stage.registered("node:2", "node")
    assert [life.id for life in ended] == ["node:1"]
    assert (await stage.rescuer.recover(ended))["rescued"] == 1
    assert (await stage.job(mine.job.id)).status is JobStatus.PENDING
    assert (await stage.job(others.job.id)).status is JobStatus.PROCESSING
    known = {worker.id for worker in (await stage.database.read(workers.census()))[0]}
    assert known == {"node:2", "other:1"}


async def test_a_lease_of_a_worker_nobody_knows_is_rescued(stage: Stage) -> None:
    claim = await stage.claimed("never-registered")
    assert (await stage.rescuer.run_once())["rescued"] == 1
    assert (await stage.job(claim.job.id)).status is JobStatus.PENDING


async def test_a_job_that_its_workers_do_not_survive_is_given_up(stage: Stage) -> None:
    claim = await stage.claimed("gone")
    for _ in range(MAX_LOST):
        await stage.rescuer.run_once()
        assert (await stage.job(claim.job.id)).status is JobStatus.PENDING
        claim = await stage.claimed_again(claim.job.id, "gone")
    await stage.rescuer.run_once()
    job = await stage.job(claim.job.id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "worker_lost"


# --- pruner -------------------------------------------------------------------------------


async def store(stage: Stage, key: str) -> None:
    async with await stage.storage.receive(key) as incoming:
        await incoming.write(b"data")
        await incoming.commit()


async def keys_below(stage: Stage, prefix: str) -> set[str]:
    return {name async for name in stage.storage.list(prefix)}


async def test_only_old_originals_without_a_row_are_pruned(stage: Stage) -> None:
    orphan, known = new_id(), a_job()
    await stage.database.write(jobs.create([known]))
    for key in (f"raw/{orphan}/a.jpg", known.storage_key, "raw/not-an-id/note.txt"):
        await store(stage, key)
    stage.clock.wall = time_of(orphan) + YOUNG_ORIGINAL_S - 10
    assert (await stage.pruner.run_once())["orphan_originals"] == 0
    stage.clock.pass_time(60)
    assert (await stage.pruner.run_once())["orphan_originals"] == 1
    assert await keys_below(stage, "raw") == {known.id, "not-an-id"}


async def test_only_results_of_attempts_that_never_settled_are_pruned(stage: Stage) -> None:
    done, running = await stage.claimed("w"), await stage.claimed("w")
    await stage.database.write(
        jobs.complete(
            done.job.id,
            attempt=1,
            now=stage.clock.now(),
            result={},
            files=[a_result(done.job.id, 1)],
        )
    )
    for job_id, attempt in ((done.job.id, 1), (done.job.id, 7), (running.job.id, 1)):
        await store(stage, f"processed/{job_id}/{attempt}/thumbnail.webp")
    stage.clock.wall = time_of(running.job.id) + YOUNG_S + 60
    assert (await stage.pruner.run_once())["orphan_results"] == 1
    assert await keys_below(stage, f"processed/{done.job.id}") == {"1"}
    assert await keys_below(stage, f"processed/{running.job.id}") == {"1"}


async def test_expired_sessions_are_pruned(stage: Stage) -> None:
    key = ApiKey("k", "name", Role.USER, "upa_", 1.0)
    await stage.database.write(keys.create(key, secret_hash="h"))
    now = stage.clock.now()
    for token, expires_at in (("old", now - 1), ("good", now + 60)):
        await stage.database.write(
            keys.start_session(
                token, owner="key:k", key_id="k", token_hash=token, now=now, expires_at=expires_at
            )
        )
    assert (await stage.pruner.run_once())["sessions"] == 1
    found = await stage.database.read(keys.by_session("good", now=now))
    assert found is not None
    assert (found.session_id, found.owner) == ("good", key.owner)


async def test_finished_jobs_are_pruned_with_their_files_when_their_time_is_over(
    stage: Stage,
) -> None:
    done, dead, running = [await stage.claimed("w") for _ in range(3)]
    await stage.database.write(
        jobs.complete(
            done.job.id,
            attempt=1,
            now=stage.clock.now(),
            result={},
            files=[a_result(done.job.id, 1)],
        )
    )
    await stage.database.write(
        jobs.fail(
            dead.job.id,
            attempt=1,
            now=stage.clock.now(),
            error=FAULT,
            error_class="X",
            stderr_tail=None,
        )
    )
    for key in (done.job.storage_key, f"processed/{done.job.id}/1/thumbnail.webp"):
        await store(stage, key)
    pruner = Pruner(
        database=stage.database,
        storage=stage.storage,
        acts=stage.acts,
        clock=stage.clock,
        file_ages=Ages(Age(1), Age(1)),
    )
    stage.clock.pass_time(86_399.0)
    assert (await pruner.run_once())["expired_originals"] == 0
    stage.clock.pass_time(2.0)
    assert (await pruner.run_once())["expired_originals"] == 1
    assert await stage.database.read(job_reads.get(done.job.id)) is None
    assert await keys_below(stage, "raw") == set()
    assert await keys_below(stage, "processed") == set()
    # What waits for review stays, and so does what is not final.
    assert (await stage.job(dead.job.id)).status is JobStatus.FAILED
    assert (await stage.job(running.job.id)).status is JobStatus.PROCESSING
    await stage.acts.discard_dead_letters(Filter(), actor="key:admin")
    assert (await pruner.run_once())["expired_originals"] == 1


# --- a clock that jumps --------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-86_400.0, -600.0, 86_400.0])
async def test_no_retry_is_stuck_when_the_clock_jumps(stage: Stage, jump_s: float) -> None:
    claim = await stage.claimed("w")
    now = stage.clock.now()
    await stage.database.write(
        jobs.retry(
            claim.job.id,
            attempt=1,
            now=now,
            next_attempt_at=now + 8,
            error=FAULT,
            error_class="X",
            stderr_tail=None,
        )
    )
    stage.clock.wall += jump_s
    assert await stage.stager.run_once() == {"staged": 1}


async def test_clocks_of_servers_may_differ_a_little(stage: Stage) -> None:
    claim = await stage.claimed("w")
    now = stage.clock.now() + 3.0  # written by one whose clock is ahead
    await stage.database.write(
        jobs.retry(
            claim.job.id,
            attempt=1,
            now=now,
            next_attempt_at=now + 2,
            error=FAULT,
            error_class="X",
            stderr_tail=None,
        )
    )
    assert await stage.stager.run_once() == {}


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
async def test_no_lease_is_lost_when_the_clock_jumps(stage: Stage, jump_s: float) -> None:
    await stage.registered("w")
    claim = await stage.claimed("w")
    await stage.rescuer.run_once()
    stage.clock.wall += jump_s
    stage.clock.mono += 30
    await stage.beat("w", **{claim.job.id: 1})
    assert (await stage.rescuer.run_once()).get("rescued", 0) == 0
    assert (await stage.job(claim.job.id)).status is JobStatus.PROCESSING


# --- inspector ------------------------------------------------------------------------------


async def test_a_file_that_is_gone_is_reported_until_it_is_back(stage: Stage) -> None:
    here, gone, short = a_job(), a_job(), a_job()
    await stage.database.write(jobs.create([here, gone, short]))
    for job, content in ((here, b"abc"), (short, b"ab")):
        async with await stage.storage.receive(job.storage_key) as incoming:
            await incoming.write(content)
            await incoming.commit()
    inspector = Inspector(database=stage.database, storage=stage.storage, clock=stage.clock)
    assert (await inspector.run_once())["missing"] == 2
    assert await stage.database.read(stored_files.count_missing()) == 2
    assert (await inspector.run_once())["missing"] == 0  # told once
    async with await stage.storage.receive(gone.storage_key) as incoming:
        await incoming.write(b"abc")
        await incoming.commit()
    assert (await inspector.run_once())["found"] == 1
    assert await stage.database.read(stored_files.count_missing()) == 1


async def test_the_inspector_goes_through_all_a_few_at_a_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector_module, "BATCH", 4)
    await stage.database.write(jobs.create([a_job() for _ in range(10)]))
    inspector = Inspector(database=stage.database, storage=stage.storage, clock=stage.clock)
    assert [(await inspector.run_once())["missing"] for _ in range(4)] == [4, 4, 2, 0]


# --- sampler --------------------------------------------------------------------------------


async def test_samples_become_the_hour_s_history(stage: Stage) -> None:
    sampler = Sampler(database=stage.database, clock=stage.clock)
    await stage.claimed("w")
    await stage.database.write(jobs.create([a_job(), a_job()]))
    await sampler.run_once()
    before = await stage.database.read(history.read(history.HOUR, now=stage.clock.now()))
    slot = before[-1]
    assert slot is not None
    assert (slot.queued, slot.active) == (2, 1)
    stage.clock.pass_time(120)
    later = await stage.database.read(history.read(history.HOUR, now=stage.clock.now()))
    assert later[-3] == slot
    assert later[-1] is None


async def test_a_pause_ends_when_its_time_is_over(stage: Stage) -> None:
    now = stage.clock.now()
    for name, until in (("IMAGE", now + 60), ("PDF", None)):
        await stage.database.write(
            pauses.set_pause("type", name, reason="r", actor="key:A", now=now, until=until)
        )
    sampler = Sampler(database=stage.database, clock=stage.clock)
    assert (await sampler.run_once())["pauses_ended"] == 0
    stage.clock.pass_time(61)
    assert (await sampler.run_once())["pauses_ended"] == 1
    in_force = await stage.database.read(pauses.in_force(now=stage.clock.now()))
    assert [pause.name for pause in in_force] == ["PDF"]
