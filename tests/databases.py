"""Databases for tests: a file, or a database of its own on a real PostgreSQL.

What a test opens at a path is the same database each time, and another at any other path. With
APPLIANCE_TEST_DATABASE=postgres it is on the server of `scripts/services start postgres`, copied
from one that is migrated already, and dropped when the test is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from appliance.database.postgres import PostgresDatabase
from appliance.database.protocol import Database
from appliance.database.sqlite import SqliteDatabase
from appliance.database.statements import SQL

SERVICES = Path(__file__).parents[1] / "scripts/services"
TEMPLATE_LOCK = 1
ON_POSTGRES = os.environ.get("APPLIANCE_TEST_DATABASE") == "postgres"

_made: dict[Path, str] = {}
"""Databases that the running test has, by path."""


@cache
def _running() -> str | None:
    """What the environment says, else what `scripts/services` has started here."""
    if "POSTGRES_URL" in os.environ:
        return os.environ["POSTGRES_URL"]
    told = subprocess.run(
        (SERVICES, "env", "postgres"), capture_output=True, text=True, check=False
    )
    return told.stdout.strip().partition("=")[2] or None


def server() -> str:
    """The URL of the server's own database; skips the test where there is none."""
    url = _running()
    if url is None:
        pytest.skip("PostgreSQL does not run: `scripts/services start postgres`")
    return url


async def postgres_at(path: Path) -> str:
    """The URL of an empty database, migrated; the same for the same path."""
    if path not in _made:
        name = f"test_{hashlib.sha256(str(path).encode()).hexdigest()[:24]}"
        admin = await asyncpg.connect(server())
        try:
            template = await _template(admin)
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        finally:
            await admin.close()
        _made[path] = _at(name)
    return _made[path]


async def url_at(path: Path) -> str:
    """What APPLIANCE_DATABASE_URL is to say."""
    return await postgres_at(path) if ON_POSTGRES else f"sqlite://{quote(str(path))}"


async def opened(path: Path) -> Database:
    """The one that the whole run is on."""
    if ON_POSTGRES:
        return await PostgresDatabase.open(await postgres_at(path))
    return await SqliteDatabase.open(path)


def drop_all() -> None:
    """When a test is over."""
    if _made:
        asyncio.run(_drop([_made.popitem()[1] for _ in range(len(_made))]))


def _at(name: str) -> str:
    return urlunsplit(urlsplit(server())._replace(path=f"/{name}"))


async def _template(admin: asyncpg.Connection) -> str:
    """A database with the schema, made by whoever comes first."""
    digest = hashlib.sha256()
    for migration in sorted((SQL / "postgres" / "migrations").iterdir(), key=lambda one: one.name):
        digest.update(migration.read_bytes())
    name = f"template_{digest.hexdigest()[:16]}"
    await admin.execute(f"SELECT pg_advisory_lock({TEMPLATE_LOCK})")
    try:
        if not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
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
