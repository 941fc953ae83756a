"""Clocks that a test moves."""

from __future__ import annotations

import time


class MovedClock:
    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.mono = 50.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def moved_to(self, now: float) -> None:
        self.wall = now

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


class WrongClock:
    """Of a machine whose clock is ahead of the true time by so much."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s

    def now(self) -> float:
        return time.time() + self.ahead_s

    def monotonic(self) -> float:
        return time.monotonic()
