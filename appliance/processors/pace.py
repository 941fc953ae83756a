"""Progress of long loops, told often enough for people and not more often."""

from __future__ import annotations

import time

from appliance.processors.protocol import Reporter

INTERVAL_S = 0.1
"""Ten times a second: a bar moves smoothly, and a loop of 20,000 steps stays unburdened."""


class Pace:
    """Reports the progress of one stretch of the work, between two fractions of the whole."""

    def __init__(self, report: Reporter, start: float, end: float) -> None:
        self._report = report
        self._start, self._end = start, end
        self._next_s = 0.0

    def tell(self, done: float, step: str) -> None:
        """`done` is of this stretch, 0 to 1. Dropped when the last one was just now."""
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + INTERVAL_S
        done = min(max(done, 0.0), 1.0)
        self._report.progress(self._start + done * (self._end - self._start), step)
