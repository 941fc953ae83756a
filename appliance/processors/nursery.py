"""The nursery: a small process with its codecs loaded that forks a child for each attempt.

    python -m appliance.processors.nursery IMAGE appliance.processors.image:PROCESSOR 5 \
        prefer /data/scratch

The first argument is a label, for those who look at the list of processes; the second the
`module:attribute` that holds a Processor, the third the number of the inherited control socket
(SOCK_SEQPACKET, messages of `protocol`), the fourth how much the walls around children matter
(APPLIANCE_SANDBOX), the fifth a folder in which they may be tried; that is done at every start,
before the first order is taken. It is started
by exec, so nothing of the server's own process is in it, and it stays single-threaded, so its
forks are safe. It believes what the control socket says and never reads what a child writes:
limits of time, the reports and the verdict are the business of `appliance.workers.nursery`.

It is the subreaper of all that its children fork: a process below it that it did not fork
itself is what an ended child left behind, and is killed. That finds even those that moved to a
session of their own, as long as the nursery lives and the kernel tells a process its children
(CONFIG_PROC_CHILDREN, in every distribution's kernel).
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from appliance.processors import child, options
from appliance.processors.protocol import (
    MAX_CONTROL_BYTES,
    Check,
    Checked,
    ControlMessage,
    Description,
    Exited,
    Kill,
    NurseryEvent,
    Order,
    Processor,
    Ready,
    Started,
)
from appliance.processors.sandbox.trial import find_out
from appliance.processors.sandbox.walls import Walls, prepare

NICENESS = 10
"""Added to the server's own: media work yields the processor to the HTTP process."""

OOM_SCORE = 500
"""Where memory runs out, the kernel is to take a media child and not the server."""

THREADS_END_S = 2.0
"""How long threads that were joined may still be listed: the kernel takes them off the list a
little after it has told so, on a busy machine some milliseconds."""

ENDING_S = 5
"""At the end, how long children that do not go may hold the nursery up."""

_decoder = msgspec.json.Decoder(ControlMessage)
_encoder = msgspec.json.Encoder()


class Nursery:
    def __init__(
        self,
        control: socket.socket,
        processor: Processor[Any],
        walls: Walls,
        layers: dict[str, str],
    ) -> None:
        """`layers` as `trial.find_out` found them."""
        self._control = control
        self._processor = processor
        self._walls = walls
        self._layers = layers
        self._running: dict[int, str] = {}
        """Attempt ids by the process id of the child, from fork to reaping."""
        self._ended: list[Exited] = []
        """Reaped, but not told yet: something that they forked is still there."""

    def serve(self) -> None:
        """Take orders until the other side of the control socket is gone."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._send(Ready(os.getpid(), described(self._processor), self._layers))
            while True:
                ready = {fd for fd, _event in poll.poll()}
                if woken.fileno() in ready:
                    woken.recv(4096)
                    self._reap()
                if self._control.fileno() in ready and not self._receive():
                    return

    def end(self) -> None:
        """Kill and reap every child. Takes at most `ENDING_S`: then SIGALRM ends this process,
        and its end is the death signal of the children that it forked."""
        signal.alarm(ENDING_S)
        for pid in self._running:
            _kill_group(pid)
        with contextlib.suppress(ChildProcessError, BrokenPipeError, ConnectionResetError):
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT):
                self._reap()

    def _receive(self) -> bool:
        """Obey one control message; False at the end of the socket."""
        packet, descriptors, _flags, _address = socket.recv_fds(
            self._control, MAX_CONTROL_BYTES, 2, socket.MSG_CMSG_CLOEXEC
        )
        if not packet:
            return False
        match _decoder.decode(packet):
            case Order() as order:
                reports_fd, stderr_fd = descriptors
                self._start(order, reports_fd, stderr_fd)
            case Check(preset=preset, options=asked):
                fault = options.fault_of(asked, self._processor.options)
                self._send(Checked(preset, fault))
            case Kill(attempt_id=attempt_id):
                for pid, running_id in self._running.items():
                    if running_id == attempt_id:
                        _kill_group(pid)
        return True

    def _start(self, order: Order, reports_fd: int, stderr_fd: int) -> None:
        nursery_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no process or no memory left for one
            os.write(stderr_fd, f"fork: {error}\n".encode())
            pid = -1
        if pid == 0:
            child.live(
                order,
                self._processor,
                self._walls,
                reports_fd=reports_fd,
                stderr_fd=stderr_fd,
                nursery_pid=nursery_pid,
            )
        os.close(reports_fd)
        os.close(stderr_fd)
        if pid < 0:
            self._send(Exited(order.attempt_id, None, None, 0.0, 0))
        else:
            self._running[pid] = order.attempt_id
            self._send(Started(order.attempt_id, pid))

    def _reap(self) -> None:
        """Reap the dead, kill what they left behind, and tell of those that left nothing."""
        while dead := _next_dead():
            attempt_id = self._running.get(dead)
            if attempt_id is not None:
                # Before it is reaped: until then nobody else can be given its number.
                _kill_group(dead)
            _, status, usage = os.wait4(dead, 0)
            if attempt_id is None:
                continue  # an orphan of a child, adopted by us
            del self._running[dead]
            code = os.waitstatus_to_exitcode(status)
            self._ended.append(
                Exited(
                    attempt_id,
                    exit_code=code if code >= 0 else None,
                    signal=-code if code < 0 else None,
                    cpu_s=usage.ru_utime + usage.ru_stime,
                    peak_memory_bytes=usage.ru_maxrss * 1024,
                )
            )
        orphans = _children() - self._running.keys()
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)  # its SIGCHLD brings us here again
        while self._ended and not orphans:
            self._send(self._ended.pop(0))

    def _send(self, event: NurseryEvent) -> None:
        self._control.send(_encoder.encode(event))


def _next_dead() -> int | None:
    """The process id of a child that has ended and is not reaped yet."""
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return dead.si_pid if dead else None


def _children() -> set[int]:
    with contextlib.suppress(FileNotFoundError):
        return {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}
    return set()


def _kill_group(pid: int) -> None:
    """Kill a child that is not reaped yet, and its group. Alone too: it may not have come to
    making the group."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def described(processor: Processor[Any]) -> Description:
    """Raises msgspec.ValidationError, which says what is wrong with it."""
    said = {name: getattr(processor, name) for name in Description.__struct_fields__}
    return msgspec.convert(said, Description)


def load(value: str) -> Processor[Any]:
    """Import the processor at `module:attribute`; without an attribute, `PROCESSOR` of it."""
    module, _, attribute = value.partition(":")
    processor: Processor[Any] = getattr(importlib.import_module(module), attribute or "PROCESSOR")
    return processor


def warm(processor: Processor[Any]) -> None:
    """Raises RuntimeError when threads are left: a fork would copy their locks, held for ever."""
    processor.warm()
    deadline_s = time.monotonic() + THREADS_END_S
    while (left := len(os.listdir("/proc/self/task")) - 1) and time.monotonic() < deadline_s:  # noqa: PTH208
        time.sleep(0.005)
    if left:
        raise RuntimeError(f"warm() left {left} more threads; a fork needs a single one")
    gc.collect()
    gc.freeze()  # no collection in a child touches, and so copies, the pages it shares with us


def main(_label: str, value: str, control_fd: str, sandbox: str, scratch_dir: str) -> None:
    control = socket.socket(fileno=int(control_fd))
    control.set_inheritable(False)
    child.die_with_parent()
    child.adopt_orphans()
    # A service manager may signal the whole control group; the server then finishes or hands
    # back what runs, and for that its children have to live. Ours end with the socket.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    faulthandler.enable()  # to descriptor 2, which in a child is the attempt's own file
    processor = load(value)
    described(processor)  # what is wrong with it is told before it is warmed
    walls = prepare(sandbox, processor)
    warm(processor)
    walls, layers = find_out(walls, Path(scratch_dir))
    nursery = Nursery(control, processor, walls, layers)
    nursery.serve()
    nursery.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
