"""The life of a job on every database: legal moves, leases, fencing, what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from appliance.database import dead_letters, job_reads, jobs, stored_files, turns, workers
from appliance.database.dead_letters import Filter
from appliance.database.job_reads import JobFilter
from appliance.database.protocol import Database, Statement, Transaction
from appliance.errors import ApplianceError
from appliance.ids import new_id
from appliance.jobs import LARGE_BYTES, Claim, Job, JobStatus, JobType
from tests.records import FAULT, a_job, a_result

NOW = 1_000_100.0


async def created(database: Database, **changes: object) -> Job:
    job = a_job(**changes)
    await database.write(jobs.create([job]))
    return job


async def claimed(database: Database, job: Job, worker: str = "w1") -> Claim:
    claim = await database.write(jobs.claim(job.id, worker=worker, now=NOW))
    assert claim is not None
    return claim


async def failed(database: Database, claim: Claim) -> Job | None:
    return await database.write(
        jobs.fail(
            claim.job.id,
            attempt=claim.attempt,
            now=NOW,
            error=FAULT,
            error_class="ChildCrashed",
            stderr_tail="Segmentation fault",
        )
    )


async def retried(database: Database, claim: Claim, next_at: float = NOW + 2) -> Job | None:
    return await database.write(
        jobs.retry(
            claim.job.id,
            attempt=claim.attempt,
            now=NOW,
            next_attempt_at=next_at,
            error=FAULT,
            error_class="ChildCrashed",
            stderr_tail=None,
        )
    )


async def test_a_good_life(database: Database) -> None:
    job = await created(database)
    claim = await claimed(database, job)
    assert (claim.attempt, claim.job.status, claim.job.worker) == (1, JobStatus.PROCESSING, "w1")
    done = await database.write(
        jobs.complete(
            job.id, attempt=1, now=NOW + 1, result={"width": 4}, files=[a_result(job.id, 1)]
        )
    )
    assert done is not None
    assert (done.status, done.progress, done.worker) == (JobStatus.COMPLETED, 1.0, None)
    assert done.result == {"width": 4}
    assert done.files == (a_result(job.id, 1),)
    history = await database.read(job_reads.history(job.id))
    assert [entry.status for entry in history] == ["PENDING", "PROCESSING", "COMPLETED"]
    (attempt,) = await database.read(job_reads.attempts(job.id))
    assert (attempt.outcome, attempt.worker, attempt.ended_at) == ("completed", "w1", NOW + 1)


async def test_only_one_of_many_gets_the_lease(database: Database) -> None:
    job = await created(database)
    claims = await asyncio.gather(
        *(database.write(jobs.claim(job.id, worker=f"w{n}", now=NOW)) for n in range(20))
    )
    assert len([claim for claim in claims if claim is not None]) == 1


async def test_a_lost_lease_writes_nothing(database: Database) -> None:
    """The fence: a worker that wakes after its job was given to another has no effect at all."""
    job = await created(database)
    slow = await claimed(database, job, "slow")
    await database.write(
        jobs.release(job.id, attempt=slow.attempt, now=NOW, outcome="lost", detail="gone")
    )
    quick = await claimed(database, job, "quick")
    before = await database.read(job_reads.get(job.id))

    late_files = [a_result(job.id, slow.attempt)]
    settled = [
        await database.write(
            jobs.complete(job.id, attempt=slow.attempt, now=NOW, result={}, files=late_files)
        ),
        await failed(database, slow),
        await retried(database, slow),
        await database.write(
            jobs.release(job.id, attempt=slow.attempt, now=NOW, outcome="lost", detail="")
        ),
        await database.write(
            jobs.progress(job.id, attempt=slow.attempt, fraction=0.9, step="late")
        ),
    ]
    assert settled == [None] * 5
    assert await database.read(job_reads.get(job.id)) == before
    held = await database.write(
        workers.beat("slow", node="n", running={job.id: slow.attempt}, now=NOW)
    )
    assert held == set()
    held = await database.write(
        workers.beat("quick", node="n", running={job.id: quick.attempt}, now=NOW)
    )
    assert held == {job.id}


# --- results that are seen while the work goes on -------------------------------------------


async def published(database: Database, claim: Claim, *names: str) -> None:
    for position, name in enumerate(names):
        file = a_result(claim.job.id, claim.attempt, name)
        owner = await database.write(
            jobs.publish(claim.job.id, attempt=claim.attempt, position=position, file=file)
        )
        assert owner == claim.job.owner


async def kept_keys(database: Database, job: Job) -> set[str]:
    keys, _ = await database.read(stored_files.results_in_use([job.id]))
    return keys


async def test_a_published_result_is_seen_at_once(database: Database) -> None:
    job = await created(database)
    claim = await claimed(database, job)
    await published(database, claim, "thumbnail.webp")
    seen = await database.read(job_reads.get(job.id))
    assert seen is not None
    assert (seen.status, seen.files) == (JobStatus.PROCESSING, (a_result(job.id, 1),))
    assert seen.version == claim.job.version + 1
    listed = await database.read(job_reads.page(JobFilter(owner=job.owner), limit=10))
    assert [one.files for one in listed] == [seen.files]


async def test_what_was_published_is_listed_once_in_the_end(database: Database) -> None:
    job = await created(database)
    claim = await claimed(database, job)
    await published(database, claim, "b.webp")
    files = [a_result(job.id, 1, name) for name in ("c.webp", "b.webp", "a.webp")]
    done = await database.write(jobs.complete(job.id, attempt=1, now=NOW, result={}, files=files))
    assert done is not None
    assert done.files == tuple(files)


async def released(database: Database, claim: Claim) -> Job | None:
    return await database.write(
        jobs.release(
            claim.job.id, attempt=claim.attempt, now=NOW, outcome="handed_back", detail="draining"
        )
    )


async def cancelled(database: Database, claim: Claim) -> Job | None:
    return await database.write(jobs.cancel(claim.job.id, now=NOW, actor="key:A"))


@pytest.mark.parametrize("move", [failed, retried, released, cancelled])
async def test_every_other_end_takes_back_what_was_published(
    database: Database, move: Callable[[Database, Claim], Awaitable[Job | None]]
) -> None:
    other = await claimed(database, await created(database))
    await published(database, other, "thumbnail.webp")
    job = await created(database)
    claim = await claimed(database, job)
    await published(database, claim, "thumbnail.webp", "poster.webp")
    settled = await move(database, claim)
    assert settled is not None
    assert settled.files == ()
    assert await kept_keys(database, job) == set()
    assert len(await kept_keys(database, other.job)) == 1


async def test_nothing_is_published_without_the_lease(database: Database) -> None:
    job = await created(database)
    slow = await claimed(database, job)
    late = jobs.publish(job.id, attempt=1, position=0, file=a_result(job.id, 1))
    await released(database, slow)
    assert await database.write(late) is None
    quick = await claimed(database, job)
    late = jobs.publish(job.id, attempt=1, position=0, file=a_result(job.id, 1))
    assert await database.write(late) is None
    assert await kept_keys(database, job) == set()
    await database.write(jobs.complete(job.id, attempt=2, now=NOW, result={}, files=[]))
    late = jobs.publish(job.id, attempt=quick.attempt, position=0, file=a_result(job.id, 2))
    assert await database.write(late) is None
    assert await kept_keys(database, job) == set()


async def test_retries_count_and_end_in_a_dead_letter(database: Database) -> None:
    job = await created(database)
    for retry in (1, 2, 3):
        after = await retried(database, await claimed(database, job))
        assert after is not None
        assert (after.status, after.retry_count) == (JobStatus.RETRYING, retry)
        assert after.next_attempt_at == NOW + 2
        assert await database.write(jobs.claim(job.id, worker="w", now=NOW)) is None
        assert await database.read(jobs.due(now=NOW + 1, limit=10)) == []
        due = await database.read(jobs.due(now=NOW + 2, limit=10))
        (staged,) = await database.write(jobs.stage(due, now=NOW + 2))
        assert (staged.id, staged.status) == (job.id, JobStatus.PENDING)
    dead = await failed(database, await claimed(database, job))
    assert dead is not None
    assert (dead.status, dead.error) == (JobStatus.FAILED, FAULT)
    attempts = await database.read(job_reads.attempts(job.id))
    assert [attempt.outcome for attempt in attempts] == ["retry", "retry", "retry", "failed"]
    assert attempts[-1].stderr_tail == "Segmentation fault"
    (letter,) = await database.read(dead_letters.page(Filter(), limit=10))
    assert (letter.job_id, letter.owner, letter.type) == (job.id, job.owner, job.type)
    assert letter.fingerprint == dead_letters.fingerprint(JobType.IMAGE, FAULT, "ChildCrashed")


async def test_handing_back_counts_no_retry(database: Database) -> None:
    job = await created(database)
    claim = await claimed(database, job)
    back = await database.write(
        jobs.release(job.id, attempt=1, now=NOW, outcome="handed_back", detail="draining")
    )
    assert claim.attempt == 1
    assert back is not None
    assert (back.status, back.retry_count, back.attempt) == (JobStatus.PENDING, 0, 1)
    assert (await claimed(database, job)).attempt == 2


@pytest.mark.parametrize("final", ["complete", "fail"])
async def test_a_settled_job_cannot_be_moved(database: Database, final: str) -> None:
    job = await created(database)
    claim = await claimed(database, job)
    if final == "complete":
        await database.write(jobs.complete(job.id, attempt=1, now=NOW, result={}, files=[]))
    else:
        await failed(database, claim)
    assert await database.write(jobs.claim(job.id, worker="w", now=NOW)) is None
    assert await failed(database, claim) is None
    assert await retried(database, claim) is None


async def test_another_job_on_the_same_upload(database: Database) -> None:
    job = await created(database, metadata={"album": "Rome"}, size_bytes=LARGE_BYTES + 1)
    again = await database.write(
        jobs.create_again(
            new_id(),
            of=job.id,
            preset="thumbnail",
            priority=7,
            max_retries=1,
            now=NOW,
            actor="key:B",
        )
    )
    assert again is not None
    expected = msgspec.structs.replace(
        job, id=again.id, preset="thumbnail", priority=7, max_retries=1, created_at=NOW
    )
    assert again == expected  # its original lies where it lay
    offered = await database.read(turns.ready(again.type, limit=9, now=NOW))
    assert offered == [again.id, job.id]
    small = await database.read(turns.ready(again.type, limit=9, now=NOW, small_only=True))
    assert small == []
    (received,) = await database.read(job_reads.history(again.id))
    assert (received.status, received.attempt) == (JobStatus.PENDING, 0)
    assert received.detail == f"from the original of {job.id}, asked for by key:B"


async def test_there_is_no_other_job_of_one_that_is_gone(database: Database) -> None:
    again = jobs.create_again(
        new_id(), of=new_id(), preset="default", priority=5, max_retries=1, now=NOW, actor="key:B"
    )
    assert await database.write(again) is None


@pytest.mark.parametrize("first", [0, 1])
async def test_the_upload_goes_with_the_last_of_its_jobs(database: Database, first: int) -> None:
    job = await created(database)
    again = await database.write(
        jobs.create_again(
            new_id(), of=job.id, preset="default", priority=5, max_retries=1, now=NOW, actor="a"
        )
    )
    assert again is not None
    for one in (job, again):
        await database.write(jobs.cancel(one.id, now=NOW, actor="a"))
    both = [job.id, again.id]
    for job_id, is_last in ((both.pop(first), False), (both.pop(), True)):
        deleted = await database.write(stored_files.delete(job_id))
        assert deleted is not None
        assert deleted.original_key == (job.storage_key if is_last else None)


async def test_ready_jobs_come_by_priority_then_age(database: Database) -> None:
    low = await created(database, priority=1)
    first = await created(database, priority=5, id="01AAAAAAAAAAAAAAAAAAAAAAAA")
    second = await created(database, priority=5, id="01BBBBBBBBBBBBBBBBBBBBBBBB")
    high = await created(database, priority=9)
    await created(database, type=JobType.PDF)
    ids = await database.read(turns.ready(JobType.IMAGE, limit=10, now=NOW))
    assert ids == [high.id, first.id, second.id, low.id]


async def test_every_change_has_a_new_version(database: Database) -> None:
    job = await created(database)
    versions = [job.version]
    claim = await claimed(database, job)
    versions.append(claim.job.version)
    await database.write(jobs.progress(job.id, attempt=1, fraction=0.5, step="resizing"))
    halfway = await database.read(job_reads.get(job.id))
    assert halfway is not None
    assert (halfway.progress, halfway.step) == (0.5, "resizing")
    versions.append(halfway.version)
    done = await database.write(jobs.complete(job.id, attempt=1, now=NOW, result={}, files=[]))
    assert done is not None
    versions.append(done.version)
    assert versions == sorted(set(versions))


async def test_who_comes_back_is_told_what_moved(database: Database) -> None:
    quiet, moved = await created(database), await created(database)
    mark = await database.read(job_reads.last_history_id())
    await claimed(database, moved)
    elsewhere = await created(database, owner="key:B")
    changed, _ = await database.read(job_reads.changed_since(mark, owner="key:A", limit=10))
    assert [(job.id, job.status) for _, job in changed] == [(moved.id, JobStatus.PROCESSING)]
    everybody, _ = await database.read(job_reads.changed_since(mark, owner=None, limit=10))
    assert [job.id for _, job in everybody] == [moved.id, elsewhere.id]
    assert quiet.id not in {job.id for _, job in everybody}


async def test_the_schema_refuses_states_that_cannot_be(database: Database) -> None:
    """The last guard, should a statement ever be wrong."""
    job = await created(database)

    def break_it(sql: str) -> Transaction[None]:
        yield Statement(sql)

    # No statement of ours does this, so it is done behind the protocol's back.
    statements = database._statements  # type: ignore[attr-defined]
    for number, assignment in enumerate(
        ["status = 'LOST'", "status = 'PROCESSING'", "finished_at = 1", "priority = 10"]
    ):
        statements[f"broken_{number}"] = f"UPDATE jobs SET {assignment} WHERE id = '{job.id}'"
        with pytest.raises(ApplianceError):
            await database.write(break_it(f"broken_{number}"))
