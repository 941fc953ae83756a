"""How long it takes until everything goes on, after each kill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from appliance.selftest.verifier import AttemptTold

ROUNDING_S = 0.002
"""Times are told in whole milliseconds."""


@dataclass(frozen=True)
class Strike:
    """A process was killed."""

    victim: str
    """`server`, `nursery` or `child`."""
    at: float
    """Seconds since the epoch, by the clock that the server reads too."""
    ready_s: float | None = None
    """From the kill until it, or its successor, is ready; a child has none."""
    start_s: float | None = None
    """The part of that from exec on; the server's only."""


def resumed(
    strikes: Sequence[Strike], histories: Iterable[Sequence[AttemptTold]]
) -> list[tuple[Strike, float]]:
    """For each kill that interrupted jobs: seconds until the last of these was worked on again.

    An attempt that did not complete is laid to the last kill within it.
    """
    longest: dict[int, float] = {}
    for attempts in histories:
        for broken, following in pairwise(attempts):
            number = _blamed(strikes, broken)
            if number is not None:
                gap_s = max(0.0, following.started_at - strikes[number].at)
                longest[number] = max(longest.get(number, 0.0), gap_s)
    return [(strikes[number], gap_s) for number, gap_s in sorted(longest.items())]


def _blamed(strikes: Sequence[Strike], attempt: AttemptTold) -> int | None:
    if attempt.outcome == "completed" or attempt.ended_at is None:
        return None
    within = [
        number
        for number, strike in enumerate(strikes)
        if attempt.started_at - ROUNDING_S <= strike.at <= attempt.ended_at + ROUNDING_S
    ]
    return within[-1] if within else None


@dataclass(frozen=True)
class Spread:
    """Percentiles by the nearest rank, in seconds."""

    count: int
    p50_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """None: there are no values."""
        ranked = sorted(values)
        if not ranked:
            return None
        return cls(len(ranked), _rank(ranked, 0.50), _rank(ranked, 0.99), ranked[-1])


def _rank(ranked: Sequence[float], share: float) -> float:
    return ranked[max(0, ceil(share * len(ranked)) - 1)]
