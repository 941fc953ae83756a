"""Whether and when a failed attempt is followed by another. It decides; the worker acts."""

from __future__ import annotations

import random

BASE_S = 2.0
JITTER = 0.1
"""Part of the wait that is left to chance, so that jobs that failed together spread out."""


def delay_s(
    *, retry_count: int, max_retries: int, permanent: bool, chance: random.Random
) -> float | None:
    """Seconds until the next attempt, or None to give up.

    `retry_count` is how many retries there were before: the waits are 2, 4, 8 s (2 to the power
    of the attempt). A permanent fault is given up at once.
    """
    if permanent or retry_count >= max_retries:
        return None
    return float(BASE_S ** (retry_count + 1)) * (1 + JITTER * chance.random())
