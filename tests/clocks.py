"""A clock that a test moves."""

from __future__ import annotations


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
