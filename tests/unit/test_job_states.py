"""Every order of moves, stale ones too, on a real SQLite file beside a small model of it.

A move is a method of `Table`, named in `MOVES`: it makes the move, says whether the model expects
it to have any effect, and compares; `Model.move` holds it to LEGAL_MOVES. Which moves, on which
job, by which of its attempts, hypothesis draws, for a short way to what it finds, and plain chance,
which tries more. (No RuleBasedStateMachine: it leaves out half of its rules in every run, and a
job needs three or four in a row to get anywhere. It missed one seeded fault in five.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.database import dead_letters, job_reads, jobs, stored_files, turns, workers
from appliance.database.protocol import Transaction
from appliance.jobs import LEGAL_MOVES, Attempt, HistoryEntry, Job, JobStatus, JobType, ResultFile
from tests import databases
from tests.records import FAULT, a_job, a_result

T = TypeVar("T")

SHRINK = "APPLIANCE_TEST_SEEDED" not in os.environ
"""Whether to look for the shortest way to a failure; scripts/seeded-faults asks for any."""
STEPS = 40
MANY_STEPS = 2000
BACK = (0, 0, 0, 1, 2)
"""How many attempts ago: 0 is the present one, more are of workers that lost their lease."""
WAITS_S = (0.0, 1.0, 60.0)
MOST_JOBS = 3
"""That moves are made on: the newest."""
LIMIT = 2
"""Of a stager's pass."""


@dataclass
class Model:
    """What a job should be."""

    status: JobStatus | None = JobStatus.PENDING
    """None when it was deleted; its workers may not know."""
    attempt: int = 0
    retry_count: int = 0
    due: float | None = None
    worker: str | None = None
    files: tuple[ResultFile, ...] = ()
    dead_letter: bool = False
    outcomes: list[str | None] = field(default_factory=list)
    """Of its attempts."""
    history: list[tuple[JobStatus, int]] = field(default_factory=lambda: [(JobStatus.PENDING, 0)])

    def holds(self, attempt: int) -> bool:
        """Whether a worker with this attempt may write."""
        return self.status is JobStatus.PROCESSING and attempt == self.attempt

    @property
    def is_open(self) -> bool:
        return self.status is not None and not self.status.is_final

    def is_(self, *statuses: JobStatus) -> bool:
        return self.status in statuses

    def move(self, to: JobStatus, outcome: str | None = None) -> None:
        assert self.status is not None
        assert to in LEGAL_MOVES[self.status], f"the model itself went from {self.status} to {to}"
        self.status, self.due = to, None
        self.history.append((to, self.attempt))
        if outcome is not None:
            self.outcomes[-1] = outcome
            self.worker = None


@dataclass(frozen=True)
class Draw:
    """One move, and what it may need."""

    move: str
    job: int
    back: int
    wait_s: float
    flag: bool

    def outcome(self, usual: str) -> str:
        """By the worker itself, or because it was lost."""
        return "lost" if self.flag else usual


class Table:
    """The jobs in the database, and what the model says of them."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._database = self._run(databases.opened(folder))
        self._models: dict[str, Model] = {}
        self._now = 1_000_000.0

    def close(self) -> None:
        self._run(self._database.close())
        self._loop.close()

    def take(self, draw: Draw) -> None:
        """Make the move, and see that all is as it should be."""
        if not any(model.is_open for model in self._models.values()):
            self.create()
        job_ids = [*self._models][-MOST_JOBS:]
        MOVES[draw.move](self, job_ids[draw.job % len(job_ids)], draw)
        self._check()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    def _write(self, transaction: Transaction[T]) -> T:
        self._now += 0.25
        return self._run(self._database.write(transaction))

    def _read(self, transaction: Transaction[T]) -> T:
        return self._run(self._database.read(transaction))

    # --- the moves ------------------------------------------------------------------------

    def create(self) -> None:
        job = a_job()
        self._write(jobs.create([job]))
        self._models[job.id] = Model()

    def claim(self, job_id: str, draw: Draw) -> None:
        self._claim(job_id, "w2" if draw.flag else "w1")

    def _claim(self, job_id: str, worker: str) -> None:
        model = self._models[job_id]
        claim = self._write(jobs.claim(job_id, worker=worker, now=self._now))
        assert (claim is not None) == (model.status is JobStatus.PENDING)
        if claim is not None:
            model.attempt += 1
            model.outcomes.append(None)
            model.move(JobStatus.PROCESSING)
            model.worker = worker
            assert claim.attempt == model.attempt

    def progress(self, job_id: str, draw: Draw) -> None:
        model, attempt = self._attempt(job_id, draw.back)
        owner = self._write(jobs.progress(job_id, attempt=attempt, fraction=0.5, step="resizing"))
        assert (owner is not None) == model.holds(attempt)

    def beat(self, job_id: str, draw: Draw) -> None:
        model, attempt = self._attempt(job_id, draw.back)
        held = self._write(workers.beat("w1", node="n", running={job_id: attempt}, now=self._now))
        assert held == ({job_id} if model.holds(attempt) else set())

    def complete(self, job_id: str, draw: Draw) -> None:
        model, attempt = self._attempt(job_id, draw.back)
        files = tuple(
            a_result(job_id, attempt, f"{number}.webp") for number in range(2 if draw.flag else 0)
        )
        job = self._write(
            jobs.complete(job_id, attempt=attempt, now=self._now, result={"n": 1}, files=files)
        )
        if self._settled(job, model, attempt):
            model.move(JobStatus.COMPLETED, "completed")
            model.files = files

    def retry(self, job_id: str, draw: Draw) -> None:
        model, attempt = self._attempt(job_id, draw.back)
        due = self._now + draw.wait_s
        job = self._write(
            jobs.retry(
                job_id,
                attempt=attempt,
                now=self._now,
                next_attempt_at=due,
                error=FAULT,
                error_class="ChildCrashed",
                stderr_tail=None,
            )
        )
        if self._settled(job, model, attempt):
            model.move(JobStatus.RETRYING, "retry")
            model.retry_count += 1
            model.due = due

    def fail(self, job_id: str, draw: Draw) -> None:
        model, attempt = self._attempt(job_id, draw.back)
        job = self._write(
            jobs.fail(
                job_id,
                attempt=attempt,
                now=self._now,
                error=FAULT,
                error_class="ChildCrashed",
                stderr_tail=None,
                outcome=draw.outcome("failed"),
            )
        )
        if self._settled(job, model, attempt):
            model.move(JobStatus.FAILED, draw.outcome("failed"))
            model.dead_letter = True

    def release(self, job_id: str, draw: Draw) -> None:
        model, attempt = self._attempt(job_id, draw.back)
        job = self._write(
            jobs.release(
                job_id,
                attempt=attempt,
                now=self._now,
                outcome=draw.outcome("handed_back"),
                detail="why",
            )
        )
        if self._settled(job, model, attempt):
            model.move(JobStatus.PENDING, draw.outcome("handed_back"))

    def stage(self, job_id: str, draw: Draw) -> None:
        self._now += draw.wait_s
        due = {
            job_id
            for job_id, model in self._models.items()
            if model.due is not None and model.due <= self._now
        }
        found = self._read(jobs.due(now=self._now, limit=LIMIT))
        assert len(found) == min(LIMIT, len(due))
        assert set(found) <= due
        staged = self._write(jobs.stage(found, now=self._now))
        assert [job.id for job in staged] == found
        for job_id in found:
            self._models[job_id].move(JobStatus.PENDING)

    def stage_late(self, job_id: str, draw: Draw) -> None:
        """By a stager that has read what is due a while ago."""
        model = self._models[job_id]
        staged = self._write(jobs.stage([job_id], now=self._now))
        assert len(staged) == (model.status is JobStatus.RETRYING)
        if staged:
            model.move(JobStatus.PENDING)

    def cancel(self, job_id: str, draw: Draw) -> None:
        model = self._models[job_id]
        job = self._write(jobs.cancel(job_id, now=self._now, actor="key:A"))
        assert (job is not None) == model.is_(
            JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.RETRYING
        )
        if job is not None:
            running = model.status is JobStatus.PROCESSING
            model.move(JobStatus.CANCELLED, "cancelled" if running else None)

    def redrive(self, job_id: str, draw: Draw) -> None:
        model = self._models[job_id]
        allowed = model.is_(JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.RETRYING)
        job = self._write(jobs.redrive(job_id, now=self._now, actor="key:A", reviewed=draw.flag))
        assert (job is not None) == (allowed and (model.dead_letter or not draw.flag))
        if job is not None:
            model.move(JobStatus.PENDING)
            model.retry_count = 0
            model.dead_letter = False

    def delete(self, job_id: str, draw: Draw) -> None:
        model = self._models[job_id]
        deleted = self._write(stored_files.delete(job_id))
        assert (deleted is not None) == model.is_(
            JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED
        )
        if deleted is not None:
            self._models[job_id] = Model(status=None, attempt=model.attempt, history=[])

    def _attempt(self, job_id: str, back: int) -> tuple[Model, int]:
        """The attempt `back` before the present one, which is begun where it is not."""
        model = self._models[job_id]
        if back == 0 and model.is_(JobStatus.PENDING):
            self._claim(job_id, "w1")
        return model, max(0, model.attempt - back)

    def _settled(self, job: Job | None, model: Model, attempt: int) -> bool:
        assert (job is not None) == model.holds(attempt)
        return job is not None

    # --- what must hold -------------------------------------------------------------------

    def _check(self) -> None:
        job_ids = [*self._models][-2 * MOST_JOBS :]
        seen, offered = self._read(_everything(job_ids, now=self._now))
        for job_id in job_ids:
            self._hold_to_model(seen[job_id], self._models[job_id])
            self._hold_to_reason(seen[job_id])
        assert set(offered) == {
            job_id for job_id, model in self._models.items() if model.is_(JobStatus.PENDING)
        }

    def _hold_to_model(self, seen: _Seen, model: Model) -> None:
        assert [one.outcome for one in seen.attempts] == model.outcomes
        assert [(entry.status, entry.attempt) for entry in seen.history] == model.history
        assert (seen.letter is not None) == model.dead_letter
        job = seen.job
        if job is None or model.status is None:
            assert (job, model.status) == (None, None)
            return
        assert (job.status, job.attempt, job.retry_count, job.worker, job.next_attempt_at) == (
            (model.status, model.attempt, model.retry_count, model.worker, model.due)
        )
        assert job.files == model.files

    def _hold_to_reason(self, seen: _Seen) -> None:
        """What must be so whatever the model says."""
        for before, after in pairwise(seen.history):
            assert after.status in LEGAL_MOVES[before.status]
            assert after.attempt == before.attempt + (after.status is JobStatus.PROCESSING)
        job = seen.job
        if job is None:
            return
        assert (job.finished_at is not None) == job.status.is_final
        assert [one.number for one in seen.attempts] == [*range(1, job.attempt + 1)]
        running = [one.number for one in seen.attempts if one.ended_at is None]
        assert running == ([job.attempt] if job.status is JobStatus.PROCESSING else [])
        if job.status is not JobStatus.COMPLETED:
            assert (job.files, job.result) == ((), {})
        prefix = f"processed/{job.id}/{job.attempt}/"
        assert all(file.storage_key.startswith(prefix) for file in job.files)


class _Seen(NamedTuple):
    job: Job | None
    attempts: list[Attempt]
    history: list[HistoryEntry]
    letter: dead_letters.DeadLetter | None


def _everything(
    job_ids: list[str], *, now: float
) -> Transaction[tuple[dict[str, _Seen], list[str]]]:
    """All that is kept of the jobs, and which the queue offers, in one read."""
    seen = {}
    for job_id in job_ids:
        seen[job_id] = _Seen(
            job=(yield from job_reads.get(job_id)),
            attempts=(yield from job_reads.attempts(job_id)),
            history=(yield from job_reads.history(job_id)),
            letter=(yield from dead_letters.get(job_id)),
        )
    offered = yield from turns.ready(JobType.IMAGE, limit=1000, now=now)
    return seen, offered


MOVES: dict[str, Callable[[Table, str, Draw], None]] = {
    "create": lambda table, _job_id, _draw: table.create(),
    "claim": Table.claim,
    "progress": Table.progress,
    "beat": Table.beat,
    "complete": Table.complete,
    "retry": Table.retry,
    "fail": Table.fail,
    "release": Table.release,
    "stage": Table.stage,
    "stage late": Table.stage_late,
    "cancel": Table.cancel,
    "redrive": Table.redrive,
    "delete": Table.delete,
}

draws = st.builds(
    Draw,
    move=st.sampled_from([*MOVES]),
    job=st.integers(0, MOST_JOBS - 1),
    back=st.sampled_from(BACK),
    wait_s=st.sampled_from(WAITS_S),
    flag=st.booleans(),
)


@settings(
    max_examples=50,
    phases=[phase for phase in Phase if phase is not Phase.shrink or SHRINK],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(draws, min_size=STEPS, max_size=STEPS))
def test_every_order_of_moves(steps: list[Draw]) -> None:
    with _table() as table:
        for draw in steps:
            table.take(draw)


def test_many_moves_by_chance(chance: random.Random) -> None:
    with _table() as table:
        for _ in range(MANY_STEPS):
            table.take(
                Draw(
                    move=chance.choice([*MOVES]),
                    job=chance.randrange(MOST_JOBS),
                    back=chance.choice(BACK),
                    wait_s=chance.choice(WAITS_S),
                    flag=chance.random() < 0.5,
                )
            )


@contextlib.contextmanager
def _table() -> Iterator[Table]:
    # In memory where possible: what is tried here is SQL, not the disk under it.
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        table = Table(Path(folder))
        try:
            yield table
        finally:
            table.close()
