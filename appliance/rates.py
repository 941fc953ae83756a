"""How often something may be done: so many times in a while, all at once if one likes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` times at once; after them one more every `period_s / count`.

    That is the generic cell rate algorithm (ITU-T I.371), or a bucket of `count` tokens that is
    full again after `period_s`.
    """

    count: int
    period_s: float

    @property
    def interval_s(self) -> float:
        return self.period_s / self.count


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking to do it."""

    allowed: bool
    remaining: int
    """So many more at once."""
    full_after_s: float
    """When `count` at once are possible again, if nothing more is taken."""
    retry_after_s: float = 0.0
    """When this would be allowed; 0 where it is."""
