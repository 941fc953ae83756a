"""What PostgreSQL can do to us: go away, come back, be shared, be set up wrongly."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from appliance.database import figures, history, job_reads, jobs, postgres
from appliance.database.job_reads import JobFilter
from appliance.database.postgres import PostgresDatabase
from appliance.database.protocol import Transaction
from appliance.database.sqlite import SqliteDatabase
from appliance.errors import ConfigurationError, DatabaseUnavailable
from appliance.jobs import JobStatus, JobType
from tests import databases
from tests.records import FAULT, a_job, a_result

NOW = 1_000_000.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return databases.postgres_at(tmp_path)


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    opened = await PostgresDatabase.open(url)
    yield opened
    await opened.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connected to the same server, to another database."""
    connection = await asyncpg.connect(databases.server())
    yield connection
    await connection.close()


def named(url: str) -> str:
    return urlsplit(url).path[1:]


async def end_all(admin: asyncpg.Connection, url: str) -> None:
    """As when the database's server is stopped."""
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", named(url)
    )


async def created(database: PostgresDatabase) -> str:
    job = a_job()
    await database.write(jobs.create([job]))
    return job.id


async def is_there(database: PostgresDatabase, job_id: str) -> bool:
    return await database.read(job_reads.get(job_id)) is not None


# --- it goes away, and comes back -----------------------------------------------------------------


async def test_it_goes_on_after_a_restart(
    database: PostgresDatabase, admin: asyncpg.Connection, url: str
) -> None:
    before = await created(database)
    await end_all(admin, url)
    after = None
    while after is None:
        try:
            after = await created(database)
        except DatabaseUnavailable:
            continue  # the connection was not known to be closed yet
    assert await is_there(database, before)
    assert await is_there(database, after)


async def test_while_it_is_away_everybody_is_told(
    database: PostgresDatabase, admin: asyncpg.Connection, url: str
) -> None:
    await created(database)
    await admin.execute(f"ALTER DATABASE {named(url)} ALLOW_CONNECTIONS false")
    await end_all(admin, url)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await created(database)
        with pytest.raises(DatabaseUnavailable):
            await database.read(job_reads.get("x"))
        with pytest.raises(DatabaseUnavailable):
            await database.condition()
    await admin.execute(f"ALTER DATABASE {named(url)} ALLOW_CONNECTIONS true")
    assert await is_there(database, await created(database))


async def test_what_was_under_way_when_it_went_is_undone(
    database: PostgresDatabase, url: str
) -> None:
    job = a_job()

    def interrupted() -> Transaction[None]:
        yield from jobs.create([job])
        databases.beside(end_all_of(url))
        yield from jobs.create([a_job()])

    with pytest.raises(DatabaseUnavailable):
        await database.write(interrupted())
    await created(database)
    assert not await is_there(database, job.id)


async def end_all_of(url: str) -> None:
    connection = await asyncpg.connect(databases.server())
    await end_all(connection, url)
    await connection.close()


@asynccontextmanager
async def losing_answers_to(command: bytes, url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the database on which, while the event is set, the connection breaks before the
    answer to a command comes back. That clears the event."""
    armed = asyncio.Event()
    target = urlsplit(url)
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        back, there = await asyncio.open_connection(target.hostname, target.port)
        is_lost = False

        async def forth() -> None:
            nonlocal is_lost
            while piece := await reader.read(65536):
                is_lost = is_lost or (armed.is_set() and command in piece)
                there.write(piece)

        async def answer() -> None:
            while (piece := await back.read(65536)) and not is_lost:
                writer.write(piece)
            if is_lost:
                armed.clear()

        ways = [asyncio.ensure_future(forth()), asyncio.ensure_future(answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, there):
                end.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    host = f"{target.username}:{target.password}@127.0.0.1:{port}"
    async with server:
        yield urlunsplit(target._replace(netloc=host)), armed
        await asyncio.wait(running)


async def test_a_commit_whose_answer_is_lost_is_known_to_stand(url: str) -> None:
    """Told that it failed, the caller would delete the file of a job that is there."""
    async with losing_answers_to(b"COMMIT", url) as (way, armed):
        database = await PostgresDatabase.open(way)
        await created(database)
        armed.set()
        job_id = await created(database)
        assert not armed.is_set()
        assert await is_there(database, job_id)
        await database.close()


async def test_a_commit_that_never_arrived_has_failed(url: str) -> None:
    async with losing_answers_to(b"BEGIN", url) as (way, armed):
        database = await PostgresDatabase.open(way)
        await created(database)
        armed.set()
        job = a_job()
        with pytest.raises(DatabaseUnavailable):
            await database.write(jobs.create([job]))
        assert not await is_there(database, job.id)
        await database.close()


# --- it is shared ---------------------------------------------------------------------------------


async def test_servers_that_start_together_migrate_it_once(
    admin: asyncpg.Connection, tmp_path: Path
) -> None:
    url = databases.postgres_at(tmp_path / "together")
    connection = await asyncpg.connect(url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    opened = await asyncio.gather(*(PostgresDatabase.open(url) for _ in range(4)))
    for one in opened:
        await created(one)
        await one.close()


async def test_who_holds_the_lock_and_says_nothing_holds_nobody_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was stopped in the middle of a transaction."""
    monkeypatch.setattr(postgres, "SILENCE_S", 0.5)
    async with AsyncExitStack() as stack:
        silent, other = [await PostgresDatabase.open(url) for _ in range(2)]
        for one in (silent, other):
            stack.push_async_callback(one.close)
        job, written = a_job(), list[str]()

        def stopped() -> Transaction[None]:
            yield from jobs.create([job])
            # This whole event loop stands still meanwhile, as a stopped process does.
            written.append(databases.beside(write_beside()))
            yield from jobs.create([a_job()])

        async def write_beside() -> str:
            beside = await PostgresDatabase.open(url)
            job_id = await created(beside)
            await beside.close()
            return job_id

        with pytest.raises(DatabaseUnavailable):
            await silent.write(stopped())
        assert not await is_there(other, job.id)
        assert await is_there(other, written[0])
        await created(silent)


async def test_a_lock_that_is_not_let_go_is_not_waited_for_for_ever(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_S", 0.2)
    database = await PostgresDatabase.open(url)
    holder = await asyncpg.connect(url)
    await holder.execute(f"SELECT pg_advisory_lock({postgres.WRITING})")
    with pytest.raises(DatabaseUnavailable):
        await created(database)
    assert await database.read(job_reads.page(limit=1)) == []
    await holder.close()
    await created(database)
    await database.close()


# --- a copy ---------------------------------------------------------------------------------------


async def lived_in(database: PostgresDatabase) -> None:
    """Something of everything that a few jobs leave."""
    made = [a_job(filename=f"Ärger {at}.jpg", metadata={"at": at}) for at in range(6)]
    await database.write(jobs.create(made))
    ids = [job.id for job in made]
    await database.write(jobs.claim_all(ids[:4], worker="w", now=NOW))
    results = [a_result(ids[0], 1)]
    await database.write(
        jobs.complete(ids[0], attempt=1, now=NOW + 3, result={"width": 4}, files=results)
    )
    ending = {"attempt": 1, "now": NOW, "error": FAULT, "error_class": "E", "stderr_tail": "…"}
    await database.write(jobs.fail(ids[1], **ending))
    await database.write(jobs.retry(ids[2], next_attempt_at=NOW + 2, **ending))
    await database.write(jobs.cancel(ids[3], now=NOW, actor="somebody"))


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        " AND name NOT LIKE 'upload_names%'"
    ).fetchall()
    rows = {
        name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
        for (name,) in names
    }
    connection.close()
    return rows


async def test_a_copy_is_a_file_that_works_and_comes_back_whole(
    database: PostgresDatabase, tmp_path: Path
) -> None:
    await lived_in(database)
    await database.copy_to(tmp_path / "copy.db")
    copy = await SqliteDatabase.open(tmp_path / "copy.db")
    questions: list[Callable[[], Transaction[object]]] = [
        lambda: job_reads.page(limit=10),
        lambda: job_reads.page(JobFilter(name="ÄRGER"), limit=10),
        figures.queue,
        figures.stored,
        lambda: history.read(history.HOUR, now=NOW),
    ]
    for asked in questions:
        assert await copy.read(asked()) == await database.read(asked())
    assert await copy.check(now=0.0) == []
    await copy.close()

    other = await PostgresDatabase.open(databases.postgres_at(tmp_path / "other"))
    await created(other)  # goes: it is taken in instead of what is there
    await other.take_in(tmp_path / "copy.db")
    await other.copy_to(tmp_path / "again.db")
    assert rows_of(tmp_path / "again.db") == rows_of(tmp_path / "copy.db")
    counted = await other.read(figures.queue())
    await created(other)  # counters, and the numbers of history and names, go on
    assert (await other.read(figures.queue())).total(JobStatus.PENDING) == (
        counted.total(JobStatus.PENDING) + 1
    )
    found = await other.read(job_reads.page(JobFilter(name="ärger"), limit=10))
    assert len(found) == 6
    await other.close()


async def test_figures_are_whole_numbers_as_elsewhere(database: PostgresDatabase) -> None:
    """Sums are NUMERIC there, which JSON does not know."""
    await lived_in(database)
    for slot in filter(None, await database.read(history.read(history.HOUR, now=NOW))):
        assert type(slot.received) is type(slot.received_bytes) is int
    stored = await database.read(figures.stored())
    assert json.dumps(stored[JobType.IMAGE])


async def test_looking_it_through_finds_nothing_wrong(database: PostgresDatabase) -> None:
    await lived_in(database)
    assert await database.check(now=NOW) == []
    condition = await database.condition()
    assert condition.size_bytes > 1_000_000
    assert condition.checked_at == NOW


# --- it is set up wrongly -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"netloc": "appliance:wrong@{host}"}, "password"),
        ({"path": "/no_such_database"}, "does not exist"),
    ],
)
async def test_what_is_set_wrongly_is_told(url: str, change: dict[str, str], told: str) -> None:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    changed = {name: value.format(host=host) for name, value in change.items()}
    with pytest.raises(ConfigurationError, match=told) as refused:
        await PostgresDatabase.open(urlunsplit(parts._replace(**changed)))
    assert refused.value.faults[0].startswith("APPLIANCE_DATABASE_URL: ")


async def test_a_database_that_does_not_know_all_letters_is_refused(
    admin: asyncpg.Connection, url: str
) -> None:
    name = f"{named(url)}_ascii"
    await admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(ConfigurationError, match="UTF8"):
            await PostgresDatabase.open(urlunsplit(urlsplit(url)._replace(path=f"/{name}")))
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_user_who_may_make_no_tables_is_told_how(
    admin: asyncpg.Connection, url: str
) -> None:
    user = f"u{named(url)}"
    await admin.execute(f"CREATE USER {user} PASSWORD 'weak'")
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    strangers = urlunsplit(parts._replace(netloc=f"{user}:weak@{host}", path="/postgres"))
    try:
        with pytest.raises(ConfigurationError, match="owner of the database"):
            await PostgresDatabase.open(strangers)
    finally:
        await admin.execute(f"DROP USER {user}")


async def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO schema_version VALUES (9999)")
    await connection.close()
    with pytest.raises(DatabaseUnavailable, match="newer version"):
        await PostgresDatabase.open(url)
