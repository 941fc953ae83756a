"""The server's side of the nurseries: keeps one alive and runs attempts in it.

A Nursery promises about every attempt that when `run` returns or raises, cancellation included,
the child and its process group are gone. It watches from outside what a child cannot be trusted
to watch (wall clock, silence, a flood of reports) and leaves the checking of results to
`outputs`, the decision about a retry to whoever called. A nursery that is killed or stuck costs
the attempts that run in it, each as ChildCrashed, and is started again.

Limits: a grandchild that left its process group outlives a nursery that is itself killed. The
sandbox, which forbids a child to fork, is what closes that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

from appliance.errors import (
    ConfigurationError,
    NurseryUnavailable,
    ProcessingError,
    SandboxUnavailable,
)
from appliance.jobs import JobType
from appliance.processors.protocol import REQUIRED_LAYERS, Description, Exited, Order, Ready
from appliance.workers.entry_points import built_in
from appliance.workers.outcome import (
    STDERR_TAIL_CHARACTERS,
    Outcome,
    conclude,
    tail,
)
from appliance.workers.program import Program, ProgramLost, spawn
from appliance.workers.reports import OnReport, Reports

FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 10.0
STEADY_S = 10.0
"""A nursery that lived this long was sound: the next one is started without a longer wait."""

log = structlog.get_logger()


class Nursery:
    """Forks children for attempts of one processor, as many at a time as `run` is called."""

    def __init__(
        self,
        name: str,
        *,
        scratch_dir: Path,
        processor: str | None = None,
        sandbox: str = "prefer",
        ready_timeout_s: float = 30.0,
    ) -> None:
        """`name` is a job type, or that of a plug-in. `scratch_dir` holds the children's stderr,
        in files without a name. `processor` is the `module:attribute` of a Processor; a job type
        has one of its own. `sandbox` is APPLIANCE_SANDBOX: `require`, `prefer` or `off`. Raises
        ConfigurationError when the processor is not installed."""
        self.name = name
        self._processor = processor or built_in(JobType(name))
        self._scratch_dir = scratch_dir
        self._sandbox = sandbox
        self._ready_timeout_s = ready_timeout_s
        self._ready: asyncio.Future[Program] | None = None
        """Of the present program; another one as soon as that is lost."""
        self._program: Program | None = None
        """The present or last one, ready or not."""
        self._said: Ready | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost_at = 0.0
        """When the last program was lost, on the loop's clock."""

    @property
    def pid(self) -> int | None:
        """Of the nursery that is ready now."""
        if self._ready is None or not self._ready.done():
            return None
        return self._ready.result().process.pid

    @property
    def said(self) -> Ready | None:
        """What the nursery says of its processor and its sandbox, or said when it was up last;
        None before the first start."""
        return self._said

    async def is_up(self, *, within_s: float) -> bool:
        """Whether it takes orders; waits for that until `within_s` after it was lost."""
        ready = self._ready
        if ready is not None and not ready.done():
            rest_s = self._lost_at + within_s - asyncio.get_running_loop().time()
            await asyncio.wait((ready,), timeout=max(0.0, rest_s))
        return self.pid is not None

    async def describe(self) -> Description:
        """The processor of the program that is ready. Raises NurseryUnavailable."""
        program = await self._get_ready()
        assert program.said is not None
        return program.said.processor

    async def check(self, preset: str, options: dict[str, Any]) -> str | None:
        """What is wrong with a preset's options for this processor, in words; None when they are
        good. Raises NurseryUnavailable."""
        while True:
            program = await self._get_ready()
            with contextlib.suppress(ProgramLost):
                return await program.check(preset, options)

    async def start(self) -> None:
        """Return when the nursery is ready. Raises NurseryUnavailable when it does not get so,
        ConfigurationError when a wall is missing that APPLIANCE_SANDBOX requires."""
        self._forget()
        try:
            program = await self._launch()
        except SandboxUnavailable as error:
            raise ConfigurationError(error.faults) from error
        self._keeper = asyncio.create_task(self._keep(program))

    async def stop(self) -> None:
        """End the nursery. Attempts that still run are killed and fail."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._program is not None:
            await self._program.stop()
        if self._ready is not None and not self._ready.done():  # somebody may wait for it
            self._ready.set_exception(NurseryUnavailable("The nursery is stopping"))
            self._ready.exception()  # seen, should nobody wait
        self._ready = None

    async def run(self, order: Order, *, on_report: OnReport = lambda _report: None) -> Outcome:
        """Run one attempt to its end and return what came of it.

        `on_report` is called in the event loop for each Progress and Output and must not
        block. Raises AttemptFailed with the error and what the record of the attempt keeps,
        NurseryUnavailable when no nursery got ready to begin it. When cancelled, the child is
        killed and reaped before CancelledError goes on.
        """
        reports = Reports(on_report)
        stderr = tempfile.TemporaryFile(dir=self._scratch_dir, buffering=0)  # noqa: SIM115
        try:
            fault, exited = await self._attend(order, reports, stderr.fileno())
            stderr_tail = _read_tail(stderr.fileno())
        finally:
            # In a thread: what a hostile child wrote there takes time to free.
            await asyncio.to_thread(stderr.close)
        return conclude(
            fault,
            exited,
            order.limits,
            conclusion=reports.conclusion,
            outputs=reports.outputs,
            step=reports.step,
            stderr_tail=stderr_tail,
        )

    async def _attend(
        self, order: Order, reports: Reports, stderr_fd: int
    ) -> tuple[ProcessingError | None, Exited]:
        while True:
            program = await self._get_ready()
            with contextlib.suppress(ProgramLost):  # then the next one takes it
                return await program.attend(order, reports, stderr_fd)

    async def _get_ready(self) -> Program:
        ready = self._ready
        if ready is None:
            raise NurseryUnavailable("The nursery is not running")
        _, late = await asyncio.wait((ready,), timeout=self._ready_timeout_s)
        if late:
            raise NurseryUnavailable
        return ready.result()

    def _forget(self) -> None:
        """What is ready is from now on the next program, not the present one."""
        if self._ready is None or self._ready.done():
            self._lost_at = asyncio.get_running_loop().time()
            self._ready = asyncio.get_running_loop().create_future()

    async def _launch(self) -> Program:
        """Start a program and return when it is ready. Raises NurseryUnavailable."""
        began = time.monotonic()
        try:
            program = self._program = await spawn(
                self.name,
                self._processor,
                self._forget,
                sandbox=self._sandbox,
                scratch_dir=self._scratch_dir.absolute(),
            )
        except OSError as error:
            raise NurseryUnavailable(f"No process can be started: {error.strerror}") from error
        first = (program.ready.wait(), program.lost.wait())
        waiting = [asyncio.create_task(event) for event in first]
        try:
            await asyncio.wait(
                waiting, timeout=self._ready_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in waiting:
                task.cancel()
            if not program.ready.is_set():
                program.lose()
        if program.lost.is_set():
            exit_code, stderr_tail = await program.post_mortem()
            raise NurseryUnavailable(
                f"The {self.name} nursery did not get ready (exit code {exit_code}): "
                f"{stderr_tail.rpartition(chr(10))[2] or 'no word of it in time'}"
            )
        try:
            self._look_at_walls(program)
        except SandboxUnavailable:
            program.lose()
            await program.post_mortem()
            raise
        assert self._ready is not None
        self._said = program.said
        self._ready.set_result(program)
        log.info(
            "nursery_ready",
            nursery=self.name,
            pid=program.process.pid,
            ready_ms=round((time.monotonic() - began) * 1000),
        )
        return program

    def _look_at_walls(self, program: Program) -> None:
        """Tell which layers hold. Raises SandboxUnavailable when one is missing that must."""
        assert program.said is not None
        layers = program.said.layers
        missing = {name: why for name, why in layers.items() if why}
        needed = missing.keys() & set(REQUIRED_LAYERS)
        if needed and self._sandbox == "require":
            raise SandboxUnavailable({name: missing[name] for name in layers if name in needed})
        say = log.warning if needed and self._sandbox == "prefer" else log.info
        say(
            "sandbox",
            nursery=self.name,
            holding=[name for name in layers if name not in missing],
            missing=missing,
        )

    async def _keep(self, program: Program) -> None:
        """Start the next program whenever one is lost, sooner after one that lived long."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            await program.lost.wait()
            exit_code, stderr_tail = await program.post_mortem()
            lived_s = time.monotonic() - began
            if lived_s > STEADY_S:
                backoff_s = FIRST_BACKOFF_S
            log.error(
                "nursery_lost",
                nursery=self.name,
                pid=program.process.pid,
                exit_code=exit_code,
                stderr_tail=stderr_tail,
                lived_s=round(lived_s, 1),
                restart_in_s=backoff_s,
            )
            program, backoff_s = await self._launch_again(backoff_s)

    async def _launch_again(self, backoff_s: float) -> tuple[Program, float]:
        """Try until a program gets ready; return it and the wait before the next launch."""
        while True:
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
            try:
                return await self._launch(), backoff_s
            except NurseryUnavailable as error:
                log.error(
                    "nursery_not_ready",
                    nursery=self.name,
                    reason=error.detail,
                    restart_in_s=backoff_s,
                )


def _read_tail(stderr_fd: int) -> str:
    size_bytes = os.fstat(stderr_fd).st_size
    start = max(0, size_bytes - STDERR_TAIL_CHARACTERS)
    return tail(os.pread(stderr_fd, STDERR_TAIL_CHARACTERS, start))
