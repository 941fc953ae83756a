"""Charts: numbers over time become lines that a template draws as SVG.

The picture is stretched to the width that there is; what must not be stretched, its labels, is
placed beside the lines in percent of the width (templates/charts.html), and so keeps its size.
Here are only numbers and paths: scales, ticks, gaps. Colours are in static/metrics.css.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 1000, 140
"""Of the plot, in its own units; the height is its height in px."""

MINUTES_AND_MORE = (60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0)
"""Distances of ticks, in seconds, that are round where minutes have 60 of them."""

Points = Sequence[float | None]
"""At equal distances; None where there is no figure."""


@dataclass(frozen=True)
class Tick:
    at: float
    """From the top in px on the vertical axis, from the left in percent on the other one."""
    label: str


@dataclass(frozen=True)
class Line:
    name: str
    path: str
    dots: str
    """Points that stand alone, which no line would show."""
    told: str
    """Lowest, highest and latest, in words."""


@dataclass(frozen=True)
class Chart:
    key: str
    title: str
    lines: list[Line]
    """Without any, there is no figure to draw."""
    ticks: list[Tick]
    times: list[Tick]


def chart(
    key: str,
    title: str,
    series: Sequence[tuple[str, Points]],
    *,
    label: Callable[[float], str],
    times: Sequence[str],
    whole: bool = False,
    steps: Sequence[float] = (),
    at_least: float = 0.0,
) -> Chart:
    """`label` writes a figure with its unit; `times` are labels at equal distances, oldest first.
    `whole` and `steps` are those of `ticks`; the scale reaches to `at_least` or beyond."""
    known = [p for _, points in series for p in points if p is not None]
    scale = ticks(max([at_least, *known]), whole=whole, steps=steps)
    top = scale[-1]
    return Chart(
        key=key,
        title=title,
        lines=[_line(name, points, top, label) for name, points in series] if known else [],
        ticks=[Tick(at=HEIGHT - HEIGHT * step / top, label=label(step)) for step in scale],
        times=[
            Tick(at=round(100 * number / max(1, len(times) - 1), 2), label=text)
            for number, text in enumerate(times)
        ],
    )


def ticks(
    largest: float, *, whole: bool = False, steps: Sequence[float] = (), most: int = 5
) -> list[float]:
    """Round numbers from 0 to `largest` or a little above: 1, 2 or 5 times a power of ten apart,
    `most` at most. For nothing, 0 and 1.

    `whole` are of things that come in whole numbers. Where `steps` (ascending) are given and
    `largest` is beyond the first of them, the distance is one of these."""
    if not (math.isfinite(largest) and largest > 0):
        return [0.0, 1.0]
    rough = largest / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    if steps and largest > steps[0]:
        step = next((round_one for round_one in steps if round_one >= rough), step)
    count = max(1, math.ceil(largest / step - 1e-9))
    return [number * step for number in range(count + 1)]


def _line(name: str, points: Points, top: float, label: Callable[[float], str]) -> Line:
    known = [point for point in points if point is not None]
    drawn = _runs(points)
    across = WIDTH / max(1, len(points) - 1)

    def place(number: int, point: float) -> str:
        return f"{number * across:.1f} {HEIGHT - HEIGHT * point / top:.1f}"

    told = "no figures"
    if known:
        told = f"lowest {label(min(known))}, highest {label(max(known))}, latest {label(known[-1])}"
    return Line(
        name=name,
        path="".join("M" + "L".join(place(*at) for at in run) for run in drawn if len(run) > 1),
        dots="".join(f"M{place(*run[0])}h0" for run in drawn if len(run) == 1),
        told=told,
    )


def _runs(points: Points) -> list[list[tuple[int, float]]]:
    """The points between the gaps, each with its number."""
    runs: list[list[tuple[int, float]]] = [[]]
    for number, point in enumerate(points):
        if point is not None:
            runs[-1].append((number, point))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
