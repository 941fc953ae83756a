from __future__ import annotations

import random

from appliance.retry import delay_s


def wait(retry_count: int, *, permanent: bool = False) -> float | None:
    return delay_s(
        retry_count=retry_count, max_retries=3, permanent=permanent, chance=random.Random(1)
    )


def test_waits_double_from_two_seconds() -> None:
    for retry_count, seconds in enumerate((2, 4, 8)):
        waited = wait(retry_count)
        assert waited is not None
        assert seconds <= waited <= seconds * 1.1


def test_the_fourth_failure_is_the_last() -> None:
    assert wait(3) is None


def test_a_permanent_fault_is_not_retried() -> None:
    assert wait(0, permanent=True) is None


def test_jobs_that_failed_together_spread_out() -> None:
    chance = random.Random(7)
    waits = {
        delay_s(retry_count=2, max_retries=3, permanent=False, chance=chance) for _ in range(50)
    }
    assert len(waits) == 50
