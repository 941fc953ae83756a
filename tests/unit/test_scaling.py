"""The scaling rule of DIAGRAMS.md, 7, with nothing but numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.workers.scaling import (
    DOWN_PER_WORKER,
    FIRST_PEAK_BYTES,
    HOLD_S,
    SPARE_BYTES,
    UP_EVERY_S,
    UP_PER_WORKER,
    Room,
    Scaler,
    available_memory_bytes,
)

AMPLE = Room(spare_cores=8, available_bytes=2**40, peak_bytes=FIRST_PEAK_BYTES)


def test_it_begins_with_the_smallest_and_says_nothing_while_all_is_quiet() -> None:
    scaler = Scaler(smallest=2, largest=8)
    assert scaler.target == 2
    assert scaler.decide(0, AMPLE, now=0.0) is None
    assert scaler.decide(2 * UP_PER_WORKER, AMPLE, now=1.0) is None


def test_one_more_while_more_than_ten_for_each_are_queued() -> None:
    scaler = Scaler(smallest=1, largest=3)
    decision = scaler.decide(UP_PER_WORKER + 1, AMPLE, now=0.0)
    assert decision is not None
    assert decision.target == scaler.target == 2
    assert "11 queued, more than 10 for each of 1" in decision.reason
    assert scaler.decide(2 * UP_PER_WORKER, AMPLE, now=10.0) is None  # not more than 20
    assert scaler.decide(2 * UP_PER_WORKER + 1, AMPLE, now=20.0) is not None
    assert scaler.decide(10_000, AMPLE, now=30.0) is None  # the largest pool
    assert scaler.target == 3


def test_a_step_up_is_given_time_to_show() -> None:
    scaler = Scaler(smallest=1, largest=8)
    assert scaler.decide(1000, AMPLE, now=0.0) is not None
    assert scaler.decide(1000, AMPLE, now=UP_EVERY_S / 2) is None
    assert scaler.decide(1000, AMPLE, now=UP_EVERY_S) is not None


def scaled_up(to: int) -> Scaler:
    scaler = Scaler(smallest=1, largest=8)
    for step in range(to - 1):
        scaler.decide(10_000, AMPLE, now=step * UP_EVERY_S)
    assert scaler.target == to
    return scaler


def test_one_fewer_only_after_the_low_mark_has_held() -> None:
    scaler = scaled_up(3)
    low = 3 * DOWN_PER_WORKER - 1
    assert scaler.decide(low, AMPLE, now=100.0) is None
    assert scaler.decide(low, AMPLE, now=100.0 + HOLD_S - 1) is None
    decision = scaler.decide(low, AMPLE, now=100.0 + HOLD_S)
    assert decision is not None
    assert decision.target == 2
    assert "down to 2" in decision.reason


def test_a_queue_that_breathes_does_not_move_it() -> None:
    scaler = scaled_up(2)
    now = 100.0
    for _ in range(20):
        assert scaler.decide(2 * DOWN_PER_WORKER - 1, AMPLE, now=now) is None
        assert scaler.decide(2 * DOWN_PER_WORKER, AMPLE, now=now + HOLD_S / 2) is None
        now += HOLD_S
    assert scaler.target == 2


def test_never_below_the_smallest() -> None:
    scaler = Scaler(smallest=2, largest=4)
    for now in range(0, 1000, 10):
        assert scaler.decide(0, AMPLE, now=float(now)) is None
    assert scaler.target == 2


def test_cores_and_memory_bound_it_and_it_says_so() -> None:
    scaler = Scaler(smallest=1, largest=4)
    no_core = Room(spare_cores=0, available_bytes=2**40, peak_bytes=1)
    decision = scaler.decide(100, no_core, now=0.0)
    assert decision is not None
    assert (decision.target, scaler.target) == (1, 1)
    assert "every core has its worker" in decision.reason
    no_memory = Room(spare_cores=4, available_bytes=SPARE_BYTES + 10, peak_bytes=11)
    decision = scaler.decide(100, no_memory, now=1.0)
    assert decision is not None
    assert scaler.target == 1
    assert "of memory" in decision.reason
    enough = Room(spare_cores=4, available_bytes=SPARE_BYTES + 11, peak_bytes=11)
    assert scaler.decide(100, enough, now=2.0) is not None
    assert scaler.target == 2


@given(
    st.integers(0, 3),
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 500), st.floats(0.1, 60.0), st.integers(0, 2))),
)
def test_it_stays_between_its_bounds_and_moves_by_one(
    smallest: int, more: int, steps: list[tuple[int, float, int]]
) -> None:
    scaler = Scaler(smallest=smallest, largest=smallest + more)
    now = 0.0
    for queued, pause_s, spare_cores in steps:
        now += pause_s
        before = scaler.target
        decision = scaler.decide(queued, Room(spare_cores, 2**40, 1), now=now)
        assert smallest <= scaler.target <= smallest + more
        assert abs(scaler.target - before) <= 1
        assert scaler.target == before or decision is not None
        if scaler.target > before:
            assert queued > before * UP_PER_WORKER
        if scaler.target < before:
            assert queued < before * DOWN_PER_WORKER


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [("max", "0", 2048 * 1024), ("1000000", "400000", 600_000), ("1000", "5000", 0)],
)
def test_memory_is_the_control_group_s_where_that_is_less(
    tmp_path: Path, limit: str, used: str, expected: int
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4096 kB\nMemAvailable:    2048 kB\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    assert available_memory_bytes(tmp_path) == 2048 * 1024
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    assert available_memory_bytes(tmp_path) == expected


def test_memory_of_this_machine() -> None:
    assert available_memory_bytes() > 0
