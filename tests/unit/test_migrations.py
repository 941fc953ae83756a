"""A database of an earlier version is brought up to date with all that is in it."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

from appliance.database import figures, keys
from appliance.database.sqlite import SqliteDatabase
from appliance.ids import is_id
from appliance.jobs import JobType
from appliance.permissions import EVERY_SCOPE, Role

MIGRATIONS = resources.files("appliance.database") / "sql/sqlite/migrations"
NOW = 1_000.0


def written_by(version: int, path: Path) -> sqlite3.Connection:
    """A database with the schema of that version."""
    connection = sqlite3.connect(path)
    for migration in sorted(MIGRATIONS.iterdir(), key=lambda entry: entry.name):
        if int(migration.name[:4]) <= version:
            connection.executescript(migration.read_text("utf-8"))
    connection.executescript(f"PRAGMA foreign_keys=ON; PRAGMA user_version={version}")
    return connection


async def test_keys_sessions_and_links_of_before_there_were_scopes(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    old = written_by(3, path)
    old.executescript(
        "INSERT INTO api_keys VALUES ('A', 'ops', 'admin', 'upa_a', 'hash a', 1, NULL, NULL);"
        "INSERT INTO api_keys VALUES ('B', 'old', 'user', 'upa_b', 'hash b', 2, 50, 40);"
        "INSERT INTO sessions VALUES ('one', 'A', 3, 5000), ('two', 'A', 4, 5000);"
        "INSERT INTO signin_links VALUES ('link', 'A', 5000, NULL);"
    )
    old.close()
    database = await SqliteDatabase.open(path)
    try:
        first, second = await database.read(keys.list_all())
        assert (first.name, first.role, first.scopes) == ("ops", Role.ADMIN, EVERY_SCOPE)
        assert (second.expires_at, second.revoked_at, second.last_used_at) == (50, 40, None)
        found = [await database.read(keys.by_session(token, now=NOW)) for token in ("one", "two")]
        assert [(one.owner, one.name, one.role) for one in found if one] == [
            ("key:A", "ops", Role.ADMIN)
        ] * 2
        ids = {one.session_id or "" for one in found if one}
        assert len(ids) == 2
        assert all(is_id(one) for one in ids)
        assert len(await database.read(keys.sessions(owner="key:A", now=NOW, limit=9))) == 2
        assert await database.write(keys.use_signin_link("link", now=NOW)) == first
        assert await database.check(now=0.0) == []
    finally:
        await database.close()


async def test_what_was_stored_before_it_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    old = written_by(13, path)
    upload = "INSERT INTO uploads VALUES ('{0}', 'o', 'a', 't', {1}, '{2}', 'raw/{0}', 1, NULL);"
    job = (
        "INSERT INTO jobs (id, upload_id, owner, status, type, preset, priority, max_retries,"
        " created_at, version, scan, metadata, result) VALUES "
        "('{0}', '{1}', 'o', 'PENDING', '{2}', 'default', 5, 3, 1, 1, '{{}}', '{{}}', '{{}}');"
    )
    file = "INSERT INTO files VALUES ('{0}', 0, 'a', 't', {1}, 'h', 'p/{0}', NULL, NULL);"
    old.executescript(
        upload.format("A", 10, "0" * 64) + upload.format("B", 100, "1" * 64)
        + job.format("A", "A", "IMAGE") + job.format("B", "B", "PDF")
        + job.format("C", "A", "IMAGE")  # of the same original
        + file.format("A", 3) + file.format("C", 4)
    )  # fmt: skip
    old.close()
    database = await SqliteDatabase.open(path)
    try:
        stored = await database.read(figures.stored())
        assert stored[JobType.IMAGE] == ((1, 10), (2, 7))
        assert stored[JobType.PDF] == ((1, 100), (0, 0))
        assert stored[JobType.VIDEO] == ((0, 0), (0, 0))
    finally:
        await database.close()
