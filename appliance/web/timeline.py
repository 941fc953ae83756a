"""A job's life as a line: how long it waited, was worked on and waited again, drawn to scale.

It is made of the history, which has a row for every move, so it needs no times of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from appliance.jobs import Attempt, HistoryEntry, JobStatus

SCALE = 1000
"""Units from the first byte to the end, or to now."""
THINNEST = 6
"""A moment within a long life is still to be seen."""

_FINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class Stretch(NamedTuple):
    """From one move to the next."""

    id: int
    """Of the move that began it."""
    status: JobStatus
    attempt: Attempt | None
    """Of one in which the job was worked on."""
    began_at: float
    took_s: float | None
    """None: the job rests in this state, and nothing is waited for."""
    goes_on: bool
    left: int
    width: int
    """Of the bar, in `SCALE`; 0 where there is none."""
    detail: str | None
    """Of the move, as the history has it."""


def stretches(
    history: Sequence[HistoryEntry], attempts: Sequence[Attempt], *, now: float
) -> list[Stretch]:
    """In the order in which they were. A clock that was set back makes none less than nothing."""
    if not history:
        return []
    began, last = history[0].at, history[-1]
    ended = last.at if last.status in _FINAL else now
    whole = max(ended - began, 0.001)
    by_number = {attempt.number: attempt for attempt in attempts}
    found = []
    for entry, following in zip(history, [*history[1:], None], strict=True):
        rests = following is None and entry.status in _FINAL
        until = now if following is None else following.at
        took = max(0.0, until - entry.at)
        width = 0 if rests else min(SCALE, max(THINNEST, round(SCALE * took / whole)))
        left = round(SCALE * (entry.at - began) / whole)
        working = entry.status is JobStatus.PROCESSING
        found.append(
            Stretch(
                id=entry.id,
                status=entry.status,
                attempt=by_number.get(entry.attempt) if working else None,
                began_at=entry.at,
                took_s=None if rests else took,
                goes_on=following is None and not rests,
                left=min(max(left, 0), SCALE - width),
                width=width,
                detail=entry.detail,
            )
        )
    return found
