"""What every database must do with transactions."""

from __future__ import annotations

import asyncio

import pytest

from appliance.database import job_reads, jobs
from appliance.database.job_reads import JobFilter
from appliance.database.protocol import Database, Statement, Transaction
from appliance.errors import ApplianceError
from tests.records import a_job


async def test_what_was_written_is_read_back_whole(database: Database) -> None:
    job = a_job(metadata={"album": "Zürich 2026"}, priority=9)
    await database.write(jobs.create([job]))
    assert await database.read(job_reads.get(job.id)) == job


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    job = a_job()

    def half() -> Transaction[None]:
        yield from jobs.create([job])
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await database.write(half())
    assert await database.read(job_reads.get(job.id)) is None


async def test_a_statement_that_fails_leaves_nothing(database: Database) -> None:
    job, other = a_job(), a_job()
    await database.write(jobs.create([job]))
    with pytest.raises(ApplianceError):
        await database.write(jobs.create([other, job]))  # the second breaks a primary key
    assert await database.read(job_reads.get(other.id)) is None


async def test_one_that_fails_takes_nobody_along(database: Database) -> None:
    """Many at once share a commit: each must stand or fall for itself."""
    known = a_job()
    await database.write(jobs.create([known]))
    fresh = [a_job() for _ in range(40)]
    batch = [jobs.create([job]) for job in fresh]
    batch[7:7] = [jobs.create([known])]
    outcomes = await asyncio.gather(*map(database.write, batch), return_exceptions=True)
    assert [type(o).__name__ for o in outcomes].count("NoneType") == 40
    assert isinstance(outcomes[7], ApplianceError)
    for job in fresh:
        assert await database.read(job_reads.get(job.id)) is not None


async def test_a_cancelled_writer_knows_the_outcome_when_it_goes(database: Database) -> None:
    """Whoever cleans up after a cancellation must find the write settled, one way or other."""
    job = a_job()
    writing = asyncio.create_task(database.write(jobs.create([job])))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await database.read(job_reads.get(job.id)) is not None


async def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(ApplianceError):
        await database.read(jobs.create([a_job()]))


async def test_a_read_is_one_snapshot(database: Database) -> None:
    first, second = a_job(), a_job()
    await database.write(jobs.create([first]))
    loop = asyncio.get_running_loop()

    def look_twice() -> Transaction[tuple[int, int]]:
        before = yield from job_reads.page(limit=10)
        # Another transaction commits while this one is open.
        asyncio.run_coroutine_threadsafe(database.write(jobs.create([second])), loop).result(10)
        after = yield from job_reads.page(limit=10)
        return len(before), len(after)

    assert await database.read(look_twice()) == (1, 1)
    assert len(await database.read(job_reads.page(limit=10))) == 2


async def test_values_are_never_taken_for_sql(database: Database) -> None:
    job = a_job(filename="'; DROP TABLE jobs; --", owner="key:A' OR '1'='1")
    await database.write(jobs.create([job]))
    assert await database.read(job_reads.page(JobFilter(owner="key:A"), limit=10)) == []
    found = await database.read(job_reads.page(JobFilter(name="'; DROP"), limit=10))
    assert [one.filename for one in found] == ["'; DROP TABLE jobs; --"]


async def test_wildcards_in_a_search_are_plain_characters(database: Database) -> None:
    await database.write(jobs.create([a_job(filename="100%.jpg"), a_job(filename="100x.jpg")]))
    found = await database.read(job_reads.page(JobFilter(name="100%"), limit=10))
    assert [job.filename for job in found] == ["100%.jpg"]


async def test_an_unknown_statement_is_our_bug_and_told_so(database: Database) -> None:
    def typo() -> Transaction[None]:
        yield Statement("no_such_statement")

    with pytest.raises(KeyError):
        await database.write(typo())
    await database.write(jobs.create([a_job()]))  # and the database goes on
