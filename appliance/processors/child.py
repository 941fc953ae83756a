"""A child: one attempt at one file, in a process that does nothing else and ends afterwards.

`live` is called in the nursery's fork and never returns. It holds four descriptors: 0 and 1 are
/dev/null, 2 is the attempt's file for stderr, 3 the pipe for reports; whatever else the nursery
had open is closed. Then it closes itself in (`sandbox.walls`) and only then opens the file. A
resource limit that is hit becomes a report where the process is still able to make one, else the
signal it died of tells the other side.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from appliance.errors import LimitExceeded, OutOfMemory, ProcessingError, SandboxFailed
from appliance.processors.protocol import (
    MAX_REPORT_BYTES,
    Done,
    Failed,
    Order,
    Output,
    Processor,
    Progress,
    Report,
    Task,
)
from appliance.processors.sandbox import kernel
from appliance.processors.sandbox.walls import LayerFailed, Walls

REPORTS_FD = 3
PROGRESS_INTERVAL_S = 0.1
"""Progress within one step is told this often; a new step at once."""
MAX_MESSAGE_CHARACTERS = 1000


def live(
    order: Order,
    processor: Processor[Any],
    walls: Walls,
    *,
    reports_fd: int,
    stderr_fd: int,
    nursery_pid: int,
) -> NoReturn:
    try:
        _leave_the_nursery(reports_fd, stderr_fd, nursery_pid)
        tempfile.tempdir = order.output_dir
        os.umask(0o077)
        conclusion = _work(order, processor, walls, PipeReporter(REPORTS_FD))
        exit_code = 0 if isinstance(conclusion, Done) else 1
    except BaseException:  # noqa: BLE001  the top of a process: nothing may run on in the fork
        _print_traceback()
        exit_code = 70  # EX_SOFTWARE
    os._exit(exit_code)


def die_with_parent() -> None:
    """Be killed when the parent (precisely: the thread that forked us) ends."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)


def _leave_the_nursery(reports_fd: int, stderr_fd: int, nursery_pid: int) -> None:
    os.setsid()
    die_with_parent()
    if os.getppid() != nursery_pid:  # it died before it could be said
        os._exit(70)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null_fd = os.open(os.devnull, os.O_RDWR)
    os.dup2(null_fd, 0)
    os.dup2(null_fd, 1)
    os.dup2(stderr_fd, 2)
    os.dup2(reports_fd, REPORTS_FD, inheritable=False)
    # Not closerange, which may try a million one by one; no Path in a fresh fork, where its many
    # objects are pages to copy: 1 ms for this listing.
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > REPORTS_FD:
            with contextlib.suppress(OSError):  # the listing's own is gone
                os.close(int(name))


def _work(
    order: Order, processor: Processor[Any], walls: Walls, reporter: PipeReporter
) -> Done | Failed:
    conclusion: Done | Failed
    try:
        _close_in(walls, order)
        # From here on nothing that the nursery or this module does needs more than the order names.
        task = Task(
            input_path=Path(order.input_path),
            output_dir=Path(order.output_dir),
            content_type=order.content_type,
            options=msgspec.convert(order.options, processor.options),
        )
        conclusion = Done(facts=processor.process(task, reporter))
        reporter.send(conclusion)
        return conclusion
    except MemoryError as error:
        # No traceback: with it the frames would live on, and all that they hold.
        conclusion = _failed(error, reporter.step)
    except BaseException as error:  # noqa: BLE001  whatever it was, it is reported
        conclusion = _failed(error, reporter.step)
        if not isinstance(error, ProcessingError):
            _print_traceback()
    reporter.send(conclusion)  # outside of the handler: what the frames held is free again
    return conclusion


def _close_in(walls: Walls, order: Order) -> None:
    try:
        walls.close_in(order.limits, input_path=order.input_path, output_dir=order.output_dir)
    except LayerFailed as error:
        sys.stderr.write(f"{error}\n")  # which, and why, is for the record only
        sys.stderr.flush()
        raise SandboxFailed from error


def _print_traceback() -> None:
    with contextlib.suppress(OSError):  # the file for stderr may be at its limit
        traceback.print_exc()


def _failed(error: BaseException, step: str) -> Failed:
    told: ProcessingError
    if isinstance(error, ProcessingError):
        told = error
    elif isinstance(error, MemoryError) or _errno(error) == errno.ENOMEM:
        told = OutOfMemory()
    elif _errno(error) == errno.EFBIG:
        told = LimitExceeded("A result of the work on this file would be larger than allowed")
    else:
        told = ProcessingError()
    return Failed(
        code=told.code,
        message=told.detail[:MAX_MESSAGE_CHARACTERS],
        step=step,
        permanent=told.permanent,
        error_class=type(error).__qualname__,
        retry_after_s=told.retry_after_s,
    )


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


class PipeReporter:
    """The Reporter of a child: JSON lines on a pipe. Safe to call from several threads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._encoder = msgspec.json.Encoder()
        self._lock = threading.Lock()
        self._told_at = -PROGRESS_INTERVAL_S
        self.step = "start"

    def progress(self, fraction: float, step: str) -> None:
        now = time.monotonic()
        if step == self.step and now - self._told_at < PROGRESS_INTERVAL_S:
            return
        self.step, self._told_at = step, now
        self.send(Progress(min(1.0, max(0.0, float(fraction))), step))

    def output(
        self,
        name: str,
        content_type: str,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
    ) -> None:
        self.send(Output(name, content_type, width_px, height_px))

    def send(self, report: Report) -> None:
        """Write one line. Raises ValueError for one that the other side would refuse."""
        line = self._encoder.encode(report) + b"\n"
        if len(line) > MAX_REPORT_BYTES:
            raise ValueError(f"a report of {len(line)} bytes; at most {MAX_REPORT_BYTES} are read")
        rest = memoryview(line)
        with self._lock:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
