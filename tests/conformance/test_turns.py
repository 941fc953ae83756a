"""Who is next, on every database: priorities, owners in turn, pauses, and what comes back."""

from __future__ import annotations

import itertools

from appliance.database import jobs, pauses, turns
from appliance.database.protocol import Database, Transaction
from appliance.jobs import LARGE_BYTES, Job, JobStatus, JobType
from tests.records import FAULT, a_job

NOW = 1_000_100.0

_numbers = itertools.count()
"""Those of the clock have no order within one of its milliseconds."""


async def created(database: Database, count: int = 1, **changes: object) -> list[str]:
    """Ids of new jobs, in the order in which they came."""
    made = [a_job(id=f"{next(_numbers):026}", **changes) for _ in range(count)]
    await database.write(jobs.create(made))
    return [job.id for job in made]


async def ready(database: Database, limit: int = 10, **options: object) -> list[str]:
    return await database.read(
        turns.ready(JobType.IMAGE, limit=limit, now=NOW, **options)  # type: ignore[arg-type]
    )


async def next_job(database: Database) -> str:
    """The id of the job that is claimed now."""
    (job_id,) = await ready(database, 1)
    assert await database.write(jobs.claim(job_id, worker="w", now=NOW)) is not None
    return job_id


async def served_order(database: Database, count: int) -> list[str]:
    return [await next_job(database) for _ in range(count)]


# --- turns -------------------------------------------------------------------------------


async def test_ten_thousand_jobs_of_one_owner_delay_nobody_s_first(database: Database) -> None:
    """Nobody waits for more than what runs already."""
    many = await created(database, 10_000, owner="key:A")
    assert await served_order(database, 3) == many[:3]
    one = await created(database, owner="key:B")
    two = await created(database, owner="key:C")
    assert set(await served_order(database, 2)) == {*one, *two}
    assert await next_job(database) == many[3]


async def test_owners_take_turns_whoever_came_first(database: Database) -> None:
    of_a = await created(database, 4, owner="key:A")
    of_b = await created(database, 2, owner="key:B")
    of_c = await created(database, 1, owner="key:C")
    assert await served_order(database, 7) == [
        of_a[0], of_b[0], of_c[0], of_a[1], of_b[1], of_a[2], of_a[3],
    ]  # fmt: skip


async def test_who_was_away_has_saved_up_nothing(database: Database) -> None:
    """An owner who comes back is served in turn from now on, not for all the turns passed."""
    of_b = await created(database, 1, owner="key:B")
    of_a = await created(database, 20, owner="key:A")
    assert set(await served_order(database, 11)) == {*of_b, *of_a[:10]}
    back = await created(database, 3, owner="key:B")
    order = await served_order(database, 6)
    assert [job_id in back for job_id in order].count(True) == 3
    assert order != [*back, *of_a[10:13]]


async def test_a_higher_priority_goes_first_whoever_s_turn_it_is(database: Database) -> None:
    of_a = await created(database, 2, owner="key:A", priority=5)
    low = await created(database, 1, owner="key:B", priority=0)
    high = await created(database, 2, owner="key:A", priority=9)
    assert await served_order(database, 5) == [*high, *of_a, *low]


async def test_a_retry_goes_to_the_end_of_its_owner_s_lane(database: Database) -> None:
    first, second, third = await created(database, 3, owner="key:A")
    other = await created(database, 2, owner="key:B")
    assert await next_job(database) == first
    await database.write(
        jobs.retry(
            first, attempt=1, now=NOW, next_attempt_at=NOW, error=FAULT, error_class="Crash",
            stderr_tail=None,
        )
    )  # fmt: skip
    assert [job.id for job in await database.write(jobs.stage([first], now=NOW))] == [first]
    assert await served_order(database, 5) == [other[0], second, other[1], third, first]


async def test_what_a_person_has_tried_again_goes_to_the_end_too(database: Database) -> None:
    first, *others = await created(database, 4)
    assert await database.write(jobs.cancel(first, now=NOW, actor="me"))
    assert await database.write(jobs.redrive(first, now=NOW, actor="me"))
    assert await served_order(database, 4) == [*others, first]


async def test_what_was_handed_back_keeps_its_turn(database: Database) -> None:
    first, *others = await created(database, 3)
    assert await next_job(database) == first
    await database.write(
        jobs.release(first, attempt=1, now=NOW, outcome="handed_back", detail="stopping")
    )
    assert await served_order(database, 3) == [first, *others]


async def test_large_ones_are_left_out_where_small_ones_are_wanted(database: Database) -> None:
    large = await created(database, size_bytes=LARGE_BYTES + 1)
    small = await created(database, size_bytes=LARGE_BYTES, owner="key:B")
    assert await ready(database) == [*large, *small]
    assert await ready(database, small_only=True) == small
    await paused(database, "owner", "key:C")
    assert set(await ready(database)) == {*large, *small}
    assert await ready(database, small_only=True) == small


async def test_lanes_that_are_forgotten_change_no_order(database: Database) -> None:
    for owner in ("key:A", "key:B"):
        await created(database, 2, owner=owner)
    await served_order(database, 3)
    before = await ready(database)
    await database.write(turns.forget_idle())
    assert await ready(database) == before
    late = await created(database, owner="key:A")
    assert (await ready(database))[-1] == late[0]


# --- pauses ------------------------------------------------------------------------------


async def paused(
    database: Database, kind: pauses.Kind, name: str, until: float | None = None
) -> None:
    await database.write(
        pauses.set_pause(kind, name, reason="because", actor="me", now=NOW, until=until)
    )


async def test_a_paused_type_is_not_begun(database: Database) -> None:
    waiting = await created(database, 2)
    paper = await created(database, type=JobType.PDF)
    await paused(database, "type", "IMAGE")
    assert await ready(database) == []
    assert await database.read(turns.ready(JobType.PDF, limit=10, now=NOW)) == paper
    await database.write(pauses.resume("type", "IMAGE"))
    assert await ready(database) == waiting


async def test_jobs_of_a_paused_owner_are_not_begun(database: Database) -> None:
    held = await created(database, 3, owner="key:A")
    free = await created(database, 2, owner="key:B")
    await paused(database, "owner", "key:A")
    assert await served_order(database, 2) == free
    assert await ready(database) == []
    await paused(database, "owner", "key:A", until=NOW)  # its time is over
    assert await ready(database) == held


async def test_a_pause_ends_at_its_time(database: Database) -> None:
    waiting = await created(database)
    await paused(database, "type", "IMAGE", until=NOW + 60)
    assert await ready(database) == []
    assert await database.read(turns.ready(JobType.IMAGE, limit=1, now=NOW + 60)) == waiting
    assert await database.write(pauses.forget_ended(now=NOW + 59)) == []
    (ended,) = await database.write(pauses.forget_ended(now=NOW + 60))
    assert (ended.kind, ended.name, ended.reason, ended.actor) == (
        "type", "IMAGE", "because", "me",
    )  # fmt: skip


async def test_what_runs_when_a_pause_begins_goes_on(database: Database) -> None:
    (job_id,) = await created(database)
    assert await next_job(database) == job_id
    await paused(database, "type", "IMAGE")

    def completing() -> Transaction[Job | None]:
        return (yield from jobs.complete(job_id, attempt=1, now=NOW, result={}, files=[]))

    done = await database.write(completing())
    assert done is not None
    assert done.status is JobStatus.COMPLETED
