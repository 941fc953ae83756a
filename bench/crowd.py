"""Databases of a thousand and of a million jobs, for `bench.growth`.

The small one is made by the transactions of a server, move by move. The large one has the same
jobs as its newest, and before them the same again, over and over, each lot 70 minutes older
than the next: copied in SQL, column by column as the schema has them, in the order of time. So
both have the same last hour and the same work under way; the large one has a past.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from appliance.database import jobs, workers
from appliance.database.sqlite import SqliteDatabase
from appliance.jobs import JobError, JobStatus, JobType
from tests.records import a_job, a_result

COPIES = 1126
"""Lots of 888 finished jobs: a million."""

OWNERS = [f"key:{name}" for name in "ABCDEFGHIJ"]
SELDOM = "key:SELDOM"
"""An owner of a few jobs, the oldest of all and the only ones of type VIDEO. None is ANY."""
SPAN_S = 3300.0

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_STEP = 4
"""How far apart two lots are, in units of the last four digits of an id's ten of time."""
_STEP_S = _STEP * 2**20 / 1000
_FAULT = JobError(
    code="corrupt_file", message="It is broken.", step="reading", permanent=True, attempts=1
)
_MIX = {
    JobStatus.PENDING: 100,
    JobStatus.PROCESSING: 2,
    JobStatus.RETRYING: 5,
    JobStatus.FAILED: 60,
    JobStatus.COMPLETED: 828,
}
_SELDOM_JOBS = 5


async def make_small(path: Path, *, now: float) -> None:
    """A thousand jobs of the last hour."""
    database = await SqliteDatabase.open(path)
    chance = random.Random(1)
    await database.write(workers.register("w", node="n", now=now))
    for number in range(_SELDOM_JOBS):
        at = now - SPAN_S - (COPIES + 1) * _STEP_S + number
        await _live(database, JobStatus.COMPLETED, SELDOM, JobType.VIDEO, at, f"film-{number}.mp4")
    states = [status for status, count in _MIX.items() for _ in range(count)]
    # What has ended is mostly older than what waits.
    states.sort(key=lambda status: (not status.is_final) + chance.random() * 1.2)
    for number, status in enumerate(states):
        job_type = chance.choice((JobType.IMAGE, JobType.IMAGE, JobType.PDF))
        at = now - SPAN_S + number * SPAN_S / len(states)
        owner = OWNERS[number % len(OWNERS)]
        await _live(database, status, owner, job_type, at, f"photo-{number}.jpg")
    await database.close()


async def _live(
    database: SqliteDatabase,
    status: JobStatus,
    owner: str,
    job_type: JobType,
    at: float,
    filename: str,
) -> None:
    """One job to the state where it is left."""
    job_id = id_at(at)
    job = a_job(
        id=job_id,
        owner=owner,
        type=job_type,
        filename=filename,
        storage_key=f"raw/{job_id}/{filename}",
        created_at=at,
        sha256=random.randbytes(32).hex(),
        metadata={"album": "Summer"},
    )
    await database.write(jobs.create([job]))
    if status is JobStatus.PENDING:
        return
    claim = await database.write(jobs.claim(job_id, worker="w", now=at + 1))
    assert claim is not None
    if status is JobStatus.COMPLETED:
        await database.write(
            jobs.complete(
                job_id,
                attempt=1,
                now=at + 3,
                result={"widthPx": 4000, "heightPx": 3000, "format": "JPEG"},
                files=[a_result(job_id, 1, name) for name in ("large.webp", "thumbnail.webp")],
            )
        )
        return
    ended = {"attempt": 1, "error": _FAULT, "error_class": "CorruptFile", "stderr_tail": ""}
    if status is JobStatus.RETRYING:
        await database.write(jobs.retry(job_id, now=at + 2, next_attempt_at=at + 4000, **ended))
    elif status is JobStatus.FAILED:
        await database.write(jobs.fail(job_id, now=at + 2, **ended))


class Crowd:
    """The large database, from the small one."""

    def __init__(self, small: Path, path: Path) -> None:
        self._connection = connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-256000;"
            "PRAGMA temp_store=MEMORY;"
        )
        connection.execute("ATTACH ? AS small", (str(small),))
        connection.create_function("older", 2, older, deterministic=True)
        connection.executescript(
            "CREATE TEMP TABLE lots (lot INTEGER PRIMARY KEY);"
            "CREATE TEMP TABLE chosen (id TEXT PRIMARY KEY) WITHOUT ROWID;"
        )

    @classmethod
    async def make(cls, small: Path, path: Path) -> Crowd:
        await (await SqliteDatabase.open(path)).close()  # the real schema
        crowd = cls(small, path)
        crowd._copy(f"owner = '{SELDOM}'", range(1))
        crowd._copy(f"finished_at IS NOT NULL AND owner <> '{SELDOM}'", range(COPIES - 1, 0, -1))
        crowd._copy(f"owner <> '{SELDOM}'", range(1))
        return crowd

    @classmethod
    async def kept(cls, folder: Path) -> Path:
        """The large database in `folder`, made where it is not there yet: a minute or two. It is
        of the schema that it was made with, and of that hour."""
        path = folder / "large.db"
        if not path.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)  # noqa: ASYNC240 - nothing else goes on here
            await make_small(folder / "small.db", now=time.time())
            (await cls.make(folder / "small.db", folder / "making.db")).close()
            (folder / "making.db").rename(path)
        return path

    def add_backlog(self) -> None:
        """What waits, as many times."""
        self._copy("status = 'PENDING'", range(COPIES - 1, 0, -1))

    def _copy(self, condition: str, lots: range) -> None:
        """The small database's jobs of that condition, older by each of `lots`."""
        execute = self._connection.execute
        execute("BEGIN")
        execute("DELETE FROM chosen")
        execute(f"INSERT INTO chosen SELECT id FROM small.jobs WHERE {condition}")
        execute("DELETE FROM lots")
        self._connection.executemany("INSERT INTO lots VALUES (?)", ((lot,) for lot in lots))
        for table, columns, of_job in self._tables():
            names = ", ".join(name for name, _ in columns)
            values = ", ".join(value for _, value in columns)
            execute(
                f"INSERT INTO main.{table} ({names}) SELECT {values} FROM lots "
                f"CROSS JOIN small.{table} t WHERE t.{of_job} IN (SELECT id FROM chosen) "
                f"ORDER BY lot DESC, t.{'rowid' if table == 'history' else of_job}"
            )
        execute("COMMIT")

    def _tables(self) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
        """Tables with rows of jobs, parents first: columns, each with what it becomes in a lot,
        and the one that has the job's id."""
        names = [
            name
            for (name,) in self._connection.execute(
                "SELECT name FROM main.sqlite_schema WHERE type = 'table' ORDER BY rowid"
            )
        ]
        for table in names:
            columns = self._connection.execute(f"PRAGMA main.table_info({table})").fetchall()
            of_job = "id" if table in ("uploads", "jobs") else "job_id"
            if of_job not in (column[1] for column in columns):
                continue
            yield (
                table,
                [
                    (name, self._shifted(name, kind, of_job))
                    for _, name, kind, *_ in columns
                    if (name, kind) != ("id", "INTEGER")  # numbered anew
                ],
                of_job,
            )

    @staticmethod
    def _shifted(column: str, kind: str, of_job: str) -> str:
        if column in ("id", "job_id", "upload_id"):
            return f"older(t.{column}, lot)"
        if column == "storage_key":
            return f"replace(t.{column}, t.{of_job}, older(t.{of_job}, lot))"
        if kind == "REAL" and (column == "at" or column.endswith("_at")):
            return f"t.{column} - lot * {_STEP_S}"
        return f"t.{column}"

    def close(self) -> None:
        self._connection.close()


_tails = itertools.count()


def id_at(at: float) -> str:
    """An id of that time, as `appliance.ids` makes them, but not a random one."""
    number = int(at * 1000) << 80 | next(_tails)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))


def older(identifier: str, lot: int) -> str:
    """The id of the same job in that lot."""
    return _older(identifier[:6], lot) + identifier[6:]


@lru_cache(maxsize=100_000)
def _older(digits: str, lot: int) -> str:
    number = 0
    for digit in digits:
        number = number << 5 | _ALPHABET.index(digit)
    number -= lot * _STEP
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(25, -5, -5))
