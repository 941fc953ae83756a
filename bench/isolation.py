"""What isolation costs: a tiny picture by a warm nursery, and by the same function called here.

An attempt through `Nursery.run` has the order handed over, a child forked and limited, the
reports read, the child reaped and its stderr looked at. The function alone has the picture
decoded, resized and encoded, and the results written. Both write to the same disk.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import structlog

from appliance.processors.image import PROCESSOR
from appliance.processors.protocol import Order
from appliance.workers.nursery import Nursery
from bench.queue_ours import LIMITS
from bench.rounds import ROUNDS, spread, table
from tests import media
from tests.processing import Outcome, task

PER_ROUND = 40
GOAL_MS = 15


async def run() -> str:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    folder = Path(tempfile.mkdtemp(prefix="isolation-", dir=Path.cwd() / "data"))
    source = folder / "tiny.jpg"
    source.write_bytes(media.jpeg(64, 48))
    nursery = Nursery("IMAGE", scratch_dir=folder)
    idle = Nursery("IMAGE", scratch_dir=folder, processor="bench.idle_processor")
    await nursery.start()
    await idle.start()
    PROCESSOR.warm()
    isolated, here, nothing = _Taken(), _Taken(), _Taken()
    try:
        for round_number in range(-1, ROUNDS):
            for number in range(PER_ROUND):
                order = _order(source, folder / "output", f"{round_number}-{number}")
                await _attempt(nursery, order, isolated)
                _call(order, here)
                await _attempt(idle, order, nothing)
            for taken in (isolated, here, nothing):
                taken.end_round(counts=round_number >= 0)  # the one before warms up
    finally:
        await nursery.stop()
        await idle.stop()
        shutil.rmtree(folder)
    cost = [
        [a - b for a, b in zip(*pair, strict=True)]
        for pair in ((isolated.wall_ms, here.wall_ms), (isolated.cpu_ms, here.cpu_ms))
    ]
    rows = [
        ("a picture of 64 x 48, ms", "from order to result", "goal", "CPU of child or call"),
        (
            "an attempt in a nursery",
            spread(isolated.wall_ms, digits=1),
            "",
            spread(isolated.cpu_ms, digits=1),
        ),
        (
            "the function called here",
            spread(here.wall_ms, digits=1),
            "",
            spread(here.cpu_ms, digits=1),
        ),
        ("the difference", spread(cost[0], digits=1), f"{GOAL_MS}", spread(cost[1], digits=1)),
        (
            "an attempt that does nothing",
            spread(nothing.wall_ms, digits=1),
            "",
            spread(nothing.cpu_ms, digits=1),
        ),
    ]
    return "\n".join(
        [
            f"{ROUNDS} rounds of {PER_ROUND}, median (smallest to largest). Children are niced, "
            "so a busy machine lengthens them first:",
            *table(rows),
        ]
    )


@dataclass
class _Taken:
    """Medians, a round each."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    _round: list[tuple[float, float]] = field(default_factory=list)

    def add(self, wall_s: float, cpu_s: float) -> None:
        self._round.append((wall_s * 1000, cpu_s * 1000))

    def end_round(self, *, counts: bool) -> None:
        if counts:
            for values, taken in zip(
                (self.wall_ms, self.cpu_ms), zip(*self._round, strict=True), strict=True
            ):
                values.append(median(taken))
        self._round = []


def _order(source: Path, output_dir: Path, attempt_id: str) -> Order:
    return Order(attempt_id, str(source), str(output_dir), "image/jpeg", LIMITS)


async def _attempt(nursery: Nursery, order: Order, taken: _Taken) -> None:
    with _fresh(order):
        began = time.perf_counter()
        outcome = await nursery.run(order)
        taken.add(time.perf_counter() - began, outcome.cpu_s)


def _call(order: Order, taken: _Taken) -> None:
    with _fresh(order) as output_dir:
        asked = task(PROCESSOR, Path(order.input_path), output_dir, order.content_type)
        began, cpu_s = time.perf_counter(), time.process_time()
        PROCESSOR.process(asked, Outcome(output_dir))
        taken.add(time.perf_counter() - began, time.process_time() - cpu_s)


@contextmanager
def _fresh(order: Order) -> Iterator[Path]:
    """The folder for results, new and empty as an attempt finds it."""
    output_dir = Path(order.output_dir)
    output_dir.mkdir()
    try:
        yield output_dir
    finally:
        shutil.rmtree(output_dir)
