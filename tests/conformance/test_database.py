"""What every database must do with transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.database import figures, job_reads, jobs, ownership, stored_files
from appliance.database.job_reads import JobFilter
from appliance.database.protocol import Database, Statement, Transaction
from appliance.database.sqlite import SqliteDatabase
from appliance.errors import ApplianceError, QuotaExceeded
from appliance.jobs import JobStatus, JobType
from tests.conformance.conftest import OpenDatabase
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


async def test_a_read_is_one_snapshot(database: Database, open_database: OpenDatabase) -> None:
    await database.write(jobs.create([a_job()]))

    async def write_beside() -> None:
        beside = await open_database()
        await beside.write(jobs.create([a_job()]))
        await beside.close()

    def look_twice() -> Transaction[tuple[int, int]]:
        before = yield from job_reads.page(limit=10)
        # Another server commits while this transaction is open.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, write_beside()).result(30)
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


# --- several servers on one database --------------------------------------------------------------

SERVERS = 3


@pytest.fixture
async def servers(open_database: OpenDatabase) -> AsyncIterator[list[Database]]:
    opened = [await open_database() for _ in range(SERVERS)]
    yield opened
    await asyncio.gather(*(one.close() for one in opened))


async def test_a_job_is_claimed_by_one_of_them(servers: list[Database]) -> None:
    made = [a_job() for _ in range(30)]
    await servers[0].write(jobs.create(made))
    ids = [job.id for job in made]

    async def claim_some(number: int, one: Database) -> list[str]:
        parts = [ids[at : at + 7] for at in range(0, len(ids), 7)]
        claims = await asyncio.gather(
            *(one.write(jobs.claim_all(part, worker=f"w{number}", now=1.0)) for part in parts)
        )
        return [claim.job.id for some in claims for claim in some]

    claimed = await asyncio.gather(*(claim_some(*which) for which in enumerate(servers)))
    assert sorted(one for some in claimed for one in some) == sorted(ids)


async def test_what_is_counted_is_right_whoever_writes(servers: list[Database]) -> None:
    made = [[a_job() for _ in range(10)] for _ in servers]
    await asyncio.gather(
        *(
            one.write(jobs.create([job]))
            for one, some in zip(servers, made, strict=True)
            for job in some
        )
    )
    ids = [job.id for some in made for job in some]
    await asyncio.gather(
        *(
            servers[at % SERVERS].write(jobs.cancel(job_id, now=2.0, actor="somebody"))
            for at, job_id in enumerate(ids[:12])
        )
    )
    counted = await servers[0].read(figures.queue())
    assert counted.total(JobStatus.PENDING) == len(ids) - 12
    assert counted.total(JobStatus.CANCELLED) == 12


async def test_moves_become_known_in_the_order_of_their_numbers(servers: list[Database]) -> None:
    """Whoever follows the history asks for what is behind the last move that he knows: none may
    come to be known later with a lower number. Nothing else is common to what is written here."""
    reader, *writers = servers
    writing = asyncio.gather(
        *(
            one.write(jobs.create([a_job(owner=f"key:{kind}", type=kind) for _ in range(3)]))
            for _ in range(40)
            for one, kind in zip(writers, (JobType.PDF, JobType.VIDEO), strict=True)
        )
    )
    known: list[str] = []
    last, is_over = 0, False
    while not is_over:
        is_over = writing.done()
        moved, _ = await reader.read(job_reads.changed_since(last, owner=None, limit=1000))
        known += [job.id for _, job in moved]
        last = max((number for number, _ in moved), default=last)
    await writing
    assert len(known) == len(set(known)) == 40 * 3 * len(writers)


async def test_a_quota_is_held_however_many_take_at_once(servers: list[Database]) -> None:
    if isinstance(servers[0], SqliteDatabase):
        # A file has one server. Where a batch is done again because one of it failed, what another
        # process has written in between is not looked at anew.
        servers = servers[:1]
    quota = ownership.Quota(files=5)
    outcomes = await asyncio.gather(
        *(
            one.write(ownership.within(quota, "key:A", jobs.create([a_job(owner="key:A")])))
            for _ in range(8)
            for one in servers
        ),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 5
    assert all(isinstance(outcome, QuotaExceeded) for outcome in outcomes if outcome is not None)


# --- values ---------------------------------------------------------------------------------------


async def test_names_are_sorted_by_their_bytes(database: Database) -> None:
    made = [a_job(id=one, storage_key=one) for one in ("b", "a", "Z", "_", "B", "0")]
    await database.write(jobs.create(made))
    found = await database.read(job_reads.page(limit=10))
    assert [job.id for job in found] == ["b", "a", "_", "Z", "B", "0"]
    files = await database.read(stored_files.originals_named("", limit=10))
    assert [file.id for file in files] == ["0", "B", "Z", "_", "a", "b"]


async def test_a_name_is_found_in_either_case(database: Database) -> None:
    await database.write(jobs.create([a_job(filename="ΑΘΗΝΑ Ärger 50%_a.jpg"), a_job()]))
    for part in ("αθηνα", "äRG", "0%_", "ä"):
        found = await database.read(job_reads.page(JobFilter(name=part), limit=10))
        assert [job.filename for job in found] == ["ΑΘΗΝΑ Ärger 50%_a.jpg"], part


async def test_what_text_cannot_hold_does_not_stop_it(database: Database) -> None:
    job = a_job(filename="nul\0 and 🗎")
    await database.write(jobs.create([job]))
    read = await database.read(job_reads.get(job.id))
    assert read is not None
    assert read.filename.replace("\ufffd", "\0") == job.filename
