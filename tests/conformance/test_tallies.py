"""What is counted as it happens equals a count of the rows, whatever happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.database import dead_letters, figures, job_reads, jobs, stored_files
from appliance.database.dead_letters import Filter
from appliance.database.protocol import Database, Transaction
from appliance.ids import new_id
from appliance.jobs import Job, JobStatus, JobType
from tests.records import FAULT, a_job, a_result

NOW = 1_000_100.0
STEPS = ("broken", "page 1", "page 2")
MOVES = st.tuples(
    st.sampled_from(
        ["create", "claim", "complete", "retry", "fail", "release", "stage", "cancel", "redrive",
         "discard", "delete", "again"]
    ),
    st.integers(0, 9),
    st.sampled_from(list(JobType)),
    st.sampled_from(STEPS),
)  # fmt: skip


def moved(move: str, job: Job, step: str) -> Transaction[Any]:
    """Try a move; where it is not legal, nothing happens."""
    lease: dict[str, Any] = {"attempt": job.attempt, "now": NOW}
    error = msgspec.structs.replace(FAULT, step=step)
    fault: dict[str, Any] = {"error": error, "error_class": "Crash", "stderr_tail": None}
    match move:
        case "claim":
            yield from jobs.claim(job.id, worker="w", now=NOW)
        case "complete":
            files = [a_result(job.id, job.attempt, name) for name in step.split()]
            yield from jobs.complete(job.id, **lease, result={}, files=files)
        case "retry":
            yield from jobs.retry(job.id, **lease, next_attempt_at=NOW, **fault)
        case "fail":
            yield from jobs.fail(job.id, **lease, **fault)
        case "release":
            yield from jobs.release(job.id, **lease, outcome="lost", detail="")
        case "stage":
            yield from jobs.stage([job.id], now=NOW)
        case "cancel":
            yield from jobs.cancel(job.id, now=NOW, actor="me")
        case "redrive":
            yield from jobs.redrive(job.id, now=NOW, actor="me")
        case "discard":
            yield from dead_letters.discard(Filter(ids=(job.id,)), limit=1)
        case "delete":
            yield from stored_files.delete(job.id)
        case "again":
            return (
                yield from jobs.create_again(
                    new_id(),
                    of=job.id,
                    preset="default",
                    priority=5,
                    max_retries=3,
                    now=NOW,
                    actor="me",
                )
            )


@given(moves=st.lists(MOVES, min_size=5, max_size=60))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_tallies_and_groups_equal_a_count(database: Database, moves: list[Any]) -> None:
    """Each example goes on with what the one before has left."""
    made: list[str] = [job.id for job in await everything(database)]
    for move, which, job_type, step in moves:
        if move == "create" or not made:
            job = a_job(type=job_type)
            await database.write(jobs.create([job]))
            made.append(job.id)
            continue
        found = await database.read(job_reads.get(made[-1 - which % len(made)]))
        if found is not None:
            again = await database.write(moved(move, found, step))
            made += [again.id] if again else []
    await holds(database)


async def what_is_stored_holds(database: Database, left: list[Job]) -> None:
    """An original is counted once, however many jobs were made of it."""
    originals = {job.storage_key: job for job in left}.values()
    stored = await database.read(figures.stored())
    for job_type, kept in stored.items():
        sizes = [job.size_bytes for job in originals if job.type is job_type]
        assert kept.originals == (len(sizes), sum(sizes))
        results = [file for job in left if job.type is job_type for file in job.files]
        assert kept.results == (len(results), sum(file.size_bytes for file in results))


async def everything(database: Database) -> list[Job]:
    return await database.read(job_reads.page(limit=100_000))


async def holds(database: Database) -> None:
    left = await everything(database)
    queue = await database.read(figures.queue())
    assert {key: count for key, count in queue.jobs.items() if count} == Counter(
        (job.type, job.status) for job in left
    )
    await what_is_stored_holds(database, left)
    for status in JobStatus:
        assert queue.total(status) == sum(job.status is status for job in left)
    letters = await database.read(dead_letters.page(Filter(), limit=100_000))
    assert {letter.job_id for letter in letters} <= {
        job.id for job in left if job.status is JobStatus.FAILED
    }
    assert queue.dead_letters == len(letters)
    groups = await database.read(dead_letters.groups(limit=100_000))
    assert {group.fingerprint: group.jobs for group in groups} == Counter(
        letter.fingerprint for letter in letters
    )
    for group in groups:
        ids = [one.job_id for one in letters if one.fingerprint == group.fingerprint]
        assert group.example == max(ids)
        assert await database.read(
            dead_letters.count(Filter(fingerprint=group.fingerprint))
        ) == len(ids)
