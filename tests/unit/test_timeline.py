"""A job's life, drawn to scale."""

from __future__ import annotations

import pytest

from appliance.jobs import Attempt, HistoryEntry, JobStatus
from appliance.web.timeline import SCALE, THINNEST, Stretch, stretches


def life(*moves: tuple[float, str, int], now: float = 100.0) -> list[Stretch]:
    history = [
        HistoryEntry(n, "J", at, JobStatus(status), attempt, None)
        for n, (at, status, attempt) in enumerate(moves)
    ]
    numbers = {attempt for _, status, attempt in moves if status == "PROCESSING"}
    return stretches(history, [attempt_of(number) for number in numbers], now=now)


def attempt_of(number: int) -> Attempt:
    return Attempt(number, "w", 0.0, None, None, None, None, None, None, None)


def test_waits_and_work_are_as_long_as_they_were() -> None:
    found = life(
        (0, "PENDING", 0), (10, "PROCESSING", 1), (40, "RETRYING", 1), (60, "PENDING", 1),
        (60, "PROCESSING", 2), (100, "COMPLETED", 2), now=5000.0,
    )  # fmt: skip
    assert [(one.left, one.width) for one in found] == [
        (0, 100), (100, 300), (400, 200), (600, THINNEST), (600, 400), (SCALE, 0),
    ]  # fmt: skip
    assert [one.attempt.number for one in found if one.attempt] == [1, 2]
    assert [one.took_s for one in found] == [10, 30, 20, 0, 40, None]
    assert not any(one.goes_on for one in found)


def test_what_goes_on_reaches_to_now() -> None:
    waited, works = life((0, "PENDING", 0), (25, "PROCESSING", 1))
    assert (waited.goes_on, works.goes_on) == (False, True)
    assert (works.left, works.width, works.took_s) == (250, 750, 75)


def test_a_job_that_failed_and_was_tried_again_shows_how_long_it_lay() -> None:
    lay = life((0, "FAILED", 1), (90, "PENDING", 1), (100, "CANCELLED", 1))[0]
    assert (lay.took_s, lay.width) == (90, 900)


@pytest.mark.parametrize(
    "moves",
    [
        [(7, "PENDING", 0), (7, "PROCESSING", 1), (7, "FAILED", 1)],  # within one tick
        [(50, "PENDING", 0), (20, "PROCESSING", 1), (60, "COMPLETED", 1)],  # a clock set back
        [(500, "PENDING", 0)],  # received in the future
        [(0, "PENDING", 0), (99.999, "PROCESSING", 1), (100, "COMPLETED", 1)],
    ],
)
def test_no_bar_leaves_the_line(moves: list[tuple[float, str, int]]) -> None:
    for one in life(*moves):
        assert 0 <= one.left <= one.left + one.width <= SCALE
        assert one.took_s is None or one.took_s >= 0


def test_a_job_without_history_has_no_line() -> None:
    assert life() == []
