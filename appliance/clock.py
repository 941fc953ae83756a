"""The two clocks. Records carry wall-clock time (seconds since the epoch, UTC); deadlines and
lost leases are judged by the monotonic one, so a clock that jumps changes no decision.

Whatever needs the time is handed a Clock; tests hand in one that they move.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from typing import Protocol

CLOCK_SKEW_S = 5.0
"""How far the clocks of two servers may differ before one is taken to have been set back."""


class Clock(Protocol):
    def now(self) -> float:
        """Wall-clock time, seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever go forward; no meaning across processes."""
        ...


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def since(then: float, now: float) -> float:
    """Seconds; infinitely many where `then` lies in the future: the clock was set back meanwhile,
    and no time that it told means anything."""
    return now - then if then <= now + CLOCK_SKEW_S else math.inf


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day(seconds: float) -> str:
    """The day in UTC, for people: `25 Nov 2026`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %b %Y")


def rfc3339(seconds: float) -> str:
    """`seconds` since the epoch as RFC 3339 in UTC with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


LATEST = 253_402_300_800.0
"""The year 10000: no date lies there."""


def seconds_of(text: str) -> float:
    """Seconds since the epoch for a time as RFC 3339 writes it. Raises ValueError."""
    if not re.fullmatch(
        r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text, re.A
    ):
        raise ValueError(text)
    seconds = (datetime.fromisoformat(text.upper()) - EPOCH).total_seconds()
    if not 0 <= seconds < LATEST:
        raise ValueError(text)
    return seconds
