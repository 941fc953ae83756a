"""One attempt at a job, from the claim to its settling.

    input ─► scratch ─► child ─► scratch ─► checked ─► stored under a key with the attempt in it
    ─► ONE transaction: results, state, history

Small results of a child that goes on are taken and shown before that (`partial_results`).

Whatever happens in between, the attempt ends in exactly one settling write, which names the
attempt; when the lease is gone it touches nothing and what the attempt stored is deleted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from appliance.clock import Clock
from appliance.database import job_reads, jobs, scrub
from appliance.database.protocol import Database, Transaction
from appliance.errors import (
    ApplianceError,
    DatabaseUnavailable,
    InfectedFile,
    LimitExceeded,
    NotScanned,
    ObjectMissing,
    OutputRefused,
    PresetUnknown,
    StorageFull,
    StorageUnavailable,
)
from appliance.jobs import Claim, Job, JobError, JobStatus, ResultFile
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.presets.files import load
from appliance.presets.preset import Preset, Presets
from appliance.processors.protocol import Limits, Order, Output, Progress
from appliance.retry import delay_s
from appliance.storage.protocol import Storage
from appliance.storage.verified import read_verified, verify
from appliance.threads import in_thread, until_done
from appliance.workers import scratch_folder
from appliance.workers.outcome import AttemptFailed, Outcome
from appliance.workers.outputs import Bounds, check_outputs
from appliance.workers.partial_results import PartialResults, result_file, results_prefix
from appliance.workers.plugins import Chooser
from appliance.workers.scanning import Scanning
from appliance.workers.surroundings import SURROUNDINGS, SURROUNDINGS_ERRNOS, Surroundings

log = structlog.get_logger()

WATCH_OUTPUT_S = 0.5
"""Between two looks at what a child has written. Work that is over sooner shows its results at its
end, all in one transaction."""

SETTLE_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between the tries of a settling write; together less than a drain's default grace."""


@dataclass
class Running:
    """An attempt under way, for whoever watches it."""

    claim: Claim
    task: asyncio.Task[None]
    progress: float = 0.0
    step: str = "starting"
    told: tuple[float, str] = (0.0, "")
    """The progress that the database knows."""
    settling: bool = False
    """The work is over: its lease may be gone because it has just been settled."""

    def note(self, fraction: float, step: str) -> None:
        self.progress, self.step = min(max(fraction, 0.0), 1.0), step


class SurroundingsFault(Exception):
    """The job was handed back because of `fault`; no other should be begun until it is gone."""

    def __init__(self, fault: ApplianceError) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class OriginalMoved(Exception):
    """To the cold place, under the hands of a child: nobody's fault."""


@dataclass(frozen=True)
class Attempts:
    """Runs attempts; shared by all pools of the process."""

    database: Database
    storage: Storage
    announcer: Announcer
    metrics: Metrics
    clock: Clock
    surroundings: Surroundings
    scratch_dir: Path
    limits: Limits
    scanning: Scanning | None = None
    bounds: Bounds = field(default_factory=Bounds)
    presets: Presets = field(default_factory=load)
    """Those that are shipped, where nobody says otherwise."""
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """The largest memory of an attempt of each type lately; it fades."""

    async def run(self, run: Running, chooser: Chooser) -> None:
        """Bring the attempt to its settling. Raises SurroundingsFault after handing it back.

        When cancelled, the child is killed and the job handed back before the cancellation
        goes on.
        """
        claim = run.claim
        began = self.clock.monotonic()
        outcome = "handed_back"
        try:
            outcome = await self._run(run, chooser)
        except asyncio.CancelledError:
            outcome = await self._hand_back(run, "its worker stopped")
            raise
        except SURROUNDINGS as error:
            log.warning("attempt_handed_back", job_id=claim.job.id, reason=error.detail)
            outcome = await self._hand_back(run, error.detail)
            raise SurroundingsFault(error) from error
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

    async def _run(self, run: Running, chooser: Chooser) -> str:
        claim = run.claim
        scratch = self.scratch_dir / f"{claim.job.id}-{claim.attempt}"
        try:
            preset = self._preset(claim.job)
            result, files = await self._work(run, chooser, scratch, preset)
            return await self._complete(run, result, files, preset)
        except SURROUNDINGS:
            raise
        except PresetUnknown as error:
            return await self._settle_failure(run, error, step="looking up the preset")
        except OriginalMoved:
            return await self._hand_back(run, "its original was moved to the cold place")
        except AttemptFailed as failed:
            if not failed.error.permanent and await self.surroundings.is_full():
                raise StorageFull("The disk is full.") from failed
            return await self._settle_failure(
                run,
                failed.error,
                step=failed.step,
                error_class=failed.error_class,
                stderr_tail=failed.stderr_tail,
            )
        except (InfectedFile, NotScanned) as error:
            return await self._settle_failure(run, error, step="scanning for viruses")
        except (LimitExceeded, OutputRefused, ObjectMissing) as error:
            return await self._settle_failure(run, error, step="storing results")
        except Exception as error:
            if isinstance(error, OSError) and error.errno in SURROUNDINGS_ERRNOS:
                raise StorageUnavailable(
                    f"The server cannot work in its scratch folder: {error.strerror}."
                ) from error
            # Top of an attempt: a fault of ours must not leave the job PROCESSING.
            log.exception("attempt_broke", job_id=claim.job.id, attempt=claim.attempt)
            return await self._settle_failure(
                run, ApplianceError(), step="supervising", error_class=type(error).__qualname__
            )
        finally:
            await in_thread(scratch_folder.remove, scratch)

    async def _work(
        self, run: Running, chooser: Chooser, scratch: Path, preset: Preset
    ) -> tuple[dict[str, object], list[ResultFile]]:
        claim = run.claim
        if self.scanning is not None:
            run.note(0.0, "scanning for viruses")
            await self.scanning.check(claim)
        nursery = await chooser.choose(claim.job.content_type)
        output_dir = scratch / "output"
        await in_thread(output_dir.mkdir, parents=True, mode=0o700)
        processor = await nursery.describe()
        input_path = await self._input(claim.job, scratch)
        order = Order(
            attempt_id=scratch.name,
            input_path=str(input_path),
            output_dir=str(output_dir),
            content_type=claim.job.content_type,
            limits=self.limits,
            options=self.presets.options(preset, processor.name),
        )

        partial_results = PartialResults(
            claim,
            output_dir,
            self.bounds,
            database=self.database,
            storage=self.storage,
            announcer=self.announcer,
        )

        def on_report(report: Progress | Output) -> None:
            if isinstance(report, Progress):
                run.note(report.fraction, report.step)
            else:
                partial_results.hear(report)

        try:
            outcome = await self._watched(
                output_dir, nursery.run(order, on_report=on_report), partial_results
            )
        except AttemptFailed as failed:
            is_copy = input_path.parent == scratch
            if not is_copy and self.storage.local_path(claim.job.storage_key) != input_path:
                raise OriginalMoved from failed
            raise
        self._note_peak(claim.job.type, outcome.peak_memory_bytes)
        run.note(1.0, "storing results")
        files = dict(partial_results.taken)
        for checked in await in_thread(
            check_outputs, output_dir, outcome.outputs, self.bounds, taken=files.values()
        ):
            file = files[checked.name] = result_file(claim, checked)
            await self.storage.store_file(checked.path, file.storage_key)
        return outcome.facts, [files[output.name] for output in outcome.outputs]

    def _preset(self, job: Job) -> Preset:
        """Raises PresetUnknown."""
        preset = self.presets.get(job.preset)
        if preset is None:
            raise PresetUnknown(
                f"The preset {job.preset} is not on this server any more. Put its file back and "
                "restart the server, then try the job again; or process the file with another."
            )
        return preset

    async def _input(self, job: Job, scratch: Path) -> Path:
        """The original as a plain file: where it lies, or a copy of it.

        Raises ObjectMissing, ObjectDamaged.
        """
        for _ in range(2):  # between the looks it may be moved to the cold place
            path = self.storage.local_path(job.storage_key)
            if path is None:
                break
            if await in_thread(path.exists):
                await self._check_sound(job)
                return path
        else:
            raise ObjectMissing("The stored original is gone from the server's disk.")
        await self.surroundings.check_room_for(job.size_bytes)
        path = scratch / "input"
        with path.open("xb") as copy:
            async with aclosing(read_verified(self.storage, job)) as pieces:
                async for piece in pieces:
                    await in_thread(copy.write, piece)
        return path

    async def _check_sound(self, job: Job) -> None:
        """Of a file on this machine's disk, which is read whole only where the scrubber has found
        it damaged: it may have been put right since. Raises ObjectDamaged."""
        if await self.database.read(scrub.damaged_among([job.storage_key])):
            await verify(self.storage, job)

    async def _watched(
        self,
        output_dir: Path,
        work: Coroutine[Any, Any, Outcome],
        partial_results: PartialResults,
    ) -> Outcome:
        """The outcome of `work`, whose results are taken as they come. It is stopped when they
        outgrow their bound, or when one may not be kept.

        A resource limit holds each file, not all of them together. Raises LimitExceeded,
        OutputRefused, StorageFull, StorageUnavailable.
        """
        running = asyncio.ensure_future(work)
        pause_s = WATCH_OUTPUT_S
        try:
            while not (await asyncio.wait((running,), timeout=pause_s))[0]:
                if (
                    await in_thread(scratch_folder.size_bytes, output_dir)
                    > self.bounds.max_total_bytes
                ):
                    raise LimitExceeded(
                        "The results of the work on this file would take more than "
                        f"{self.bounds.max_total_bytes:,} bytes."
                    )
                pause_s = 0 if await partial_results.take_next() else WATCH_OUTPUT_S
            return running.result()
        finally:
            if not running.done():
                running.cancel()
                await until_done(running)  # its child is gone then

    def _note_peak(self, job_type: str, peak_bytes: int) -> None:
        self.peak_bytes[job_type] = max(peak_bytes, int(self.peak_bytes.get(job_type, 0) * 0.9))

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
        self, run: Running, result: dict[str, object], files: list[ResultFile], preset: Preset
    ) -> str:
        claim, run.settling = run.claim, True
        job = await self._settle(
            lambda: jobs.complete(
                claim.job.id,
                attempt=claim.attempt,
                now=self.clock.now(),
                result=result,
                files=files,
                preset_version=preset.version,
            )
        )
        return await self._settled(claim, job, "completed")

    async def _settle_failure(
        self,
        run: Running,
        error: ApplianceError,
        *,
        step: str,
        error_class: str | None = None,
        stderr_tail: str | None = None,
    ) -> str:
        claim, run.settling = run.claim, True
        permanent = bool(getattr(error, "permanent", isinstance(error, ObjectMissing)))
        delay = delay_s(
            retry_count=claim.job.retry_count,
            max_retries=claim.job.max_retries,
            permanent=permanent,
            chance=random.SystemRandom(),
            hint_s=error.retry_after_s,
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

    async def _hand_back(self, run: Running, reason: str) -> str:
        claim, run.settling = run.claim, True
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
        """After the settling write, which touched nothing when `job` is None: the job was
        cancelled, its lease lost, or an earlier settling write of this attempt was cancelled
        after its commit."""
        if job is None:
            job = await self.database.read(job_reads.get(claim.job.id))
            if job is not None and job.status is JobStatus.CANCELLED:
                outcome = "cancelled"
            else:
                log.warning("lease_was_lost", job_id=claim.job.id, attempt=claim.attempt)
                outcome = "lost"
        if job is not None:
            await self.announcer.job_changed(job)
        if outcome != "completed":
            await self._discard_results(claim, job)
        return outcome

    async def _discard_results(self, claim: Claim, job: Job | None) -> None:
        prefix = results_prefix(claim)
        if job is not None and any(file.storage_key.startswith(f"{prefix}/") for file in job.files):
            return  # they are the job's visible results
        try:
            await self.storage.delete(prefix)
        except ApplianceError as error:
            log.warning("results_left_to_pruner", prefix=prefix, reason=error.detail)
