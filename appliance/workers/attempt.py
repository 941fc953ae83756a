"""One attempt at a job, from the claim to its settling.

    input ─► scratch ─► child ─► scratch ─► checked ─► stored under a key with the attempt in it
    ─► ONE transaction: results, state, history

Whatever happens in between, the attempt ends in exactly one settling write, which names the
attempt; when the lease is gone it touches nothing and what the attempt stored is deleted.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from appliance.clock import Clock
from appliance.database import jobs
from appliance.database.protocol import Database, Transaction
from appliance.errors import (
    ApplianceError,
    DatabaseUnavailable,
    NurseryUnavailable,
    ObjectMissing,
    OutputRefused,
    StorageFull,
    StorageUnavailable,
)
from appliance.jobs import Claim, Job, JobError, ResultFile
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.processors.protocol import Limits, Order, Progress, Report
from appliance.retry import delay_s
from appliance.storage.protocol import Storage
from appliance.threads import in_thread
from appliance.workers.nursery import Nursery
from appliance.workers.outcome import AttemptFailed
from appliance.workers.outputs import Bounds, check_outputs

log = structlog.get_logger()

SURROUNDINGS = (NurseryUnavailable, StorageFull, StorageUnavailable, DatabaseUnavailable)
"""Faults that say nothing about the job: it is handed back, and no retry is counted."""

FULL_BYTES = 64 * 1024**2
"""With less free than this, work that writes files cannot be expected to succeed."""

SETTLE_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between the tries of a settling write; together less than a drain's default grace."""

OnProgress = Callable[[float, str], None]


class SurroundingsFault(Exception):
    """The job was handed back because of its cause; the pool should wait before the next."""


@dataclass(frozen=True)
class Attempts:
    """Runs attempts; shared by all pools of the process."""

    database: Database
    storage: Storage
    announcer: Announcer
    metrics: Metrics
    clock: Clock
    scratch_dir: Path
    limits: Limits

    async def run(self, claim: Claim, nursery: Nursery, on_progress: OnProgress) -> None:
        """Bring the attempt to its settling. Raises SurroundingsFault after handing it back.

        When cancelled, the child is killed and the job handed back before the cancellation
        goes on.
        """
        began = self.clock.monotonic()
        outcome = "handed_back"
        try:
            outcome = await self._run(claim, nursery, on_progress)
        except asyncio.CancelledError:
            outcome = await self._hand_back(claim, "its worker stopped")
            raise
        except SURROUNDINGS as error:
            log.warning("attempt_handed_back", job_id=claim.job.id, reason=error.detail)
            outcome = await self._hand_back(claim, error.detail)
            raise SurroundingsFault from error
        finally:
            took_s = self.clock.monotonic() - began
            self.metrics.attempts.labels(claim.job.type, outcome).inc()
            self.metrics.attempt_seconds.labels(claim.job.type).observe(took_s)
            log.info(
                "attempt_ended",
                job_id=claim.job.id,
                attempt=claim.attempt,
                type=claim.job.type,
                outcome=outcome,
                took_s=round(took_s, 3),
            )

    async def _run(self, claim: Claim, nursery: Nursery, on_progress: OnProgress) -> str:
        scratch = self.scratch_dir / f"{claim.job.id}-{claim.attempt}"
        try:
            result, files = await self._work(claim, nursery, on_progress, scratch)
            return await self._complete(claim, result, files)
        except SURROUNDINGS:
            raise
        except AttemptFailed as failed:
            if not failed.error.permanent and await self._is_disk_full():
                raise StorageFull("The disk is full.") from failed
            return await self._settle_failure(
                claim,
                failed.error,
                step=failed.step,
                error_class=failed.error_class,
                stderr_tail=failed.stderr_tail,
            )
        except (OutputRefused, ObjectMissing) as error:
            return await self._settle_failure(claim, error, step="storing results")
        except Exception as error:
            # Top of an attempt: a fault of ours must not leave the job PROCESSING.
            log.exception("attempt_broke", job_id=claim.job.id, attempt=claim.attempt)
            return await self._settle_failure(
                claim, ApplianceError(), step="supervising", error_class=type(error).__qualname__
            )
        finally:
            await in_thread(shutil.rmtree, scratch, ignore_errors=True)

    async def _work(
        self, claim: Claim, nursery: Nursery, on_progress: OnProgress, scratch: Path
    ) -> tuple[dict[str, object], list[ResultFile]]:
        output_dir = scratch / "output"
        await in_thread(output_dir.mkdir, parents=True, mode=0o700)
        order = Order(
            attempt_id=scratch.name,
            input_path=str(await self._input(claim.job, scratch)),
            output_dir=str(output_dir),
            content_type=claim.job.content_type,
            limits=self.limits,
        )

        def on_report(report: Report) -> None:
            if isinstance(report, Progress):
                on_progress(min(max(report.fraction, 0.0), 1.0), report.step)

        outcome = await nursery.run(order, on_report=on_report)
        on_progress(1.0, "storing results")
        checked = await in_thread(check_outputs, output_dir, outcome.outputs, Bounds())
        files = []
        for file in checked:
            key = f"{self._prefix(claim)}/{file.name}"
            await self.storage.store_file(file.path, key)
            files.append(
                ResultFile(
                    name=file.name,
                    content_type=file.content_type,
                    size_bytes=file.size_bytes,
                    sha256=file.sha256,
                    storage_key=key,
                    width_px=file.width_px,
                    height_px=file.height_px,
                )
            )
        return outcome.facts, files

    async def _input(self, job: Job, scratch: Path) -> Path:
        """The original as a plain file: where it lies, or a copy of it."""
        path = self.storage.local_path(job.storage_key)
        if path is not None:
            if not await in_thread(path.exists):
                raise ObjectMissing("The stored original is gone from the server's disk.")
            return path
        path = scratch / "input"
        with path.open("xb") as copy:
            async for piece in self.storage.read(job.storage_key):
                await in_thread(copy.write, piece)
        return path

    async def _is_disk_full(self) -> bool:
        """Whether the lack of room, rather than the file, may be why an attempt failed."""
        usage = await in_thread(shutil.disk_usage, self.scratch_dir)
        return usage.free < FULL_BYTES

    # --- the settling writes ----------------------------------------------------------------

    async def _settle(self, move: Callable[[], Transaction[Job | None]]) -> Job | None:
        """The settling write, repeated while the database is down: the work is done, and the
        heartbeat goes on holding the lease. One that was committed after all, though it failed
        to say so, touches nothing the second time."""
        for pause_s in SETTLE_PAUSES_S:
            try:
                return await self.database.write(move())
            except (DatabaseUnavailable, StorageFull) as error:
                log.warning("settling_delayed", reason=error.detail, for_s=pause_s)
                await asyncio.sleep(pause_s)
        return await self.database.write(move())

    async def _complete(
        self, claim: Claim, result: dict[str, object], files: list[ResultFile]
    ) -> str:
        job = await self._settle(
            lambda: jobs.complete(
                claim.job.id,
                attempt=claim.attempt,
                now=self.clock.now(),
                result=result,
                files=files,
            )
        )
        return await self._settled(claim, job, "completed")

    async def _settle_failure(
        self,
        claim: Claim,
        error: ApplianceError,
        *,
        step: str,
        error_class: str | None = None,
        stderr_tail: str | None = None,
    ) -> str:
        permanent = bool(getattr(error, "permanent", isinstance(error, ObjectMissing)))
        delay = delay_s(
            retry_count=claim.job.retry_count,
            max_retries=claim.job.max_retries,
            permanent=permanent,
            chance=random.SystemRandom(),
        )
        now = self.clock.now()
        told = JobError(
            code=error.code,
            message=error.detail,
            step=step,
            permanent=permanent,
            attempts=claim.job.retry_count + 1,
        )
        log.warning(
            "attempt_failed",
            job_id=claim.job.id,
            attempt=claim.attempt,
            code=error.code,
            step=step,
            message=error.detail,
            retry_in_s=None if delay is None else round(delay, 1),
        )
        if delay is None:
            move = partial(jobs.fail)
        else:
            move = partial(jobs.retry, next_attempt_at=now + delay)
        job = await self._settle(
            lambda: move(
                claim.job.id,
                attempt=claim.attempt,
                now=now,
                error=told,
                error_class=error_class or type(error).__qualname__,
                stderr_tail=stderr_tail,
            )
        )
        return await self._settled(claim, job, "failed" if delay is None else "retry")

    async def _hand_back(self, claim: Claim, reason: str) -> str:
        job = await self._settle(
            lambda: jobs.release(
                claim.job.id,
                attempt=claim.attempt,
                now=self.clock.now(),
                outcome="handed_back",
                detail=reason,
            )
        )
        return await self._settled(claim, job, "handed_back")

    async def _settled(self, claim: Claim, job: Job | None, outcome: str) -> str:
        """After the settling write, which touched nothing when `job` is None: the lease was
        lost, or an earlier settling write of this attempt was cancelled after its commit."""
        if job is None:
            log.warning("lease_was_lost", job_id=claim.job.id, attempt=claim.attempt)
            outcome = "lost"
            job = await self.database.read(jobs.get(claim.job.id))
        if job is not None:
            await self.announcer.job_changed(job)
        if outcome != "completed":
            await self._discard_results(claim, job)
        return outcome

    async def _discard_results(self, claim: Claim, job: Job | None) -> None:
        prefix = self._prefix(claim)
        if job is not None and any(file.storage_key.startswith(f"{prefix}/") for file in job.files):
            return  # they are the job's visible results
        try:
            await self.storage.delete(prefix)
        except ApplianceError as error:
            log.warning("results_left_to_pruner", prefix=prefix, reason=error.detail)

    def _prefix(self, claim: Claim) -> str:
        """Where the attempt's results go: other attempts never write there."""
        return f"processed/{claim.job.id}/{claim.attempt}"
