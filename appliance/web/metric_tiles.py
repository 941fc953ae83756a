"""The six metrics of the dashboard: each with its last hour, and how that differs from the hour
before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from appliance.database.figures import QueueFigures
from appliance.database.history import History, Slot, together
from appliance.database.workers import PoolState
from appliance.jobs import JobStatus
from appliance.web import words

HOUR_SLOTS = 60

Figure = Callable[[Slot], float | None]


def metric_tiles(
    history: History, queue: QueueFigures, pools: Sequence[PoolState], *, now: float
) -> list[dict[str, Any]]:
    """`history` is of the last two hours, by minutes."""
    hour, before = together(history[-HOUR_SLOTS:]), together(history[:-HOUR_SLOTS])

    def metric(
        name: str,
        figure: Figure,
        *,
        unit: str | None = None,
        value: str | None = None,
        note: str = "",
    ) -> dict[str, Any]:
        """`value` is the figure of now where there is one; else that of the hour is shown."""
        latest = None if hour is None else figure(hour)
        earlier = None if before is None else figure(before)
        return {
            "name": name,
            "value": value or ("–" if latest is None else words.figure(latest)),
            "unit": unit,
            "note": note,
            "points": [None if one is None else figure(one) for one in history[-HOUR_SLOTS:]],
            "change": change(latest, earlier, unit),
        }

    p95_s = None if hour is None else hour.p95_s
    oldest_at = min(queue.oldest_at.values(), default=None)
    waits = "" if oldest_at is None else words.duration(max(0.0, now - oldest_at))
    return [
        metric("Uploads/min", lambda slot: slot.received / slot.minutes),
        metric(
            "Avg processing",
            lambda slot: slot.average_s,
            unit="s",
            note="" if p95_s is None else f"p95 {words.duration(p95_s)}",
        ),
        metric(
            "Queue length",
            lambda slot: slot.queued,
            value=f"{queue.total(JobStatus.PENDING):,}",
            note=waits and f"oldest {waits}",
        ),
        metric("Success rate", _success, unit="%", value=_rate(hour, _success)),
        metric(
            "Active workers",
            lambda slot: slot.active,
            value=str(queue.total(JobStatus.PROCESSING)),
            note=f"of {sum(pool.largest for pool in pools)}",
        ),
        metric("Failure rate", _failure, unit="%", value=_rate(hour, _failure)),
    ]


def change(latest: float | None, earlier: float | None, unit: str | None) -> str:
    """How the last hour differs from the one before it, in words."""
    if earlier is None:
        return "no figure for the hour before"
    if latest is None:
        return "no figure for this hour"
    size = words.figure(abs(latest - earlier))
    if abs(latest - earlier) < 0.005:
        return "as in the hour before"
    sign = "+" if latest > earlier else "\N{MINUS SIGN}"
    shown = {None: "", "%": " points"}.get(unit, f" {unit}")
    return f"{sign}{size}{shown} on the hour before"


def _success(slot: Slot) -> float | None:
    return None if slot.success is None else 100 * slot.success


def _failure(slot: Slot) -> float | None:
    return None if slot.failure is None else 100 * slot.failure


def _rate(hour: Slot | None, figure: Figure) -> str | None:
    """With a decimal: 99.9 % is not all."""
    percent = None if hour is None else figure(hour)
    return None if percent is None else f"{percent:.1f}"
