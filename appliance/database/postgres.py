"""PostgreSQL, for several servers on one database.

**One writer at a time**, as on SQLite: a batch of transactions is committed under a lock that all
servers share (an advisory one, let go by the commit itself). So each sees all that was written
before it and nothing that is under way: what a transaction has read holds until it is committed,
ids of history are in the order of the commits, rows that everybody counts in are no new wait, and
nothing ends in a deadlock or must be done again. It costs the network's way to the database for
each statement while others wait; what that comes to is in docs/decisions/0042-postgresql.md.

A transaction that fails is undone alone, by its savepoint. Readers have connections of their own,
and wait for nobody. What is lost with a connection is told as DatabaseUnavailable; the next
transaction makes another connection.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asyncpg
import structlog
from asyncpg import exceptions

from appliance.database.committer import Batch, Committer, Outcomes, Returned
from appliance.database.postgres_copies import read_file, write_file
from appliance.database.protocol import Condition, Rows, Transaction
from appliance.database.sqlite import translated
from appliance.database.statements import SQL, load
from appliance.errors import (
    ApplianceError,
    ConfigurationError,
    DatabaseCorrupt,
    DatabaseUnavailable,
    StorageFull,
)

log = structlog.get_logger()
T = TypeVar("T")
Connection = Any
"""asyncpg's; its classes are generic where nothing is gained by it."""

READERS = 8
CONNECT_S = 5.0
PATIENCE_AT_START_S = 30.0
"""For how long a database that does not answer yet is asked again, before the start fails."""
ANSWER_S = 60.0
"""What a statement may take, the server's word for it; the client waits a little longer."""
LOCK_S = 15.0
"""How long a batch waits for those of other servers."""
SILENCE_S = 5.0
"""After this the database ends a transaction whose server says nothing: it was stopped, or cut off,
and the others wait for its lock. Less than LOCK_S, so that they need not fail."""
DOUBT_S = 10.0
"""For how long it is asked what became of a commit whose answer was lost."""

MAX_BATCH = 64
"""PostgreSQL keeps as many savepoints of a transaction at hand; with more, readers pay."""
BATCH_S = 0.05
"""When a batch has taken as long, the rest waits for the next: others want the lock too."""

WRITING, MIGRATING = 0x75706C6F61640001, 0x75706C6F61640002
"""Numbers of advisory locks; a database has its own."""

_BEGIN = f"BEGIN; SELECT pg_advisory_xact_lock({WRITING}); SAVEPOINT own"
_NEXT = "RELEASE own; SAVEPOINT own"
_UNDO = "ROLLBACK TO own"

_MIGRATIONS = SQL / "postgres" / "migrations"
_OLDEST = 130000

_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the driver raises. TimeoutError is an OSError."""


class _Prepared(NamedTuple):
    """A statement as PostgreSQL takes it, `$1` for the first of `names`."""

    sql: str
    names: tuple[str, ...]

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        return [_value(parameters[name]) for name in self.names]


class PostgresDatabase:
    """Use `open`; see `appliance.database.protocol.Database` for the contract."""

    def __init__(self, url: str, readers: Any) -> None:
        self._url = url
        self._statements = prepared_statements()
        self._readers = readers
        self._writer: Connection | None = None
        self.faults: Sequence[str] = ()
        self._checked_at: float | None = None
        self._committer = Committer(self._commit, most=MAX_BATCH, name="postgres-committer")

    @classmethod
    async def open(cls, url: str) -> PostgresDatabase:
        """Connect to the database at `url` and bring its schema up to date.

        Raises ConfigurationError where there is none, or none that can be used;
        DatabaseUnavailable.
        """
        connection = await _first_connection(url)
        try:
            await _migrate(connection)
            readers = await asyncpg.create_pool(
                url,
                min_size=0,  # what it keeps up by itself, it tells of on the console
                max_size=READERS,
                timeout=CONNECT_S,
                command_timeout=ANSWER_S + CONNECT_S,
                init=_know_numbers,
                reset=_nothing,
                server_settings=_settings(
                    default_transaction_read_only="on",
                    # A plan for any values would go by the wrong index for many.
                    plan_cache_mode="force_custom_plan",
                ),
            )
        except _FAULTS as error:
            raise _translated(error) from error
        finally:
            await _close(connection)
        return cls(url, readers)

    async def write(self, transaction: Transaction[T]) -> T:
        return await self._committer.write(transaction)

    async def read(self, transaction: Transaction[T]) -> T:
        try:
            async with (
                self._readers.acquire(timeout=ANSWER_S) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return await self._drive(connection, transaction)
        except _FAULTS as error:
            raise _translated(error) from error

    async def check(self, *, now: float) -> Sequence[str]:
        """Reads every row of every table, so that a page that cannot be read is found. Where the
        cluster has checksums, a page that rotted is one."""
        faults = []
        async with self._beside() as connection:
            for table in await _tables(connection):
                try:
                    await connection.execute(f"SELECT sum(length(t::text)) FROM {table} t")
                except asyncpg.PostgresError as error:
                    faults.append(f"{table}: {error}")
        self.faults = faults
        self._checked_at = now
        return faults

    async def copy_to(self, path: Path) -> None:
        """The copy is a file of SQLite, whatever the database: what reads backups knows one."""
        async with self._beside() as connection:
            await write_file(connection, path)

    async def take_in(self, path: Path) -> None:
        """Hold what that file of SQLite holds, instead of what is here: all, or nothing of it.

        Raises StorageFull, DatabaseUnavailable.
        """
        async with self._beside() as connection:
            await read_file(connection, path)

    async def condition(self) -> Condition:
        try:
            async with self._readers.acquire(timeout=ANSWER_S) as connection:
                size = await connection.fetchval("SELECT pg_database_size(current_database())")
        except _FAULTS as error:
            raise _translated(error) from error
        return Condition(size, None, self._checked_at)

    async def close(self) -> None:
        await self._committer.close()
        if self._writer is not None:
            await _close(self._writer)
        try:
            await asyncio.wait_for(self._readers.close(), CONNECT_S)
        except _FAULTS:
            self._readers.terminate()

    # --- writing --------------------------------------------------------------------------------

    async def _commit(self, batch: Batch) -> Outcomes:
        try:
            connection = await self._connected()
            try:
                return await self._commit_on(connection, batch)
            except BaseException:
                # Whatever it was in the middle of: the database undoes it.
                connection.terminate()
                raise
        except _FAULTS as error:
            raise _translated(error) from error

    async def _connected(self) -> Connection:
        if self._writer is None or self._writer.is_closed():
            self._writer = await _connect(
                self._url,
                lock_timeout=_ms(LOCK_S),
                idle_in_transaction_session_timeout=_ms(SILENCE_S),
            )
            # What was answered must be on the disk. A stricter setting is left as it is.
            await self._writer.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
        return self._writer

    async def _commit_on(self, connection: Connection, batch: Batch) -> Outcomes:
        """One commit for the first transactions of the batch, as many as time allows."""
        outcomes: list[Returned | BaseException] = []
        await connection.execute(_BEGIN)
        ends = time.monotonic() + BATCH_S
        for transaction in batch:
            if outcomes and time.monotonic() > ends:
                break
            if outcomes and isinstance(outcomes[-1], Returned):
                await connection.execute(_NEXT)
            try:
                outcomes.append(Returned(await self._drive(connection, transaction)))
            except Exception as error:
                if connection.is_closed() or _is_of_the_whole(error):
                    raise
                await connection.execute(_UNDO)
                outcomes.append(_translated(error))
        number = await connection.fetchval("SELECT pg_current_xact_id_if_assigned()::text")
        try:
            await connection.execute("COMMIT")
        except _FAULTS as error:
            if number is not None and not await self._was_committed(number):
                raise
            log.warning("commit_in_doubt", error=str(error), transactions=len(outcomes))
        return outcomes

    async def _was_committed(self, number: str) -> bool:
        """What became of a commit whose answer was lost with the connection.

        Raises what the driver raises, where the database cannot be asked in time.
        """
        ends = time.monotonic() + DOUBT_S
        while True:
            try:
                connection = await _connect(self._url)
                try:
                    state = await connection.fetchval(
                        "SELECT pg_xact_status($1::text::xid8)", number
                    )
                finally:
                    await _close(connection)
                if state != "in progress":
                    return bool(state == "committed")
            except _FAULTS:
                if time.monotonic() > ends:
                    raise
            await asyncio.sleep(0.2)

    # --- both ways ------------------------------------------------------------------------------

    async def _drive(self, connection: Connection, transaction: Transaction[T]) -> T:
        """Run the transaction to its end."""
        rows: Rows | None = None
        try:
            while True:
                statement = transaction.send(rows)  # type: ignore[arg-type]  # None starts it
                prepared = self._statements[statement.name]
                rows = await connection.fetch(
                    prepared.sql, *prepared.arguments(statement.parameters)
                )
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            transaction.close()

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[Connection]:
        """A connection that takes its time, and keeps nobody waiting for a reader."""
        try:
            connection = await _connect(self._url, answer_s=None)
            try:
                yield connection
            finally:
                await _close(connection)
        except _FAULTS as error:
            raise _translated(error) from error
        except sqlite3.Error as error:  # of the file beside
            raise translated(error) from error


# --- statements -----------------------------------------------------------------------------------

_TOKENS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|::\w+|\bINDEXED BY \w+|:(?P<name>\w+)")


def prepared_statements() -> dict[str, _Prepared]:
    return {name: prepared(sql) for name, sql in load("postgres").items()}


def prepared(sql: str) -> _Prepared:
    """With numbers for its parameters' names, and without the hints to SQLite's planner."""
    names: dict[str, int] = {}

    def replaced(token: re.Match[str]) -> str:
        if token["name"] is not None:
            return f"${names.setdefault(token['name'], len(names) + 1)}"
        return "" if token[0].startswith("INDEXED") else token[0]

    return _Prepared(_TOKENS.sub(replaced, sql), tuple(names))


def _value(value: Any) -> Any:
    """Text may hold anything but NUL here; it is shown as what cannot be shown."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def _number(text: str) -> int | float:
    """No column is NUMERIC; sums of whole numbers and their means are."""
    return float(text) if "." in text else int(text)


# --- connections ----------------------------------------------------------------------------------


def _settings(*, answer_s: float | None = ANSWER_S, **settings: str) -> dict[str, str]:
    return {
        "application_name": "appliance",
        "statement_timeout": _ms(answer_s or 0),
        "jit": "off",  # compiling takes longer than any statement here
        "random_page_cost": "1.1",  # what is asked often is in memory; the rest hardly on spindles
        **settings,
    }


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


async def _connect(url: str, *, answer_s: float | None = ANSWER_S, **settings: str) -> Connection:
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_S,
        command_timeout=None if answer_s is None else answer_s + CONNECT_S,
        server_settings=_settings(answer_s=answer_s, **settings),
    )
    await _know_numbers(connection)
    return connection


async def _close(connection: Connection) -> None:
    with suppress(*_FAULTS):  # it is gone, then
        await connection.close(timeout=CONNECT_S)


async def _know_numbers(connection: Connection) -> None:
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text"
    )


async def _nothing(connection: Connection) -> None:
    """Nobody changes the session of a reader: there is nothing to put back."""


async def _first_connection(url: str) -> Connection:
    """Waits for a database that starts beside this server.

    Raises ConfigurationError, DatabaseUnavailable.
    """
    ends = time.monotonic() + PATIENCE_AT_START_S
    while True:
        try:
            connection = await _connect(url, answer_s=None)
            break
        except (
            exceptions.InvalidAuthorizationSpecificationError,
            exceptions.InvalidCatalogNameError,
            exceptions.ClientConfigurationError,
            ValueError,
        ) as error:
            raise ConfigurationError([f"APPLIANCE_DATABASE_URL: {error}."]) from error
        except _FAULTS as error:
            if time.monotonic() > ends:
                raise _translated(error) from error
            log.info("database_awaited", error=str(error))
            await asyncio.sleep(0.5)
    fault = None
    if connection.get_settings().server_encoding != "UTF8":
        fault = "has not the encoding UTF8; create one with ENCODING 'UTF8' TEMPLATE template0"
    elif await connection.fetchval("SHOW server_version_num") < str(_OLDEST):
        fault = f"is older than PostgreSQL {_OLDEST // 10_000}"
    if fault is not None:
        await _close(connection)
        raise ConfigurationError([f"APPLIANCE_DATABASE_URL: the database {fault}."])
    return connection


# --- the schema -----------------------------------------------------------------------------------


async def _migrate(connection: Connection) -> None:
    """Apply the migrations that the database has not seen, in order, each in its transaction.

    Of servers that start together one does it, and the others wait. They are numbered as those of
    SQLite; the first makes what SQLite has by then.
    """
    await connection.execute(f"SELECT pg_advisory_lock({MIGRATING})")
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
        )
    except exceptions.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            [
                f"APPLIANCE_DATABASE_URL: {error}. Make the user the owner of the database "
                "(ALTER DATABASE … OWNER TO …), or grant it CREATE on the schema."
            ]
        ) from error
    current = await connection.fetchval("SELECT max(version) FROM schema_version") or 0
    migrations = sorted(_MIGRATIONS.iterdir(), key=lambda entry: entry.name)
    for migration in migrations:
        number = int(migration.name[:4])
        if number <= current:
            continue
        async with connection.transaction():
            await connection.execute(migration.read_text("utf-8"))
            await connection.execute("INSERT INTO schema_version VALUES ($1)", number)
        log.info("schema_migrated", migration=migration.name)
    newest = int(migrations[-1].name[:4])
    if current > newest:
        raise DatabaseUnavailable(
            f"The database was written by a newer version (schema {current}, this one knows "
            f"{newest}). Start the newer version again, or restore a backup."
        )


async def _tables(connection: Connection) -> list[str]:
    """Those of the appliance, quoted."""
    rows = await connection.fetch(
        "SELECT quote_ident(tablename) AS name FROM pg_tables"
        " WHERE schemaname = current_schema() ORDER BY tablename"
    )
    return [row["name"] for row in rows]


# --- errors ---------------------------------------------------------------------------------------


def _is_of_the_whole(error: BaseException) -> bool:
    """Not of one transaction: the database goes down, became a standby, or is not heard of."""
    return isinstance(
        error,
        (
            exceptions.ReadOnlySQLTransactionError,
            exceptions.OperatorInterventionError,
            exceptions.PostgresConnectionError,
            OSError,
        ),
    ) and not isinstance(error, exceptions.QueryCanceledError)


def _translated(error: BaseException) -> BaseException:
    """The error of our tree for one of the driver's, with the driver's as its cause."""
    if not isinstance(error, _FAULTS) or isinstance(error, ApplianceError):
        return error
    ours: ApplianceError
    if isinstance(error, exceptions.DiskFullError):
        ours = StorageFull("The database's disk is full. Free some space.")
    elif isinstance(error, (exceptions.DataCorruptedError, exceptions.IndexCorruptedError)):
        ours = DatabaseCorrupt(
            f"The database is damaged ({error}). Stop the servers, keep a copy of the cluster, and "
            "restore the latest backup. The files in the store are not affected."
        )
    else:
        ours = DatabaseUnavailable(f"The database failed: {error or type(error).__name__}.")
    ours.__cause__ = error
    return ours
