"""What a child says about its attempt, read from its pipe and believed as little as possible.

Lines are bounded in length, in number per second and in kind; whoever breaks the protocol
has been taken over or is broken, and gets no further than the line that shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from appliance.errors import ChildCrashed, ChildTimedOut, OutputRefused
from appliance.processors.protocol import (
    MAX_REPORT_BYTES,
    Done,
    Failed,
    Output,
    Progress,
    Report,
)
from appliance.workers.outcome import MAX_STEP_CHARACTERS, printable

MAX_OUTPUTS = 1000
"""Reported by one attempt; `outputs.Bounds` may allow fewer."""

REPORTS_BURST = 2000
REPORTS_PER_S = 100.0
"""A child's own reporter throttles progress to 10 per second; steps and outputs come on top."""

CHUNK_BYTES = 64 * 1024

OnReport = Callable[[Progress | Output], None]

_decoder = msgspec.json.Decoder(Report)


class Reports:
    """The reports of one attempt so far."""

    def __init__(self, on_report: OnReport) -> None:
        self._on_report = on_report
        self._count = 0
        self.step = "start"
        self.outputs: list[Output] = []
        self.conclusion: Done | Failed | None = None

    async def listen(self, pipe: ReportPipe, *, idle_s: float) -> None:
        """Read to the end of the pipe.

        Raises ChildTimedOut when nothing comes for `idle_s`, ChildCrashed or OutputRefused
        when the protocol is broken. The child lives on then: the caller kills it.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        begun_line = b""
        while chunk := await self._next_chunk(pipe, idle_s):
            *lines, begun_line = (begun_line + chunk).split(b"\n")
            if len(begun_line) > MAX_REPORT_BYTES:
                raise ChildCrashed("The process sent a report that is too long")
            self._count += len(lines)
            if self._count > REPORTS_BURST + (loop.time() - began) * REPORTS_PER_S:
                raise ChildCrashed("The process flooded the server with reports")
            for line in lines:
                self._hear(line)

    async def _next_chunk(self, pipe: ReportPipe, idle_s: float) -> bytes:
        try:
            async with asyncio.timeout(idle_s):
                return await pipe.read(CHUNK_BYTES)
        except TimeoutError:
            raise ChildTimedOut(f"No progress for {idle_s:g} s, in step {self.step!r}") from None

    def _hear(self, line: bytes) -> None:
        if self.conclusion is not None:
            raise ChildCrashed("The process went on after its last report")
        try:
            report: Report = _decoder.decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ChildCrashed("The process sent a report that is not understood") from error
        match report:
            case Done() | Failed():
                self.conclusion = report
            case Output():
                self.outputs.append(report)
                if len(self.outputs) > MAX_OUTPUTS:
                    raise OutputRefused(f"The work left more than {MAX_OUTPUTS} files")
                self._on_report(report)
            case Progress(fraction=fraction, step=step):
                self.step = printable(step, MAX_STEP_CHARACTERS)
                self._on_report(Progress(min(1.0, max(0.0, fraction)), self.step))


class ReportPipe:
    """The reading end of a child's pipe.

    Read by hand, for uvloop's pipe transports close their descriptor twice (0.22.1,
    `UVSocketHandle._close`): by the second time its number may be another thread's upload or
    database. What is not read stays in the pipe, so a flood holds up the child, not us.
    """

    def __init__(self, read_fd: int) -> None:
        os.set_blocking(read_fd, False)
        self._fd = read_fd

    async def read(self, limit_bytes: int) -> bytes:
        """What is there, as soon as something is; nothing at the end."""
        loop = asyncio.get_running_loop()
        while True:
            readable = asyncio.Event()
            loop.add_reader(self._fd, readable.set)
            try:
                await readable.wait()  # also when it is so already: others get their turn
            finally:
                loop.remove_reader(self._fd)
            with contextlib.suppress(BlockingIOError):
                return os.read(self._fd, limit_bytes)


@contextlib.contextmanager
def report_pipe(read_fd: int) -> Iterator[ReportPipe]:
    """Read `read_fd` in the event loop; it is closed at the end, also when this fails."""
    try:
        yield ReportPipe(read_fd)
    finally:
        os.close(read_fd)
