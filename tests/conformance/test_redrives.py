"""Dead letters tried again on every database: waves, their stop, and what may come between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from appliance.database import audit, dead_letters, jobs, redrives, stored_files
from appliance.database.dead_letters import Filter
from appliance.database.protocol import Database, Transaction
from appliance.database.redrives import Counts, Redrive
from appliance.ids import new_id
from appliance.jobs import Job, JobType
from tests.records import FAULT, a_job

NOW = 1_000_100.0
EVERYTHING = Filter()


def given_up(job: Job) -> Transaction[None]:
    """Claimed and FAILED."""
    claim = yield from jobs.claim(job.id, worker="w", now=NOW)
    assert claim is not None
    yield from jobs.fail(
        job.id, attempt=claim.attempt, now=NOW, error=FAULT, error_class="Crash", stderr_tail=None
    )


async def letters(database: Database, count: int, **changes: object) -> list[str]:
    """Ids of as many new jobs with a dead letter, the oldest first."""
    made = sorted((a_job(**changes) for _ in range(count)), key=lambda job: job.id)

    def making() -> Transaction[None]:
        yield from jobs.create(made)
        for job in made:
            yield from given_up(job)

    await database.write(making())
    return [job.id for job in made]


async def started(
    database: Database,
    wanted: Filter = EVERYTHING,
    *,
    staged: bool = True,
    limit: int = redrives.MAX_JOBS,
) -> str:
    redrive_id = new_id()
    await database.write(
        redrives.create(redrive_id, wanted, staged=staged, limit=limit, actor="me", now=NOW)
    )
    return redrive_id


async def step(database: Database, redrive_id: str) -> tuple[Redrive, list[str]]:
    """One step, and the ids of the jobs that it began."""
    advanced = await database.write(redrives.advance(redrive_id, now=NOW))
    assert advanced is not None
    return advanced.redrive, [job.id for job in advanced.begun]


async def settled(database: Database, job_ids: Sequence[str], *, well: bool = True) -> None:
    """What is PENDING of them is worked on, with this outcome."""

    def working() -> Transaction[None]:
        for job_id in job_ids:
            claim = yield from jobs.claim(job_id, worker="w", now=NOW)
            assert claim is not None
            attempt = claim.attempt
            if well:
                yield from jobs.complete(job_id, attempt=attempt, now=NOW, result={}, files=[])
            else:
                yield from jobs.fail(
                    job_id, attempt=attempt, now=NOW, error=FAULT, error_class="Crash",
                    stderr_tail=None,
                )  # fmt: skip

    await database.write(working())


async def left(database: Database) -> int:
    return await database.read(dead_letters.count(EVERYTHING))


# --- waves -------------------------------------------------------------------------------


async def test_waves_grow_tenfold_while_it_goes_well(database: Database) -> None:
    ids = await letters(database, 150)
    redrive_id = await started(database)
    for wave, at, size in ((1, 0, 1), (2, 1, 10), (3, 11, 100), (4, 111, 39)):
        redrive, begun = await step(database, redrive_id)
        assert (redrive.wave, begun) == (wave, ids[at : at + size])
        assert (redrive.wave_counts.total, redrive.wave_counts.running) == (size, size)
        assert (await step(database, redrive_id))[1] == []  # not before this one is done
        await settled(database, begun[1:])
        if size > 1:
            assert (await step(database, redrive_id))[1] == []
        await settled(database, begun[:1])
        assert await left(database) == 150 - at - size
    redrive, begun = await step(database, redrive_id)
    assert (redrive.state, redrive.ended_at, begun) == ("completed", NOW, [])
    assert redrive.counts == Counts(total=150, completed=150)
    assert await database.read(redrives.running()) == []
    assert (await step(database, redrive_id))[0] == redrive


async def test_a_large_wave_is_begun_in_batches(database: Database) -> None:
    ids = await letters(database, redrives.BATCH * 2 + 50)
    redrive_id = await started(database, staged=False)
    for size in (redrives.BATCH, redrives.BATCH, 50):
        redrive, begun = await step(database, redrive_id)
        assert (redrive.wave, len(begun)) == (1, size)
    assert redrive.counts == Counts(total=len(ids), running=len(ids))


@pytest.mark.parametrize(("failures", "state"), [(1, "stopped"), (0, "completed")])
async def test_one_failure_of_ten_stops_it(database: Database, failures: int, state: str) -> None:
    await letters(database, 11)
    redrive_id = await started(database)
    await settled(database, (await step(database, redrive_id))[1])
    _, begun = await step(database, redrive_id)
    await settled(database, begun[failures:])
    await settled(database, begun[:failures], well=False)
    redrive, _ = await step(database, redrive_id)
    assert redrive.state == state
    assert await left(database) == failures


@pytest.mark.parametrize(("failures", "goes_on"), [(9, True), (10, False)])
async def test_a_tenth_of_a_hundred_stops_it(
    database: Database, failures: int, goes_on: bool
) -> None:
    ids = await letters(database, 120)
    redrive_id = await started(database)
    for _ in range(2):
        await settled(database, (await step(database, redrive_id))[1])
    _, begun = await step(database, redrive_id)
    assert len(begun) == 100
    await settled(database, begun[:failures], well=False)
    redrive, _ = await step(database, redrive_id)
    assert (redrive.state == "running") is goes_on
    await settled(database, begun[failures:])
    redrive, begun = await step(database, redrive_id)
    if goes_on:
        assert (redrive.wave, begun) == (4, ids[111:])
    else:
        assert (redrive.wave, redrive.state, begun) == (3, "stopped", [])
        assert redrive.counts.waiting == 9
        assert await left(database) == 9 + failures  # what was not begun is a dead letter still


async def test_the_first_one_that_fails_stops_it(database: Database) -> None:
    ids = await letters(database, 5)
    redrive_id = await started(database)
    await settled(database, (await step(database, redrive_id))[1], well=False)
    redrive, begun = await step(database, redrive_id)
    assert (redrive.state, begun) == ("stopped", [])
    assert await left(database) == len(ids)


async def test_all_at_once_does_not_stop(database: Database) -> None:
    ids = await letters(database, 20)
    redrive_id = await started(database, staged=False)
    _, begun = await step(database, redrive_id)
    assert begun == ids
    await settled(database, begun, well=False)
    redrive, _ = await step(database, redrive_id)
    assert (redrive.state, redrive.counts.failed) == ("completed", 20)


async def test_what_runs_when_it_stops_is_counted_still(database: Database) -> None:
    await letters(database, 11)
    redrive_id = await started(database)
    await settled(database, (await step(database, redrive_id))[1])
    _, begun = await step(database, redrive_id)
    await settled(database, begun[:1], well=False)
    redrive, _ = await step(database, redrive_id)
    assert (redrive.state, redrive.counts.running) == ("stopped", 9)
    assert await database.read(redrives.unsettled()) == [redrive_id]
    await settled(database, begun[1:])
    await database.write(redrives.settle(redrive_id))
    found = await database.read(redrives.get(redrive_id))
    assert found is not None
    assert found.counts == Counts(total=11, completed=10, failed=1)
    assert await database.read(redrives.unsettled()) == []


# --- what comes between ------------------------------------------------------------------


async def test_a_job_that_was_discarded_or_deleted_meanwhile(database: Database) -> None:
    """Each makes room for another of the same wave: it proves nothing."""
    ids = await letters(database, 20)
    redrive_id = await started(database)
    await database.write(dead_letters.discard(Filter(ids=(ids[0],)), limit=10))
    await database.write(stored_files.delete(ids[1]))
    redrive, begun = await step(database, redrive_id)
    assert (redrive.wave, begun) == (1, [ids[2]])
    assert redrive.counts == Counts(total=20, waiting=17, running=1, other=2)
    await settled(database, begun, well=False)
    redrive, _ = await step(database, redrive_id)
    assert redrive.state == "stopped"


async def test_very_many_that_are_gone_are_passed_over_in_batches(database: Database) -> None:
    ids = await letters(database, redrives.BATCH + 5)
    redrive_id = await started(database)
    await database.write(dead_letters.discard(Filter(ids=tuple(ids[:-1])), limit=1000))
    assert (await step(database, redrive_id))[1] == []
    redrive, begun = await step(database, redrive_id)
    assert (redrive.wave, begun) == (1, ids[-1:])


async def test_a_job_that_was_cancelled_or_deleted_in_its_wave(database: Database) -> None:
    ids = await letters(database, 3)
    redrive_id = await started(database, staged=False)
    await step(database, redrive_id)
    for job_id in ids[:2]:
        assert await database.write(jobs.cancel(job_id, now=NOW, actor="me"))
    await database.write(stored_files.delete(ids[1]))
    await settled(database, ids[2:])
    redrive, _ = await step(database, redrive_id)
    assert redrive.state == "completed"
    assert redrive.counts == Counts(total=3, completed=1, other=2)


async def test_the_same_group_twice_at_once(database: Database) -> None:
    """Each job is tried once, whoever comes first."""
    ids = await letters(database, redrives.BATCH + 10)
    first = await started(database, staged=False)
    second = await started(database, staged=False)
    begun: list[str] = []
    for redrive_id in (first, second, first, second, second):
        begun += (await step(database, redrive_id))[1]
    assert sorted(begun) == ids
    await settled(database, begun)
    results = [(await step(database, redrive_id))[0] for redrive_id in (first, second)]
    assert [redrive.state for redrive in results] == ["completed", "completed"]
    assert sum(redrive.counts.completed for redrive in results) == len(ids)


async def test_waves_of_the_same_group_twice(database: Database) -> None:
    """A form that was sent twice: the second finds that all wait for a wave already."""
    await letters(database, 12)
    first, second = await started(database), await started(database)
    redrive, begun = await step(database, second)
    assert (redrive.state, redrive.counts, begun) == ("completed", Counts(), [])
    assert len((await step(database, first))[1]) == 1
    at_once = await started(database, staged=False)
    assert len((await step(database, at_once))[1]) == 11  # an admin who will not wait


async def test_what_failed_again_may_be_tried_again(database: Database) -> None:
    ids = await letters(database, 1)
    for _ in range(2):
        redrive_id = await started(database)
        _, begun = await step(database, redrive_id)
        assert begun == ids
        await settled(database, begun, well=False)
        assert (await step(database, redrive_id))[0].state == "stopped"


# --- which -------------------------------------------------------------------------------


async def test_the_oldest_up_to_the_limit_of_those_that_match(database: Database) -> None:
    pictures = await letters(database, 3, owner="key:B")
    await letters(database, 3, owner="key:C")
    papers = await letters(database, 3, owner="key:B", type=JobType.PDF)
    for wanted, limit, found in (
        (Filter(owner="key:B"), 2, pictures[:2]),
        (Filter(owner="key:B", type=JobType.PDF), 100, papers),
        (Filter(ids=(papers[2], pictures[0], "unknown")), 100, [pictures[0], papers[2]]),
        (Filter(code="unknown"), 100, []),
        (Filter(until=NOW), 100, []),
    ):
        redrive_id = await started(database, wanted, staged=False, limit=limit)
        advanced = await database.write(redrives.advance(redrive_id, now=NOW))
        assert advanced is not None
        assert [job.id for job in advanced.begun] == found
        assert advanced.redrive.filter == wanted
        await settled(database, found, well=False)


async def test_it_is_audited_with_the_number_of_jobs(database: Database) -> None:
    await letters(database, 3)
    redrive_id = await started(database, Filter(code=FAULT.code, since=0.0), limit=2)
    (act,) = await database.read(audit.page(limit=10))
    assert (act.actor, act.action, act.subject, act.jobs, act.at) == (
        "me", "dead_letters.retry", f"redrive:{redrive_id}", 2, NOW,
    )  # fmt: skip
    assert act.detail == {
        "filter": {"code": FAULT.code, "since": "1970-01-01T00:00:00.000Z"},
        "staged": True,
    }


async def test_what_ended_long_ago_is_forgotten(database: Database) -> None:
    await letters(database, 2)
    ended, runs = await started(database, staged=False, limit=1), await started(database)
    await settled(database, (await step(database, ended))[1])
    await step(database, ended)
    await step(database, runs)
    assert await database.write(redrives.forget_ended(before=NOW)) == 0
    assert await database.write(redrives.forget_ended(before=NOW + 1)) == 1
    assert [one.id for one in await database.read(redrives.latest(limit=10))] == [runs]
    assert await database.write(redrives.advance(ended, now=NOW)) is None
