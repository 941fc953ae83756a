"""A PostgreSQL database as a file of SQLite, and back: one form of backup for both.

Both dialects have the same tables with the same columns, so rows go over as they are. Counters come
along as rows too, and triggers sleep meanwhile. It is also the way of an appliance that has grown
out of its file: back it up, set the other database, restore.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from appliance.database.sqlite import define_functions, migrate
from appliance.threads import in_thread

BATCH = 1000


class _Table(NamedTuple):
    name: str
    columns: tuple[str, ...]

    @property
    def columns_quoted(self) -> str:
        return ", ".join(f'"{column}"' for column in self.columns)


async def write_file(connection: Any, path: Path) -> None:
    """All rows, as they are at one moment, into a new file. Raises what both drivers raise."""
    with closing(await in_thread(_empty_file, path)) as file:
        triggers = await in_thread(_put_to_sleep, file)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for table in await in_thread(_tables, file):
                marks = ", ".join("?" * len(table.columns))
                into = f'INSERT INTO "{table.name}" ({table.columns_quoted}) VALUES ({marks})'
                cursor = await connection.cursor(
                    f'SELECT {table.columns_quoted} FROM "{table.name}"'
                )
                while rows := await cursor.fetch(BATCH):
                    await in_thread(file.executemany, into, [tuple(row) for row in rows])
        await in_thread(_finish, file, triggers)


async def read_file(connection: Any, path: Path) -> None:
    """All rows of a file into the database, in place of what there is, or nothing of it."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as file:
        tables = {table.name: table for table in await in_thread(_tables, file)}
        async with connection.transaction():
            # In the order in which they were made, so after those that they refer to.
            names = [
                row["name"]
                for row in await connection.fetch(
                    "SELECT relname AS name FROM pg_class WHERE relkind = 'r'"
                    " AND relnamespace = current_schema()::regnamespace ORDER BY oid"
                )
                if row["name"] in tables
            ]
            await connection.execute("TRUNCATE " + ", ".join(f'"{name}"' for name in names))
            for name in names:
                await connection.execute(f'ALTER TABLE "{name}" DISABLE TRIGGER USER')
                await _copy_in(connection, file, tables[name])
                await connection.execute(f'ALTER TABLE "{name}" ENABLE TRIGGER USER')
            await connection.execute(_GO_ON_COUNTING)
        await connection.execute("ANALYZE")


_GO_ON_COUNTING = """
DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT table_name, column_name FROM information_schema.columns
             WHERE table_schema = current_schema() AND is_identity = 'YES' LOOP
        EXECUTE format('SELECT setval(pg_get_serial_sequence(%L, %L), max(%I)) FROM %I',
                       quote_ident(c.table_name), c.column_name, c.column_name, c.table_name);
    END LOOP;
END $$
"""


async def _copy_in(connection: Any, file: sqlite3.Connection, table: _Table) -> None:
    rows = file.execute(f'SELECT {table.columns_quoted} FROM "{table.name}"')
    while batch := await in_thread(rows.fetchmany, BATCH):
        await connection.copy_records_to_table(
            table.name, records=[tuple(map(_fit, row)) for row in batch], columns=table.columns
        )


def _fit(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def _empty_file(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    define_functions(connection)
    migrate(connection)
    return connection


def _put_to_sleep(file: sqlite3.Connection) -> list[str]:
    """Begin a transaction in which nothing is counted; returns what makes the triggers again."""
    triggers = file.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    file.execute("BEGIN")
    for name, _ in triggers:
        file.execute(f'DROP TRIGGER "{name}"')
    for table in _tables(file):
        file.execute(f'DELETE FROM "{table.name}"')  # what migrations have put in
    return [sql for _, sql in triggers]


def _finish(file: sqlite3.Connection, triggers: list[str]) -> None:
    file.execute(
        "INSERT INTO upload_names (rowid, filename) SELECT n.number, u.filename"
        " FROM upload_numbers n JOIN uploads u ON u.id = n.upload_id"
    )
    for sql in triggers:
        file.execute(sql)
    file.execute("COMMIT")


def _tables(file: sqlite3.Connection) -> list[_Table]:
    """Those that both dialects have; the index of names is SQLite's own."""
    names = file.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        " AND name NOT LIKE 'sqlite~_%' ESCAPE '~' AND name NOT LIKE 'upload~_names%' ESCAPE '~'"
    ).fetchall()
    return [
        _Table(name, tuple(row[1] for row in file.execute(f'PRAGMA table_info("{name}")')))
        for (name,) in names
    ]
