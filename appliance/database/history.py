"""What happened in the last hour, day and week, for the charts: minutes, put together into slots.

Counts and durations are noted by triggers as they happen, lengths of queues by the sampler.
A slot in which nothing was noted is None: the appliance did not run. Zero is something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.jobs import JobType

BUCKET_RATIO = 1.2
"""Between the bounds of two buckets of durations (the table `duration_bounds`)."""


class Span(NamedTuple):
    """How far back one looks, and how finely."""

    slots: int
    step_minutes: int

    def begin(self, now: float) -> int:
        """The first minute, since the epoch. Slots begin at multiples of the step, so that what
        is shown of the past stays as it is while time goes on."""
        return (int(now // 60) // self.step_minutes - self.slots + 1) * self.step_minutes


HOUR = Span(60, 1)
TWO_HOURS = Span(120, 1)
DAY = Span(288, 5)
WEEK = Span(336, 30)


class Slot(msgspec.Struct, frozen=True):
    """What was noted from `at` on, for `minutes`."""

    at: float
    minutes: int
    """Fewer than the step in the slot that is not over yet; the present minute counts."""
    received: int
    received_bytes: int
    completed: int
    failed: int
    busy_s: float
    """Time that the attempts of the completed jobs took, added up."""
    queued: float | None
    """PENDING jobs, the mean of the samples; None where none was taken."""
    active: float | None
    """PROCESSING jobs, likewise."""
    oldest_s: float | None
    """For how long the oldest PENDING job had waited, at most."""
    durations: dict[float, int] = {}
    """Completed jobs by the upper bound, in seconds, of the bucket of their attempt."""

    @property
    def average_s(self) -> float | None:
        return self.busy_s / self.completed if self.completed else None

    @property
    def p95_s(self) -> float | None:
        return percentile(self.durations, 0.95)

    @property
    def success(self) -> float | None:
        """The part of the jobs that ended well, 0 to 1; None when none ended."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None

    @property
    def failure(self) -> float | None:
        return None if self.success is None else 1 - self.success


History = list[Slot | None]
"""Oldest first, as many as the span has."""


def read(span: Span, *, now: float, job_type: JobType | None = None) -> Transaction[History]:
    first = span.begin(now)
    end = first + span.slots * span.step_minutes
    asked = {"first": first, "end": end, "step": span.step_minutes, "type": job_type}
    rows = yield Statement("history", asked)
    buckets = yield Statement("history_of_durations", asked)
    durations: dict[int, dict[float, int]] = {}
    for row in buckets:
        durations.setdefault(row["slot"], {})[row["upto_s"]] = row["jobs"]
    found: History = [None] * span.slots
    for row in rows:
        begun = first + row["slot"] * span.step_minutes
        columns = {name: row[name] for name in Slot.__struct_fields__[2:-1]}
        found[row["slot"]] = Slot(
            at=begun * 60.0,
            minutes=max(1, min(span.step_minutes, int(now // 60) - begun + 1)),
            durations=durations.get(row["slot"], {}),
            **columns,
        )
    return found


def together(slots: Iterable[Slot | None]) -> Slot | None:
    """Neighbours as one; None when nothing was noted in any."""
    known = [slot for slot in slots if slot is not None]
    if not known:
        return None
    durations: dict[float, int] = {}
    for slot in known:
        for upto_s, jobs in slot.durations.items():
            durations[upto_s] = durations.get(upto_s, 0) + jobs
    return Slot(
        at=known[0].at,
        minutes=sum(slot.minutes for slot in known),
        received=sum(slot.received for slot in known),
        received_bytes=sum(slot.received_bytes for slot in known),
        completed=sum(slot.completed for slot in known),
        failed=sum(slot.failed for slot in known),
        busy_s=sum(slot.busy_s for slot in known),
        queued=_mean([slot.queued for slot in known]),
        active=_mean([slot.active for slot in known]),
        oldest_s=max((s.oldest_s for s in known if s.oldest_s is not None), default=None),
        durations=durations,
    )


def percentile(durations: dict[float, int], part: float) -> float | None:
    """A duration that `part` of the jobs do not exceed, to within 10 %: the geometric middle of
    the bucket that it falls into."""
    wanted = part * sum(durations.values())
    reached = 0
    for upto_s in sorted(durations):
        reached += durations[upto_s]
        if reached >= wanted:
            return float(upto_s / BUCKET_RATIO**0.5)
    return None


def sample(*, now: float) -> Transaction[None]:
    """Note for the present minute how many jobs wait, for how long, and how many are worked on."""
    yield Statement("sample_minute", {"minute": int(now // 60), "now": now})


def forget(*, before: float) -> Transaction[None]:
    minute = {"before": int(before // 60)}
    yield Statement("delete_old_minutes", minute)
    yield Statement("delete_old_durations", minute)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
