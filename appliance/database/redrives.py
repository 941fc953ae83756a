"""Redrives: dead letters tried again, all at once or in waves.

In waves: one job, then ten, then a hundred, each only when the one before went well. A redrive
stops by itself when a tenth of a wave has failed again; what it had not begun stays a dead letter.

    create ─► advance (wave 1) ─► advance … ─► completed, or stopped
"""

from __future__ import annotations

from typing import Literal

import msgspec

from appliance.database import audit, jobs
from appliance.database.dead_letters import Filter
from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import record
from appliance.jobs import Job, JobType

MAX_JOBS = 100_000
"""Of one redrive; collecting them is one statement, and the writer does nothing else meanwhile."""

BATCH = 200
"""Jobs that one transaction begins, or finds gone."""

GROWTH = 10
STOP_SHARE = 0.1
"""Of a wave; in the first two a single failure is as much."""

BEHIND_ALL = "~"
"""Sorts behind every id."""

State = Literal["running", "completed", "stopped"]


class Counts(msgspec.Struct, frozen=True):
    total: int = 0
    waiting: int = 0
    """Not begun: dead letters still."""
    running: int = 0
    completed: int = 0
    failed: int = 0
    """Given up again."""
    other: int = 0
    """Cancelled, deleted, discarded, or tried again by somebody else."""


class Redrive(msgspec.Struct, frozen=True):
    id: str
    actor: str
    created_at: float
    ended_at: float | None
    state: State
    staged: bool
    wave: int
    """The one that runs, or ran last, counted from 1."""
    filter: Filter
    counts: Counts
    wave_counts: Counts
    """Of the present wave."""
    stopped_by: str | None = None
    """Who stopped it; None: nobody, or it stopped by itself."""


class Example(msgspec.Struct, frozen=True):
    """One job of a redrive, and how it failed."""

    job_id: str
    type: JobType
    filename: str
    error_code: str
    step: str


class Advanced(msgspec.Struct, frozen=True):
    redrive: Redrive
    begun: tuple[Job, ...]
    """PENDING since this step: to be enqueued and announced after the commit."""


def create(
    redrive_id: str,
    wanted: Filter,
    *,
    staged: bool,
    limit: int,
    actor: str,
    now: float,
    once: str | None = None,
) -> Transaction[int]:
    """Collect up to `limit` dead letters, oldest job first, and audit it; how many there are.

    Nothing is begun by it: `advance` does that. In waves, it leaves alone what waits for a wave
    of another already.
    """
    yield Statement(
        "insert_redrive",
        {
            "id": redrive_id,
            "actor": actor,
            "now": now,
            "staged": int(staged),
            "filter": msgspec.json.encode(wanted).decode(),
            "once": once,
        },
    )
    rows = yield Statement(
        "collect_redrive_jobs",
        {
            "id": redrive_id,
            "staged": int(staged),
            **wanted.parameters(),
            "limit": min(limit, MAX_JOBS),
        },
    )
    yield from audit.add(
        actor=actor,
        action="dead_letters.retry",
        subject=f"redrive:{redrive_id}",
        now=now,
        detail={"filter": wanted.document(), "staged": staged},
        jobs=len(rows),
    )
    return len(rows)


def begun_by(actor: str, once: str) -> Transaction[str | None]:
    """The redrive that this very form of this person has begun already."""
    rows = yield Statement("redrive_begun_by", {"actor": actor, "once": once})
    return rows[0]["id"] if rows else None


def advance(redrive_id: str, *, now: float) -> Transaction[Advanced | None]:
    """Take note of what became of the jobs, and begin what comes next; None: no such redrive.

    Bounded: called again and again while the redrive runs.
    """
    yield from settle(redrive_id)
    redrive = yield from get(redrive_id)
    if redrive is None:
        return None
    if redrive.state != "running":
        return Advanced(redrive, ())
    wave, counts = redrive.wave_counts, redrive.counts
    tried = wave.total - wave.other  # what was cancelled or discarded proves nothing
    if redrive.staged and wave.failed and wave.failed >= tried * STOP_SHARE:
        return (yield from _end(redrive_id, "stopped", now))
    if counts.waiting == 0:
        if counts.running == 0:
            return (yield from _end(redrive_id, "completed", now))
        return Advanced(redrive, ())
    size = GROWTH ** (redrive.wave - 1) if redrive.staged else counts.total
    number, room = redrive.wave, size - tried
    if redrive.wave == 0 or (room <= 0 and wave.running == 0):
        number += 1
        room = GROWTH ** (number - 1) if redrive.staged else counts.total
        yield Statement("begin_redrive_wave", {"id": redrive_id, "wave": number})
    if room <= 0:
        return Advanced(redrive, ())
    begun = yield from _begin(redrive_id, number, min(room, BATCH), redrive.actor, now)
    fresh = yield from get(redrive_id)
    assert fresh is not None
    return Advanced(fresh, tuple(begun))


def settle(redrive_id: str) -> Transaction[None]:
    """Take note of what became of the jobs that were begun."""
    yield Statement("settle_redrive_jobs", {"id": redrive_id})


def _begin(
    redrive_id: str, wave: int, limit: int, actor: str, now: float
) -> Transaction[list[Job]]:
    """Begin up to `limit`; of those in line, what is no dead letter any more is passed over."""
    rows = yield Statement("next_redrive_jobs", {"id": redrive_id, "limit": BATCH})
    begun: list[Job] = []
    for row in rows:
        if len(begun) >= limit:
            break
        job_id = row["job_id"]
        yield Statement("set_redrive_wave", {"id": redrive_id, "job_id": job_id, "wave": wave})
        job = yield from jobs.redrive(job_id, now=now, actor=actor, reviewed=True)
        if job is not None:
            begun.append(job)
        else:
            yield Statement("set_redrive_gone", {"id": redrive_id, "job_id": job_id})
    return begun


def _end(redrive_id: str, state: State, now: float) -> Transaction[Advanced]:
    yield Statement("end_redrive", {"id": redrive_id, "state": state, "now": now})
    redrive = yield from get(redrive_id)
    assert redrive is not None
    return Advanced(redrive, ())


def stop(redrive_id: str, *, actor: str, now: float) -> Transaction[Redrive | None]:
    """Begin nothing more of it, and audit that; what is under way goes on. None: no such redrive.

    One that has ended is left as it is, so to stop twice does no harm.
    """
    yield from settle(redrive_id)
    rows = yield Statement("stop_redrive", {"id": redrive_id, "actor": actor, "now": now})
    redrive = yield from get(redrive_id)
    if rows:
        assert redrive is not None
        yield from audit.add(
            actor=actor,
            action="dead_letters.stop",
            subject=f"redrive:{redrive_id}",
            now=now,
            detail={"filter": redrive.filter.document()},
            jobs=redrive.counts.waiting,
        )
    return redrive


def get(redrive_id: str) -> Transaction[Redrive | None]:
    rows = yield Statement("redrive", {"id": redrive_id})
    return (yield from _redrive(rows[0])) if rows else None


def with_waves(redrive_id: str) -> Transaction[tuple[Redrive, dict[int, Counts]] | None]:
    """A redrive, and what became of the jobs of each of its waves so far."""
    redrive = yield from get(redrive_id)
    if redrive is None:
        return None
    counted = yield Statement("redrive_counts", {"id": redrive_id})
    return redrive, {
        wave: _counts([row for row in counted if row["wave"] == wave])
        for wave in range(1, redrive.wave + 1)
    }


def latest(*, limit: int, before: str | None = None) -> Transaction[list[Redrive]]:
    """Newest first; with `before`, those that are older than this one."""
    rows = yield Statement("redrives", {"limit": limit, "before": before or BEHIND_ALL})
    found = []
    for row in rows:
        found.append((yield from _redrive(row)))
    return found


def example(redrive_id: str) -> Transaction[Example | None]:
    """None when its jobs are deleted."""
    rows = yield Statement("redrive_example", {"id": redrive_id})
    return record(Example, rows[0]) if rows else None


def running() -> Transaction[list[str]]:
    """Ids of those that have not ended."""
    rows = yield Statement("running_redrives")
    return [row["id"] for row in rows]


def stopped(*, after: float) -> Transaction[list[Redrive]]:
    """Those that stopped by themselves later than that, in the order in which they did."""
    rows = yield Statement("stopped_redrives", {"after": after})
    found = []
    for row in rows:
        found.append((yield from _redrive(row)))
    return found


def unsettled() -> Transaction[list[str]]:
    """Ids of those that have ended while jobs of theirs still ran."""
    rows = yield Statement("unsettled_redrives")
    return [row["id"] for row in rows]


def forget_ended(*, before: float) -> Transaction[int]:
    yield Statement("delete_old_redrive_jobs", {"before": before})
    rows = yield Statement("delete_old_redrives", {"before": before})
    return len(rows)


def _redrive(row: Row) -> Transaction[Redrive]:
    counted = yield Statement("redrive_counts", {"id": row["id"]})
    return Redrive(
        id=row["id"],
        actor=row["actor"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        state=row["state"],
        staged=bool(row["staged"]),
        wave=row["wave"],
        filter=msgspec.json.decode(row["filter"], type=Filter),
        counts=_counts(list(counted)),
        wave_counts=_counts([one for one in counted if one["wave"] == row["wave"]]),
        stopped_by=row["stopped_by"],
    )


def _counts(rows: list[Row]) -> Counts:
    def jobs_with(outcomes: tuple[str | None, ...], *, begun: bool) -> int:
        return sum(
            row["jobs"]
            for row in rows
            if row["outcome"] in outcomes and (row["wave"] is not None) == begun
        )

    return Counts(
        total=sum(row["jobs"] for row in rows),
        waiting=jobs_with((None,), begun=False),
        running=jobs_with((None,), begun=True),
        completed=jobs_with(("completed",), begun=True),
        failed=jobs_with(("failed",), begun=True),
        other=jobs_with(("cancelled", "gone"), begun=True),
    )
