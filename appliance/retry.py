"""Whether and when a failed attempt is followed by another. It decides; the worker acts."""

from __future__ import annotations

import random

BASE_S = 2.0
JITTER = 0.1
"""Part of the wait that is left to chance, so that jobs that failed together spread out."""


LONGEST_HINT_S = 3600.0
"""A longer wait than this is not believed of anybody."""


def delay_s(
    *,
    retry_count: int,
    max_retries: int,
    permanent: bool,
    chance: random.Random,
    hint_s: float | None = None,
) -> float | None:
    """Seconds until the next attempt, or None to give up.

    `retry_count` is how many retries there were before: the waits are 2, 4, 8 s (2 to the power
    of the attempt). A permanent fault is given up at once. `hint_s` is how long whoever failed
    asks to wait (like `Retry-After`, RFC 9110, 10.2.3): the wait is not shorter than that.
    """
    if permanent or retry_count >= max_retries:
        return None
    wait_s = float(BASE_S ** (retry_count + 1))
    if hint_s is not None:
        wait_s = max(wait_s, min(hint_s, LONGEST_HINT_S))
    return wait_s * (1 + JITTER * chance.random())
