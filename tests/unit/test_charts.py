"""Charts: scales, ticks, gaps, and what is drawn of nothing."""

from __future__ import annotations

import re

import pytest

from appliance.database.history import BUCKET_RATIO, percentile
from appliance.web.charts import HEIGHT, MINUTES_AND_MORE, WIDTH, Chart, Points, chart, ticks
from appliance.web.metric_tiles import change
from appliance.web.templates import _environment

TIMES = ("1 h ago", "now")


def drawn(*points: float | None, name: str = "a") -> Chart:
    return chart("k", "Title", [(name, points)], label=lambda n: f"{n:g}", times=TIMES)


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", path)]


@pytest.mark.parametrize(
    ("largest", "whole", "expected"),
    [
        (0.0, False, [0, 1]),
        (-3.0, False, [0, 1]),
        (float("nan"), False, [0, 1]),
        (float("inf"), False, [0, 1]),
        (1.0, True, [0, 1]),
        (0.3, True, [0, 1]),
        (3.0, True, [0, 1, 2, 3]),
        (7.0, False, [0, 2, 4, 6, 8]),
        (100.0, False, [0, 50, 100]),
        (101.0, False, [0, 50, 100, 150]),
        (0.04, False, [0, 0.01, 0.02, 0.03, 0.04]),
    ],
)
def test_ticks_are_round(largest: float, whole: bool, expected: list[float]) -> None:
    assert ticks(largest, whole=whole) == pytest.approx(expected)


@pytest.mark.parametrize(
    "largest", [10.0**power * times for power in range(-9, 18, 3) for times in (1, 1.7, 3.3, 9.99)]
)
def test_ticks_reach_the_largest_and_not_far_above(largest: float) -> None:
    found = ticks(largest)
    assert len(found) <= 5
    assert largest * (1 - 1e-9) <= found[-1] < largest + (found[1] - found[0])


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (8.0, [0, 2, 4, 6, 8]),
        (61.0, [0, 60, 120]),
        (290.0, [0, 120, 240, 360]),
        (4 * 3600.0, [0, 3600, 7200, 10800, 14400]),
        (30 * 86400.0, [0, 1e6, 2e6, 3e6]),  # longer than the steps reach
    ],
)
def test_ticks_of_times_are_whole_minutes_and_hours(largest: float, expected: list[float]) -> None:
    assert ticks(largest, steps=MINUTES_AND_MORE) == pytest.approx(expected)


def test_points_are_placed_to_scale() -> None:
    one = drawn(0, 5, 10)
    (line,) = one.lines
    assert places(line.path) == [(0, HEIGHT), (WIDTH / 2, HEIGHT / 2), (WIDTH, 0)]
    assert [tick.label for tick in one.ticks] == ["0", "5", "10"]
    assert [tick.at for tick in one.ticks] == [HEIGHT, HEIGHT / 2, 0]
    assert [tick.at for tick in one.times] == [0, 100]
    assert line.told == "lowest 0, highest 10, latest 10"


def test_a_gap_is_not_drawn_over() -> None:
    (line,) = drawn(1, 2, None, 3, None, None, 4, 5).lines
    assert line.path.count("M") == 2
    assert len(places(line.path)) == 4
    assert line.dots.count("M") == 1  # the 3, alone between two gaps


@pytest.mark.parametrize("points", [(), (None,), (None, None, None)])
def test_of_nothing_nothing_is_drawn(points: Points) -> None:
    assert drawn(*points).lines == []


def test_a_single_point_is_a_dot() -> None:
    (line,) = drawn(7).lines
    assert (line.path, line.dots.count("M")) == ("", 1)


def test_lines_share_a_scale() -> None:
    both = chart(
        "k", "T", [("low", (1.0, 1.0)), ("high", (4.0, 4.0)), ("none", (None, None))],
        label=str, times=TIMES,
    )  # fmt: skip
    low, high, none = both.lines
    assert places(low.path)[0][1] == HEIGHT * 3 / 4
    assert places(high.path)[0][1] == 0
    assert (none.path, none.dots, none.told) == ("", "", "no figures")


def test_labels_are_text_and_never_markup() -> None:
    hostile = '</title><script>alert("1")</script>'
    shown = chart(
        "k",
        hostile,
        [(hostile, (1.0, 2.0)), ("b", (1.0,))],
        label=lambda _: hostile,
        times=(hostile,),
    )
    page = _environment.get_template("charts.html").module.chart(shown, hostile)  # type: ignore[attr-defined]
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_percentile_is_right_to_within_ten_percent() -> None:
    bounds = [0.01 * BUCKET_RATIO**number for number in range(89)]
    durations: dict[float, int] = {}
    for number in range(1, 1001):  # 0.1 s to 100 s
        bound = next(bound for bound in bounds if bound >= number / 10)
        durations[bound] = durations.get(bound, 0) + 1
    for part in (0.5, 0.95, 0.99):
        assert percentile(durations, part) == pytest.approx(100 * part, rel=0.1)
    assert percentile({}, 0.95) is None


@pytest.mark.parametrize(
    ("latest", "earlier", "unit", "told"),
    [
        (2.0, None, "s", "no figure for the hour before"),
        (None, 2.0, "s", "no figure for this hour"),
        (None, None, "s", "no figure for the hour before"),
        (5.0, 2.0, "s", "+3 s on the hour before"),
        (2.0, 5.5, None, "\N{MINUS SIGN}3.5 on the hour before"),
        (99.0, 97.0, "%", "+2 points on the hour before"),
        (2.0, 2.0, "s", "as in the hour before"),
    ],
)
def test_the_change_is_told_in_words(
    latest: float | None, earlier: float | None, unit: str | None, told: str
) -> None:
    assert change(latest, earlier, unit) == told
