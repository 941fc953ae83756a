"""Giving up work that a library does not come back from.

A call into a C library cannot be interrupted, but it lets go of the interpreter: so the work is
done on a thread of its own, and the caller stops waiting when it uses processor time without a
sign of life. The thread is not ended; it lives until its process does, which a child's does at
once. Processor time, not the clock on the wall: a busy machine makes nobody guilty.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.25


class Stalled(Exception):
    """The work used up its processor time without a sign of life."""


class Pulse:
    """The sign of life: the work calls `beat` whenever it has got a step further."""

    def __init__(self) -> None:
        self.beat()

    def beat(self) -> None:
        self._beaten_at_s = time.process_time()

    @property
    def silent_s(self) -> float:
        """Processor time of the whole process since the last beat."""
        return time.process_time() - self._beaten_at_s


def unless_stalled(work: Callable[[Pulse], T], *, limit_s: float) -> T:
    """What `work` returns or raises, or Stalled when it is silent for `limit_s` of processor time.

    After Stalled the thread may still be in the middle of a library: do not call that again.
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

    threading.Thread(target=run, daemon=True, name="work").start()
    while not over.wait(LOOK_EVERY_S):
        if pulse.silent_s > limit_s:
            raise Stalled
    if raised:
        raise raised.pop()
    return returned.pop()
