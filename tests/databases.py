"""Databases for tests: a file, or a database of its own on a real PostgreSQL.

What belongs to a directory is the same database each time. With APPLIANCE_TEST_DATABASE=postgres it
is on the server of `scripts/services start postgres`, copied from one that is migrated already, and
dropped when the test is over; else it is a file there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from appliance.database.postgres import PostgresDatabase
from appliance.database.protocol import Database
from appliance.database.sqlite import SqliteDatabase
from appliance.database.statements import SQL

T = TypeVar("T")
SERVICES = Path(__file__).parents[1] / "scripts/services"
TEMPLATE_LOCK = 1
ON_POSTGRES = os.environ.get("APPLIANCE_TEST_DATABASE") == "postgres"

needs_file = pytest.mark.skipif(ON_POSTGRES, reason="of a database that is a file")

_made: dict[Path, str] = {}
"""Databases that the running test has, by directory."""


def variables(data_dir: Path) -> dict[str, str]:
    """What a server on that directory, or a command beside it, is told."""
    told = {"APPLIANCE_DATA_DIR": str(data_dir)}
    return {**told, "APPLIANCE_DATABASE_URL": postgres_at(data_dir)} if ON_POSTGRES else told


async def opened(data_dir: Path) -> Database:
    """As a command does it beside the server."""
    if ON_POSTGRES:
        return await PostgresDatabase.open(postgres_at(data_dir))
    data_dir.mkdir(exist_ok=True)
    return await SqliteDatabase.open(data_dir / "appliance.db")


def rows(data_dir: Path, sql: str) -> list[tuple[Any, ...]]:
    """Behind the server's back."""
    if ON_POSTGRES:
        return beside(_fetch(postgres_at(data_dir), sql))
    with closing(sqlite3.connect(data_dir / "appliance.db")) as connection:
        return connection.execute(sql).fetchall()


def kept(text: str) -> str:
    """As the database has it: PostgreSQL's text has no NUL."""
    return text.replace("\0", "\ufffd") if ON_POSTGRES else text


def lose(data_dir: Path) -> None:
    """What a disaster does to it, where it is not in the directory."""
    if ON_POSTGRES:
        beside(_drop([_made.pop(data_dir)]))


def server() -> str:
    """The URL of the server's own database; skips the test where there is none."""
    url = _running()
    if url is None:
        pytest.skip("PostgreSQL does not run: `scripts/services start postgres`")
    return url


def postgres_at(directory: Path) -> str:
    """The URL of an empty database, migrated; the same for the same directory."""
    if directory not in _made:
        name = f"test_{hashlib.sha256(str(directory).encode()).hexdigest()[:24]}"
        beside(_create(name))
        _made[directory] = _at(name)
    return _made[directory]


def drop_all() -> None:
    """When a test is over."""
    if _made:
        beside(_drop([_made.popitem()[1] for _ in range(len(_made))]))


def beside(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it returns, from an event loop of its own; that of the caller stands still."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result(60)


@cache
def _running() -> str | None:
    """What the environment says, else what `scripts/services` has started here."""
    if "POSTGRES_URL" in os.environ:
        return os.environ["POSTGRES_URL"]
    asked = (SERVICES, "env", "postgres")
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return told.stdout.strip().partition("=")[2] or None


def _at(name: str) -> str:
    return urlunsplit(urlsplit(server())._replace(path=f"/{name}"))


async def _create(name: str) -> None:
    admin = await asyncpg.connect(server())
    try:
        template = await _template(admin)
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        await admin.close()


async def _template(admin: asyncpg.Connection) -> str:
    """A database with the schema, made by whoever comes first."""
    digest = hashlib.sha256()
    for migration in sorted((SQL / "postgres" / "migrations").iterdir(), key=lambda one: one.name):
        digest.update(migration.read_bytes())
    name = f"template_{digest.hexdigest()[:16]}"
    await admin.execute(f"SELECT pg_advisory_lock({TEMPLATE_LOCK})")
    try:
        if not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
            await admin.execute(f"DROP DATABASE IF EXISTS {name}_coming")
            await admin.execute(f"CREATE DATABASE {name}_coming")
            await (await PostgresDatabase.open(_at(f"{name}_coming"))).close()
            await admin.execute(f"ALTER DATABASE {name}_coming RENAME TO {name}")
    finally:
        await admin.execute(f"SELECT pg_advisory_unlock({TEMPLATE_LOCK})")
    return name


async def _drop(urls: list[str]) -> None:
    admin = await asyncpg.connect(server())
    try:
        for url in urls:
            await admin.execute(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")
    finally:
        await admin.close()


async def _fetch(url: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()
