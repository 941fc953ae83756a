"""One run of the nursery program: its process, its control socket, the attempts it has begun.

`appliance.workers.nursery` starts another run when this one is lost. Everything that waits for
the program has a deadline; a program that misses one is stuck, and is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from appliance.errors import ChildCrashed, ChildTimedOut, ProcessingError
from appliance.processors.protocol import (
    MAX_CONTROL_BYTES,
    Check,
    Checked,
    ControlMessage,
    Exited,
    Kill,
    NurseryEvent,
    Order,
    Ready,
    Started,
)
from appliance.workers.outcome import STDERR_TAIL_CHARACTERS, tail
from appliance.workers.reports import Reports, report_pipe

FORK_S = 10.0
"""From an order to its child."""
END_S = 5.0
"""From SIGKILL, or from the end of its reports, until a child is reaped."""
STOP_S = 6.0
"""From the end of the control socket until the program has ended, with all its children."""

log = structlog.get_logger()

_decoder = msgspec.json.Decoder(NurseryEvent)
_encoder = msgspec.json.Encoder()


class ProgramLost(Exception):
    """The program was gone before it took the order."""


async def spawn(
    label: str, processor: str, on_lost: Callable[[], None], *, sandbox: str, scratch_dir: Path
) -> Program:
    """Exec the program for `processor`, a `module:attribute`; it is not ready yet.

    `sandbox` is APPLIANCE_SANDBOX; in `scratch_dir` its walls are tried.

    `on_lost` is called once, when it can take no more orders. Raises OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the working directory is never imported
            *("-m", "appliance.processors.nursery", label, processor, str(theirs.fileno())),
            *(sandbox, str(scratch_dir)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
            env=_environment(),
            cwd="/",
            start_new_session=True,  # Ctrl-C in the server's terminal is for the server
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Program(process, ours, on_lost)


def _environment() -> dict[str, str]:
    """Nothing of our own environment, where secrets may be; the same import path as ours."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
    }


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass
class _Running:
    begun: asyncio.Future[None] = field(default_factory=_future)
    ended: asyncio.Future[None] = field(default_factory=_future)
    pid: int | None = None
    exited: Exited | None = None
    """None although it has ended: the program was lost, and nobody knows how it ended."""

    def settle(self) -> None:
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_result(None)


class Program:
    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: socket.socket,
        on_lost: Callable[[], None],
    ) -> None:
        self.process = process
        self.ready = asyncio.Event()
        self.lost = asyncio.Event()
        self._on_lost = on_lost
        self._running: dict[str, _Running] = {}
        self.said: Ready | None = None
        """What it says of its processor and of the sandbox, once it is ready."""
        self._checks: dict[str, asyncio.Future[str | None]] = {}
        self._control = control
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(control, self._receive)
        self._stderr = bytearray()
        self._listener = asyncio.create_task(self._keep_stderr())

    # --- attempts -------------------------------------------------------------------------

    async def attend(
        self, order: Order, reports: Reports, stderr_fd: int
    ) -> tuple[ProcessingError | None, Exited]:
        """Run one attempt; the child is gone when this returns or raises.

        Returns the fault for which it was killed, if it was, and how its process ended.
        Raises ProgramLost when the order could not be given.
        """
        read_fd, write_fd = os.pipe()
        try:
            running = self._give(order, write_fd, stderr_fd)
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        fault: ProcessingError | None = None
        try:
            async with asyncio.timeout(order.limits.wall_s):
                with report_pipe(read_fd) as pipe:
                    if not await _within(FORK_S, running.begun):
                        self.lose()
                    await reports.listen(pipe, idle_s=order.limits.idle_s)
                if not await _within(END_S, running.ended):
                    raise ChildTimedOut("The process reported its end, but did not end")
        except TimeoutError:
            fault = ChildTimedOut(f"The work took more than {order.limits.wall_s:g} s")
        except ProcessingError as error:
            fault = error
        finally:
            await self._end(order.attempt_id)
        if running.exited is None:
            lost = ChildCrashed("The process ended together with the one that had started it")
            return fault or lost, Exited(order.attempt_id, None, None, 0.0, 0)
        return fault, running.exited

    async def check(self, preset: str, options: dict[str, Any]) -> str | None:
        """What is wrong with a preset's options for this processor. Raises ProgramLost."""
        if self.lost.is_set():
            raise ProgramLost
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._checks[preset] = answer
        try:
            self._send(Check(preset, options))
            async with asyncio.timeout(FORK_S):
                return await answer
        except (OSError, TimeoutError) as error:
            self.lose()
            raise ProgramLost from error

    def _give(self, order: Order, reports_fd: int, stderr_fd: int) -> _Running:
        if self.lost.is_set():
            raise ProgramLost
        if order.attempt_id in self._running:
            raise ValueError(f"attempt {order.attempt_id} is running already")
        try:
            self._send(order, reports_fd, stderr_fd)
        except OSError as error:
            raise ProgramLost from error
        running = self._running[order.attempt_id] = _Running()
        return running

    async def _end(self, attempt_id: str) -> None:
        """Kill what still runs of an attempt and wait until it is reaped, cancelled or not."""
        running = self._running.get(attempt_id)
        if running is None:
            return
        with contextlib.suppress(OSError):
            self._send(Kill(attempt_id))
        cancelled: asyncio.CancelledError | None = None
        deadline = asyncio.get_running_loop().time() + END_S
        while not running.ended.done():
            try:
                if not await _within(deadline - asyncio.get_running_loop().time(), running.ended):
                    self.lose()
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled

    # --- the control socket ---------------------------------------------------------------

    def _send(self, message: ControlMessage, *descriptors: int) -> None:
        """Raises OSError; the program is lost then. A full socket is a stuck program too: it
        holds a hundred orders."""
        try:
            socket.send_fds(self._control, [_encoder.encode(message)], descriptors)
        except OSError:
            self.lose()
            raise

    def _receive(self) -> None:
        while not self.lost.is_set():
            try:
                packet = self._control.recv(MAX_CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.lose()
                return
            try:
                self._obey(_decoder.decode(packet))
            except (msgspec.DecodeError, KeyError, asyncio.InvalidStateError) as error:
                # It runs code of third parties: what makes no sense is the end of it.
                log.error("nursery_misspoke", pid=self.process.pid, error=str(error))
                self.lose()

    def _obey(self, event: NurseryEvent) -> None:
        match event:
            case Ready():
                self.said = event
                self.ready.set()
            case Checked(preset=preset, fault=fault):
                self._checks.pop(preset).set_result(fault)
            case Started(attempt_id=attempt_id, pid=pid):
                running = self._running[attempt_id]
                running.pid = pid
                running.begun.set_result(None)
            case Exited(attempt_id=attempt_id):
                running = self._running.pop(attempt_id)
                running.exited = event
                running.settle()

    # --- the end --------------------------------------------------------------------------

    def lose(self) -> None:
        """Kill the program and give up what runs in it. Its children get the kernel's signal
        for the death of their parent; their groups get ours, at once, while no other process
        can have been given their numbers."""
        if self.lost.is_set():
            return
        self._kill()
        for running in self._running.values():
            if running.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
            running.settle()
        self._running.clear()
        for check in self._checks.values():
            if not check.done():
                check.set_exception(ProgramLost())
        self._checks.clear()
        self._let_go()

    def _kill(self) -> None:
        # Not `process.kill()`: that polls, and so may reap behind the back of asyncio, which
        # then knows no exit code (Python 3.11: "Unknown child process", 255).
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    def _let_go(self) -> None:
        self.lost.set()
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self._on_lost()

    async def stop(self) -> None:
        """Kill what runs, then let the program end by itself, or kill it after `STOP_S`."""
        for attempt_id in list(self._running):
            await self._end(attempt_id)
        if not self.lost.is_set():
            self._let_go()
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            self._kill()
        await self.post_mortem()

    async def post_mortem(self) -> tuple[int, str]:
        """Exit code (negative: the signal) and the end of stderr of a program that is lost."""
        await asyncio.wait((self._listener,))  # unlike a bare await, not cancelled with us
        return await self.process.wait(), tail(bytes(self._stderr))

    async def _keep_stderr(self) -> None:
        stderr = self.process.stderr
        assert stderr is not None
        while chunk := await stderr.read(STDERR_TAIL_CHARACTERS):
            self._stderr = (self._stderr + chunk)[-STDERR_TAIL_CHARACTERS:]


async def _within(seconds: float, future: asyncio.Future[None]) -> bool:
    """Whether `future` is done before `seconds` have passed; it is not cancelled."""
    if not future.done():
        await asyncio.wait((future,), timeout=max(0.0, seconds))
    return future.done()
