"""SQLite, embedded: one writer connection with group commit, a few readers beside it.

SQLite has one writer at a time and a durable commit costs a disk sync (milliseconds), so
transactions that arrive while one is being synced wait together and share the next commit. One
that fails takes nothing else with it: what the others did is rolled back too and done again. (A
savepoint for each would do the same, but makes SQLite copy every page that the batch has touched
before: 10 us a job, measured.) All of a batch's statements run in one visit to the connection's
thread; a hop per statement costs more than the statements themselves.

WAL with `synchronous=FULL`: WAL with NORMAL lost acknowledged rows in a simulated power cut.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import structlog

from appliance.database.committer import Batch, Committer, Outcomes, Returned
from appliance.database.protocol import Condition, Rows, Transaction
from appliance.database.statements import SQL, load
from appliance.errors import (
    ApplianceError,
    DatabaseCorrupt,
    DatabaseUnavailable,
    StorageFull,
)
from appliance.threads import until_done

log = structlog.get_logger()
T = TypeVar("T")

READERS = 3
BUSY_TIMEOUT_MS = 10_000
CHECK_AT_START_BYTES = 256 * 1024**2
"""A file up to this size is looked through before anything relies on it; a larger one behind the
start, by maintenance."""
MAX_BATCH = 512
"""Transactions that share a commit; bounds how long the first of them waits."""

_MIGRATIONS = SQL / "sqlite" / "migrations"


class _Connection(aiosqlite.Connection):
    """aiosqlite's connection and thread, with one addition: a function run on that thread.

    aiosqlite offers single statements only; a whole batch in one hop is 4 times as fast.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # A process that fails before it closes the database must still be able to end; what
        # was committed is safe, whenever that is.
        self._thread.daemon = True

    async def ended(self) -> None:
        """Wait for the thread of a connection that could not be made: it tells its event loop
        that it stops, and that must still be there."""
        await asyncio.to_thread(self._thread.join)

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return result


_Executed = tuple[str, Mapping[str, Any]]


class SqliteDatabase:
    """Use `open`; see `appliance.database.protocol.Database` for the contract."""

    def __init__(
        self,
        path: Path,
        statements: Mapping[str, str],
        writer: _Connection,
        readers: list[_Connection],
    ) -> None:
        self._path = path
        self._statements = statements
        self._writer = writer
        self._readers = readers
        self._free_readers: asyncio.Queue[_Connection] = asyncio.Queue()
        for reader in readers:
            self._free_readers.put_nowait(reader)
        self.faults: Sequence[str] = ()
        self._checked_at: float | None = None
        self._committer = Committer(self._commit, most=MAX_BATCH, name="sqlite-committer")

    @classmethod
    async def open(cls, path: Path) -> SqliteDatabase:
        """Open or create the file at `path` and bring its schema up to date.

        Raises DatabaseCorrupt, DatabaseUnavailable.
        """
        statements = load("sqlite")
        writer = await _connect(path)
        readers: list[_Connection] = []
        try:
            if found := await writer.run(_faults_of_small):
                raise _corrupt(found[0], path)
            for migration in await writer.run(migrate):
                log.info("schema_migrated", migration=migration)
            for _ in range(READERS):
                readers.append(await _connect(path, query_only=True))
        except BaseException as error:
            for connection in (*readers, writer):
                await connection.close()
            if isinstance(error, sqlite3.Error):
                raise translated(error, path) from error
            raise
        return cls(path, statements, writer, readers)

    async def write(self, transaction: Transaction[T]) -> T:
        return await self._committer.write(transaction)

    async def read(self, transaction: Transaction[T]) -> T:
        reader = await self._free_readers.get()
        try:
            return await reader.run(lambda connection: self._snapshot(connection, transaction))
        except sqlite3.Error as error:
            raise translated(error) from error
        finally:
            self._free_readers.put_nowait(reader)

    async def check(self, *, now: float) -> Sequence[str]:
        connection = await _connect(self._path, query_only=True)
        try:
            self.faults = await connection.run(_faults)
        except sqlite3.Error as error:
            self.faults = [str(error)]
        finally:
            await connection.close()
        self._checked_at = now
        return self.faults

    async def copy_to(self, path: Path) -> None:
        connection = await _connect(self._path, query_only=True)
        try:
            await connection.run(lambda source: _copy(source, path))
        except sqlite3.Error as error:
            raise translated(error, path) from error
        finally:
            await connection.close()

    async def condition(self) -> Condition:
        log = self._path.with_name(self._path.name + "-wal")
        size, log_size = await asyncio.to_thread(lambda: (_size(self._path), _size(log)))
        return Condition(size + log_size, log_size, self._checked_at)

    async def close(self) -> None:
        await self._committer.close()
        for connection in (*self._readers, self._writer):
            await connection.close()

    # --- writing: what is done for the committer, on the writer's thread ----------------------

    async def _commit(self, batch: Batch) -> Outcomes:
        try:
            return await self._writer.run(lambda connection: self._commit_on(connection, batch))
        except sqlite3.Error as error:
            raise translated(error) from error

    def _commit_on(self, connection: sqlite3.Connection, batch: Batch) -> Outcomes:
        """One commit for the whole batch: each transaction's value or what it raised.

        Raises what SQLite raises when the commit itself fails: then none took effect.
        """
        outcomes: list[Returned | BaseException] = []
        done: list[_Executed] = []
        connection.execute("BEGIN IMMEDIATE")
        try:
            for transaction in batch:
                good, changes = len(done), connection.total_changes
                try:
                    outcomes.append(Returned(self._drive(connection, transaction, done)))
                except Exception as error:
                    if not connection.in_transaction:
                        raise  # disk full and I/O errors roll back everything, not just ours
                    del done[good:]
                    if connection.total_changes != changes:
                        connection.execute("ROLLBACK")
                        connection.execute("BEGIN IMMEDIATE")
                        # Nobody else writes, so from the same state the same statements do the
                        # same again.
                        for sql, parameters in done:
                            connection.execute(sql, parameters).fetchall()
                    outcomes.append(translated(error))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes

    # --- both ways --------------------------------------------------------------------------

    def _snapshot(self, connection: sqlite3.Connection, transaction: Transaction[T]) -> T:
        connection.execute("BEGIN")
        try:
            return self._drive(connection, transaction, [])
        finally:
            connection.execute("ROLLBACK")

    def _drive(
        self, connection: sqlite3.Connection, transaction: Transaction[T], done: list[_Executed]
    ) -> T:
        """Run the transaction to its end; what was executed is added to `done`."""
        rows: Rows | None = None
        try:
            while True:
                statement = transaction.send(rows)  # type: ignore[arg-type]  # None starts it
                sql = self._statements[statement.name]
                rows = connection.execute(sql, statement.parameters).fetchall()
                done.append((sql, statement.parameters))
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            transaction.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def _connect(path: Path, *, query_only: bool = False) -> _Connection:
    def connector() -> sqlite3.Connection:
        connection = sqlite3.connect(
            path,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_MS / 1000,
            cached_statements=256,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        define_functions(connection)
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
            "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000;"
            + ("PRAGMA query_only=ON;" if query_only else "")
        )
        return connection

    connection = _Connection(connector)
    opening = asyncio.ensure_future(connection)
    try:
        await asyncio.shield(opening)
        return connection
    except sqlite3.Error as error:
        await connection.ended()
        raise translated(error, path) from error
    except asyncio.CancelledError:
        # Its thread will tell the event loop that it is there: that must not be closed by then.
        await until_done(opening)
        if opening.exception() is None:
            await until_done(asyncio.ensure_future(connection.close()))
        raise


def define_functions(connection: sqlite3.Connection) -> None:
    """What statements use beside SQLite's own, whose `lower` and `LIKE` know ASCII only, and whose
    `max` of two values has another name elsewhere."""
    connection.create_function("lowered", 1, str.lower, deterministic=True)
    connection.create_function("greatest", 2, max, deterministic=True)


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Apply the migrations that the file has not seen, in order, each in its transaction.

    The version is SQLite's own `user_version`: the number of the last migration applied. Returns
    the names of those that were applied.
    """
    applied = []
    migrations = sorted(_MIGRATIONS.iterdir(), key=lambda entry: entry.name)
    for migration in migrations:
        number = int(migration.name[:4])
        (current,) = connection.execute("PRAGMA user_version").fetchone()
        if number <= current:
            continue
        connection.executescript(
            f"BEGIN IMMEDIATE; {migration.read_text('utf-8')}; PRAGMA user_version={number}; COMMIT"
        )
        applied.append(migration.name)
    (current,) = connection.execute("PRAGMA user_version").fetchone()
    newest = int(migrations[-1].name[:4])
    if current > newest:
        raise DatabaseUnavailable(
            f"The database was written by a newer version (schema {current}, this one knows "
            f"{newest}). Start the newer version again, or restore a backup."
        )
    return applied


MAX_FAULTS = 10


def _faults(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the file. Its quick check reads every page, and leaves out only
    whether indexes agree with their tables."""
    rows = connection.execute(f"PRAGMA quick_check({MAX_FAULTS})").fetchall()
    return [line for row in rows if (line := str(row[0])) != "ok"]


def _faults_of_small(connection: sqlite3.Connection) -> list[str]:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return _faults(connection) if pages * page_bytes <= CHECK_AT_START_BYTES else []


def _copy(source: sqlite3.Connection, path: Path) -> None:
    """In one step: a read transaction in WAL mode holds no writer up, and sees one moment."""
    with closing(sqlite3.connect(path)) as target:
        source.backup(target)


def _corrupt(fault: str, path: Path | None) -> DatabaseCorrupt:
    return DatabaseCorrupt(
        f"The database file{f' {path}' if path else ''} is damaged ({fault.splitlines()[0]}). Stop "
        "the server, keep a copy of the file, and restore the latest backup as "
        "docs/operations.md, “A damaged database”, says. The files in the store are not affected."
    )


def translated(error: BaseException, path: Path | None = None) -> BaseException:
    """The error of our tree for one of the driver's, with the driver's as its cause."""
    if not isinstance(error, sqlite3.Error) or isinstance(error, ApplianceError):
        return error
    where = f" ({path})" if path else ""
    code = getattr(error, "sqlite_errorcode", None)
    ours: ApplianceError
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        ours = _corrupt(str(error), path)
    elif code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        ours = StorageFull(f"The database's disk is full{where}. Free some space.")
    else:
        ours = DatabaseUnavailable(f"The database failed{where}: {error}.")
    ours.__cause__ = error
    return ours
