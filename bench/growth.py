"""Growth: what a server reads and claims, with a million jobs in the table and with a thousand.

Each step is the transaction that the server runs for it, with the hop to the database's thread
and no cache but SQLite's and the kernel's. Both databases are open at once and take turns, as
often as fits into a moment; the median of the rounds' ratios is told.
"""

from __future__ import annotations

import gc
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from appliance.database import dead_letters, figures, history, job_reads, jobs, turns, workers
from appliance.database.job_reads import EVERY_JOB, JobFilter
from appliance.database.sqlite import SqliteDatabase
from appliance.jobs import JobStatus, JobType
from bench.crowd import OWNERS, SELDOM, Crowd, make_small
from bench.rounds import ROUNDS, ratios, spread, table
from tests.records import a_job

GOAL = 1.5
TURN_S = 0.15
MOST = 50
PAGE = 51
"""A page of 50, and one more to know whether there is a next."""

Step = Callable[["Side"], Awaitable[float]]
"""Does it once and returns how long the part took that counts, in seconds."""


@dataclass
class Side:
    """One of the databases."""

    database: SqliteDatabase
    ids: list[str]
    now: float
    middle: str
    """An id with as many jobs before it as behind."""
    last_move: int
    times: dict[str, list[float]] = field(default_factory=dict)
    """In ms, of each step, a round each."""


def _reading(make: Callable[[Side], object]) -> Step:
    async def step(side: Side) -> float:
        transaction = make(side)
        began = time.perf_counter()
        await side.database.read(transaction)  # type: ignore[arg-type]
        return time.perf_counter() - began

    return step


async def _claim(side: Side) -> float:
    """Which is next, and the lease on it; handed back, so that there is always one."""
    began = time.perf_counter()
    (job_id,) = await side.database.read(turns.ready(JobType.IMAGE, limit=1, now=side.now))
    claim = await side.database.write(jobs.claim(job_id, worker="w", now=side.now))
    took_s = time.perf_counter() - began
    assert claim is not None
    await side.database.write(
        jobs.release(
            job_id, attempt=claim.attempt, now=side.now, outcome="handed_back", detail="bench"
        )
    )
    return took_s


async def _whole_life(side: Side) -> float:
    """Enqueue, claim and complete one job of a type of which none waits."""
    job = a_job(owner=OWNERS[0], type=JobType.ANY, created_at=side.now)
    began = time.perf_counter()
    await side.database.write(jobs.create([job]))
    (job_id,) = await side.database.read(turns.ready(JobType.ANY, limit=1, now=side.now))
    claim = await side.database.write(jobs.claim(job_id, worker="w", now=side.now))
    assert claim is not None
    await side.database.write(
        jobs.complete(job_id, attempt=claim.attempt, now=side.now, result={}, files=[])
    )
    return time.perf_counter() - began


async def _dashboard(side: Side) -> float:
    """All that the page reads."""
    began = time.perf_counter()
    await side.database.read(job_reads.page(limit=PAGE))
    await side.database.read(figures.queue())
    await side.database.read(history.read(history.TWO_HOURS, now=side.now))
    await side.database.read(workers.pools())
    await side.database.read(figures.running())
    await side.database.condition()
    return time.perf_counter() - began


def _page(wanted: JobFilter = EVERY_JOB, *, limit: int = PAGE) -> Step:
    return _reading(lambda side: job_reads.page(wanted, limit=limit))


STEPS: dict[str, Step] = {
    "status of one of the newest 1,000": _reading(
        lambda side: job_reads.get(random.choice(side.ids[-1000:]))
    ),
    "status of any job": _reading(lambda side: job_reads.get(random.choice(side.ids))),
    "claim": _claim,
    "enqueue, claim, complete": _whole_life,
    "list, newest page": _page(),
    "list, a page in the middle": _reading(
        lambda side: job_reads.page(before=side.middle, limit=PAGE)
    ),
    "list, an owner": _page(JobFilter(owner=OWNERS[3])),
    "list, an owner of 5 old jobs": _page(JobFilter(owner=SELDOM)),
    "list, COMPLETED": _page(JobFilter(statuses=(JobStatus.COMPLETED,))),
    "list, FAILED": _page(JobFilter(statuses=(JobStatus.FAILED,))),
    "list, PENDING": _page(JobFilter(statuses=(JobStatus.PENDING,))),
    "list, PROCESSING (2 jobs)": _page(JobFilter(statuses=(JobStatus.PROCESSING,))),
    "list, CANCELLED (none)": _page(JobFilter(statuses=(JobStatus.CANCELLED,))),
    "list, a type": _page(JobFilter(types=(JobType.IMAGE,))),
    "list, a type of few jobs": _page(JobFilter(types=(JobType.VIDEO,))),
    "list, an owner's newest 5 FAILED": _page(
        JobFilter(owner=OWNERS[3], statuses=(JobStatus.FAILED,)), limit=5
    ),
    "search, an id": _reading(
        lambda side: job_reads.page(JobFilter(job_id=random.choice(side.ids)), limit=PAGE)
    ),
    "search, part of many names": _page(JobFilter(name="photo")),
    "search, part of no name": _page(JobFilter(name="nothing like it")),
    "dashboard, the queue's figures": _reading(lambda side: figures.queue()),
    "dashboard, the last two hours": _reading(
        lambda side: history.read(history.TWO_HOURS, now=side.now)
    ),
    "charts, a week": _reading(lambda side: history.read(history.WEEK, now=side.now)),
    "dashboard, all it reads": _dashboard,
    "dead letters, groups": _reading(lambda side: dead_letters.groups(limit=PAGE)),
    "dead letters, newest page": _reading(
        lambda side: dead_letters.page(dead_letters.Filter(), limit=PAGE)
    ),
    "dead letters, an owner's newest 5": _reading(
        lambda side: dead_letters.page(dead_letters.Filter(owner=OWNERS[3]), limit=5)
    ),
    "dead letters, of a type without": _reading(
        lambda side: dead_letters.page(dead_letters.Filter(type=JobType.VIDEO), limit=PAGE)
    ),
    "dead letters, how many of a type": _reading(
        lambda side: dead_letters.count(dead_letters.Filter(type=JobType.IMAGE))
    ),
    "events, the last 20 moves": _reading(
        lambda side: job_reads.changed_since(side.last_move - 20, owner=None, limit=100)
    ),
    "events, an owner's": _reading(
        lambda side: job_reads.changed_since(side.last_move - 20, owner=OWNERS[0], limit=100)
    ),
    "stager, what is due": _reading(lambda side: jobs.due(now=side.now, limit=100)),
    "rescuer, workers and leases": _reading(lambda side: workers.census()),
}


async def run() -> str:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    folder = Path(tempfile.mkdtemp(prefix="growth-", dir=Path.cwd() / "data"))
    try:
        now = time.time()
        await make_small(folder / "small.db", now=now)
        began = time.perf_counter()
        crowd = await Crowd.make(folder / "small.db", folder / "large.db")
        made_s = time.perf_counter() - began
        lines = [f"the large database: {made_s:.0f} s to make", ""]
        lines += await _compare(folder, now)
        crowd.add_backlog()
        crowd.close()
        lines += ["", *await _compare(folder, now)]
        return "\n".join(lines)
    finally:
        shutil.rmtree(folder)


async def _compare(folder: Path, now: float) -> list[str]:
    small, large = [await _side(folder / f"{name}.db", now) for name in ("small", "large")]
    gc.collect()
    for _ in range(ROUNDS):
        for name, step in STEPS.items():
            for side, took_ms in zip((small, large), await _turn(step, small, large), strict=True):
                side.times.setdefault(name, []).append(took_ms)
    counts = [
        f"{len(side.ids):,} jobs, {await _count(side, 'PENDING'):,} PENDING"
        for side in (small, large)
    ]
    rows = [("ms", *counts, "ratio", "")]
    for name in STEPS:
        times = small.times[name], large.times[name]
        ratio = ratios(times[1], times[0])
        rows.append(
            (
                name,
                *(spread(one, digits=2) for one in times),
                spread(ratio, digits=2),
                "" if statistics.median(ratio) <= GOAL else f"above {GOAL}",
            )
        )
    await small.database.close()
    await large.database.close()
    return table(rows)


async def _side(path: Path, now: float) -> Side:
    database = await SqliteDatabase.open(path)
    ids = await database._readers[0].run(
        lambda connection: [row[0] for row in connection.execute("SELECT id FROM jobs ORDER BY id")]
    )
    return Side(
        database=database,
        ids=ids,
        now=now,
        middle=ids[len(ids) // 2],
        last_move=await database.read(job_reads.last_history_id()),
    )


async def _count(side: Side, status: str) -> int:
    rows = await side.database._readers[0].run(
        lambda connection: connection.execute(
            "SELECT count(*) FROM jobs WHERE status = ?", (status,)
        ).fetchall()
    )
    count: int = rows[0][0]
    return count


async def _turn(step: Step, *sides: Side) -> list[float]:
    """By turns, as often as fits: the median of each side, in ms."""
    took_s: list[list[float]] = [[] for _ in sides]
    end = time.perf_counter() + TURN_S
    while not took_s[0] or (time.perf_counter() < end and len(took_s[0]) < MOST):
        for side, took in zip(sides, took_s, strict=True):
            took.append(await step(side))
    return [statistics.median(took) * 1000 for took in took_s]
