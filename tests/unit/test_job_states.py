"""Every order of moves, stale ones too, on a real SQLite file beside a small model of it.

A move is a rule below: it picks a job and an attempt, old ones included, says what the model
expects, and compares. A new move is a new rule; `Model.move` holds it to LEGAL_MOVES.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from appliance.database import dead_letters, job_reads, jobs, stored_files, turns, workers
from appliance.database.protocol import Transaction
from appliance.database.sqlite import SqliteDatabase
from appliance.jobs import LEGAL_MOVES, Job, JobStatus, ResultFile
from tests.records import FAULT, a_job, a_result

T = TypeVar("T")

SHRINK = "APPLIANCE_TEST_SEEDED" not in os.environ
"""Whether to look for the shortest way to a failure; scripts/seeded-faults asks for any."""
MOST_JOBS = 3
BACK = st.sampled_from([0, 0, 0, 1, 2])
"""How many attempts ago: 0 is the present one, more are of workers that lost their lease."""


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


class JobStates(RuleBasedStateMachine):
    job_ids = Bundle("job_ids")

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        # In memory where possible: what is tried here is SQL, not the disk under it.
        memory = Path("/dev/shm")
        self._dir = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self._database = self._run(SqliteDatabase.open(self._dir / "test.db"))
        self._models: dict[str, Model] = {}
        self._now = 1_000_000.0

    def teardown(self) -> None:
        self._run(self._database.close())
        self._loop.close()
        shutil.rmtree(self._dir)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    def _write(self, transaction: Transaction[T]) -> T:
        self._now += 0.25
        return self._run(self._database.write(transaction))

    def _read(self, transaction: Transaction[T]) -> T:
        return self._run(self._database.read(transaction))

    # --- the moves ------------------------------------------------------------------------

    @precondition(lambda self: len(self._models) < MOST_JOBS)
    @rule(target=job_ids)
    def create(self) -> str:
        job = a_job()
        self._write(jobs.create([job]))
        self._models[job.id] = Model()
        return job.id

    @rule(job_id=job_ids, worker=st.sampled_from(["w1", "w2"]))
    def claim(self, job_id: str, worker: str) -> None:
        model = self._models[job_id]
        claim = self._write(jobs.claim(job_id, worker=worker, now=self._now))
        assert (claim is not None) == (model.status is JobStatus.PENDING)
        if claim is not None:
            model.attempt += 1
            model.outcomes.append(None)
            model.move(JobStatus.PROCESSING)
            model.worker = worker
            assert claim.attempt == model.attempt

    @rule(job_id=job_ids, back=BACK, fraction=st.floats(0, 1))
    def progress(self, job_id: str, back: int, fraction: float) -> None:
        model, attempt = self._attempt(job_id, back)
        owner = self._write(
            jobs.progress(job_id, attempt=attempt, fraction=fraction, step="resizing")
        )
        assert (owner is not None) == model.holds(attempt)

    @rule(job_id=job_ids, back=BACK)
    def beat(self, job_id: str, back: int) -> None:
        model, attempt = self._attempt(job_id, back)
        held = self._write(workers.beat("w1", node="n", running={job_id: attempt}, now=self._now))
        assert held == ({job_id} if model.holds(attempt) else set())

    @rule(job_id=job_ids, back=BACK, count=st.integers(0, 2))
    def complete(self, job_id: str, back: int, count: int) -> None:
        model, attempt = self._attempt(job_id, back)
        files = tuple(a_result(job_id, attempt, f"{number}.webp") for number in range(count))
        job = self._write(
            jobs.complete(job_id, attempt=attempt, now=self._now, result={"n": count}, files=files)
        )
        if self._settled(job, model, attempt):
            model.move(JobStatus.COMPLETED, "completed")
            model.files = files

    @rule(job_id=job_ids, back=BACK, wait_s=st.sampled_from([0.0, 1.0, 60.0]))
    def retry(self, job_id: str, back: int, wait_s: float) -> None:
        model, attempt = self._attempt(job_id, back)
        due = self._now + wait_s
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

    @rule(job_id=job_ids, back=BACK, outcome=st.sampled_from(["failed", "lost"]))
    def fail(self, job_id: str, back: int, outcome: str) -> None:
        model, attempt = self._attempt(job_id, back)
        job = self._write(
            jobs.fail(
                job_id,
                attempt=attempt,
                now=self._now,
                error=FAULT,
                error_class="ChildCrashed",
                stderr_tail=None,
                outcome=outcome,
            )
        )
        if self._settled(job, model, attempt):
            model.move(JobStatus.FAILED, outcome)
            model.dead_letter = True

    @rule(job_id=job_ids, back=BACK, outcome=st.sampled_from(["handed_back", "lost"]))
    def release(self, job_id: str, back: int, outcome: str) -> None:
        model, attempt = self._attempt(job_id, back)
        job = self._write(
            jobs.release(job_id, attempt=attempt, now=self._now, outcome=outcome, detail="why")
        )
        if self._settled(job, model, attempt):
            model.move(JobStatus.PENDING, outcome)

    @rule(limit=st.integers(1, 3), later_s=st.sampled_from([0.0, 1.0, 60.0]))
    def stage(self, limit: int, later_s: float) -> None:
        self._now += later_s
        due = {
            job_id
            for job_id, model in self._models.items()
            if model.due is not None and model.due <= self._now
        }
        found = self._read(jobs.due(now=self._now, limit=limit))
        assert len(found) == min(limit, len(due))
        assert set(found) <= due
        staged = self._write(jobs.stage(found, now=self._now))
        assert [job.id for job in staged] == found
        for job_id in found:
            self._models[job_id].move(JobStatus.PENDING)

    @rule(job_id=job_ids)
    def stage_late(self, job_id: str) -> None:
        """By a stager that has read what is due a while ago."""
        model = self._models[job_id]
        staged = self._write(jobs.stage([job_id], now=self._now))
        assert len(staged) == (model.status is JobStatus.RETRYING)
        if staged:
            model.move(JobStatus.PENDING)

    @rule(job_id=job_ids)
    def cancel(self, job_id: str) -> None:
        model = self._models[job_id]
        job = self._write(jobs.cancel(job_id, now=self._now, actor="key:A"))
        assert (job is not None) == model.is_(
            JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.RETRYING
        )
        if job is not None:
            running = model.status is JobStatus.PROCESSING
            model.move(JobStatus.CANCELLED, "cancelled" if running else None)

    @rule(job_id=job_ids, reviewed=st.booleans())
    def redrive(self, job_id: str, reviewed: bool) -> None:
        model = self._models[job_id]
        allowed = model.is_(JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.RETRYING)
        job = self._write(jobs.redrive(job_id, now=self._now, actor="key:A", reviewed=reviewed))
        assert (job is not None) == (allowed and (model.dead_letter or not reviewed))
        if job is not None:
            model.move(JobStatus.PENDING)
            model.retry_count = 0
            model.dead_letter = False

    @rule(job_id=job_ids)
    def delete(self, job_id: str) -> None:
        model = self._models[job_id]
        deleted = self._write(stored_files.delete(job_id))
        assert (deleted is not None) == model.is_(
            JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED
        )
        if deleted is not None:
            self._models[job_id] = Model(status=None, attempt=model.attempt, history=[])

    def _attempt(self, job_id: str, back: int) -> tuple[Model, int]:
        model = self._models[job_id]
        return model, max(0, model.attempt - back)

    def _settled(self, job: Job | None, model: Model, attempt: int) -> bool:
        assert (job is not None) == model.holds(attempt)
        return job is not None

    # --- what must hold -------------------------------------------------------------------

    @invariant()
    def the_database_is_as_the_model(self) -> None:
        for job_id, model in self._models.items():
            attempts = self._read(job_reads.attempts(job_id))
            assert [one.outcome for one in attempts] == model.outcomes
            assert (self._read(dead_letters.get(job_id)) is not None) == model.dead_letter
            job = self._read(job_reads.get(job_id))
            if job is None or model.status is None:
                assert (job, model.status) == (None, None)
                continue
            assert (job.status, job.attempt, job.retry_count, job.worker, job.next_attempt_at) == (
                (model.status, model.attempt, model.retry_count, model.worker, model.due)
            )
            assert job.files == model.files
            assert (job.finished_at is not None) == job.status.is_final
            assert [one.number for one in attempts] == [*range(1, model.attempt + 1)]
            assert [one.ended_at is None for one in attempts] == [
                outcome is None for outcome in model.outcomes
            ]

    @invariant()
    def the_history_is_a_legal_life(self) -> None:
        for job_id, model in self._models.items():
            moves = [
                (entry.status, entry.attempt) for entry in self._read(job_reads.history(job_id))
            ]
            assert moves == model.history
            for (before, attempt), (after, later) in pairwise(moves):
                assert after in LEGAL_MOVES[before]
                assert later == attempt + (after is JobStatus.PROCESSING)

    @invariant()
    def results_are_seen_when_completed_and_of_one_attempt(self) -> None:
        for job_id in self._models:
            job = self._read(job_reads.get(job_id))
            if job is None:
                continue
            if job.status is not JobStatus.COMPLETED:
                assert (job.files, job.result) == ((), {})
            prefix = f"processed/{job_id}/{job.attempt}/"
            assert all(file.storage_key.startswith(prefix) for file in job.files)

    @invariant()
    def the_queue_offers_what_is_pending(self) -> None:
        pending = {
            job_id for job_id, model in self._models.items() if model.status is JobStatus.PENDING
        }
        assert set(self._read(turns.ready(a_job().type, limit=1000, now=self._now))) == pending


JobStates.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    phases=[phase for phase in Phase if phase is not Phase.shrink or SHRINK],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestJobStates = JobStates.TestCase
