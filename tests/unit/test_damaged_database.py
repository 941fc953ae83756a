"""A database file that rotted is told at the start, with the way back, and never worked on."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from appliance.database import job_reads, jobs, sqlite
from appliance.database.sqlite import SqliteDatabase
from appliance.errors import DatabaseCorrupt
from tests.records import a_job

DEADLINE_S = 10.0

PAGE = 4096


async def filled(path: Path) -> list[str]:
    database = await SqliteDatabase.open(path)
    batch = [a_job() for _ in range(300)]
    await database.write(jobs.create(batch))
    await database.close()
    return [job.id for job in batch]


def rot(path: Path, page: int) -> None:
    """Overwrite one page, as a failing disk might."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xa5" * PAGE)


async def read_all(database: SqliteDatabase, ids: list[str]) -> None:
    for job_id in ids:
        await database.read(job_reads.get(job_id))
        await database.read(job_reads.history(job_id))


def pages(path: Path) -> int:
    return path.stat().st_size // PAGE


@pytest.mark.parametrize("where", ["first", "middle", "last"])
async def test_a_page_that_rotted_is_told_at_the_start(tmp_path: Path, where: str) -> None:
    path = tmp_path / "appliance.db"
    await filled(path)
    rot(path, {"first": 1, "middle": pages(path) // 2, "last": pages(path)}[where])
    with pytest.raises(DatabaseCorrupt, match="restore the latest backup") as told:
        await SqliteDatabase.open(path)
    assert str(path) in told.value.detail


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "appliance.db"
    path.write_bytes(b"somebody's notes " * 1000)
    with pytest.raises(DatabaseCorrupt, match="not a database"):
        await SqliteDatabase.open(path)
    assert path.read_bytes().startswith(b"somebody's notes")


async def test_a_large_file_is_looked_through_behind_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "appliance.db"
    ids = await filled(path)
    for page in range(pages(path) * 3 // 4, pages(path)):  # before them lies the schema
        rot(path, page)
    monkeypatch.setattr(sqlite, "CHECK_AT_START_BYTES", 0)
    database = await SqliteDatabase.open(path)
    assert database.faults == ()
    found = await database.check(now=0.0)
    assert found
    assert database.faults == found
    with pytest.raises(DatabaseCorrupt):  # whoever meets the page is told the same
        await read_all(database, ids)
    await database.close()


async def test_a_sound_file_has_no_faults(tmp_path: Path) -> None:
    path = tmp_path / "appliance.db"
    await filled(path)
    database = await SqliteDatabase.open(path)
    assert await database.check(now=0.0) == []
    await database.close()


def test_the_command_says_it_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "appliance.db").write_bytes(b"\xa5" * PAGE * 10)
    ended = subprocess.run(
        [sys.executable, "-m", "appliance", "keys", "list"],
        env={"APPLIANCE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "is damaged" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("slow_one", [1, 3], ids=["writer", "reader"])
async def test_an_opening_that_is_cancelled_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow_one: int
) -> None:
    """Its thread would tell an event loop that is closed by then."""
    before = connections()
    begun, go_on, real = threading.Event(), threading.Event(), sqlite3.connect
    numbers = itertools.count(1)

    def slow(*arguments: object, **options: object) -> sqlite3.Connection:
        if next(numbers) == slow_one:
            begun.set()
            go_on.wait()
        return real(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", slow)
    opening = asyncio.create_task(SqliteDatabase.open(tmp_path / "a.db"))
    await asyncio.to_thread(begun.wait)
    opening.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await opening
    for thread in connections() - before:
        thread.join(DEADLINE_S)  # it has been told to end, and may be at it
        assert not thread.is_alive()


def connections() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if "_connection" in one.name}
