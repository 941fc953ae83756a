"""Giving up work that a library does not come back from, or dies of.

A call into a C library cannot be interrupted, and one that runs out of memory may abort the
process; but it lets go of the interpreter. So the work is done on a thread of its own, and the
caller stops waiting when it uses processor time without a sign of life, or too much memory. The
thread is not ended; it lives until its process does, which a child's does at once.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.1


class Stalled(Exception):
    """The work used up its processor time without a sign of life."""


class Bloated(Exception):
    """The work took more memory than it may: `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.limit_bytes = limit_bytes


class Pulse:
    """The sign of life: the work calls `beat` whenever it has got a step further."""

    def __init__(self) -> None:
        self.beat()

    def beat(self) -> None:
        self._beaten_at_s = time.process_time()

    @property
    def silent_s(self) -> float:
        """Processor time of the whole process since the last beat, not the time on the wall: a
        busy machine makes nobody guilty."""
        return time.process_time() - self._beaten_at_s


def watched(
    work: Callable[[Pulse], T], *, silent_cpu_s: float, memory_bytes: int | None = None
) -> T:
    """What `work` returns or raises.

    Raises Stalled when it is silent for `silent_cpu_s` of processor time, Bloated when the
    process has grown by more than `memory_bytes`, or by half of what it may map. After either the
    thread may still be in the middle of a library: do not call that again.
    """
    pulse, over = Pulse(), threading.Event()
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(work(pulse))
        except BaseException as error:  # noqa: BLE001  carried over to the caller's thread
            raised.append(error)
        finally:
            over.set()

    before_bytes = _peak_bytes()
    most_bytes = None if memory_bytes is None else min(memory_bytes, _mappable_bytes() // 2)
    threading.Thread(target=run, daemon=True, name="work").start()
    while not over.wait(LOOK_EVERY_S):
        if pulse.silent_s > silent_cpu_s:
            raise Stalled
        if most_bytes is not None and _peak_bytes() - before_bytes > most_bytes:
            raise Bloated(most_bytes)
    if raised:
        raise raised.pop()
    return returned.pop()


def _peak_bytes() -> int:
    """Resident, the most so far: a walled child may ask for it, but not read /proc."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _mappable_bytes() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
