"""A nursery with a hostile processor: each attempt ends as it should, leaves nothing behind,
and the next one works."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog
import uvloop

from appliance.errors import (
    ChildCrashed,
    ChildTimedOut,
    CorruptFile,
    LimitExceeded,
    NurseryUnavailable,
    OutOfMemory,
    OutputRefused,
    ProcessingError,
)
from appliance.processors.protocol import Limits, Order, Output, Progress
from appliance.workers.nursery import Nursery
from appliance.workers.outcome import AttemptFailed, Outcome
from appliance.workers.outputs import Bounds, check_outputs

HOSTILE = "tests.hostile_processor"
LIMITS = Limits(memory_bytes=100_000_000, cpu_s=20, file_bytes=10_000_000, wall_s=60.0, idle_s=30.0)
DEADLINE_S = 20.0


class Ward:
    """A running nursery and a short way to give it orders."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self.nursery = nursery
        self.folder = folder
        self.reports: list[Progress | Output] = []
        self.count = 0

    def order(self, behaviour: str, **limits: float) -> Order:
        self.count += 1
        output_dir = self.folder / f"out{self.count}"
        output_dir.mkdir()
        return Order(
            attempt_id=f"job-{self.count}",
            input_path=str(self.folder / behaviour),
            output_dir=str(output_dir),
            content_type="application/octet-stream",
            limits=Limits(
                **{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | limits
            ),
        )

    async def run(self, behaviour: str, **limits: float) -> Outcome:
        return await self.nursery.run(
            self.order(behaviour, **limits), on_report=self.reports.append
        )

    async def fail(self, behaviour: str, **limits: float) -> AttemptFailed:
        with pytest.raises(AttemptFailed) as caught:
            await self.run(behaviour, **limits)
        return caught.value

    def steps(self) -> list[str]:
        return [report.step for report in self.reports if isinstance(report, Progress)]


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    """After each test: nobody is left below the nursery, the next attempt works, and no
    descriptor of ours is left open."""
    nursery = Nursery("IMAGE", scratch_dir=tmp_path, processor=HOSTILE, sandbox="off")
    await nursery.start()
    ward = Ward(nursery, tmp_path)
    before = open_descriptors()
    yield ward
    if nursery.pid is not None:
        assert descendants(nursery.pid) == []
    assert (await ward.run("succeed")).facts == {"words": 1}
    assert nursery.pid is not None
    assert descendants(nursery.pid) == []
    await eventually(lambda: len(open_descriptors()) <= len(before))
    pid = nursery.pid
    await nursery.stop()
    assert not is_alive(pid)


def open_descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    try:
        children = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return children + [each for child in children for each in descendants(child)]


async def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)


async def hanging(ward: Ward, behaviour: str = "hang") -> asyncio.Task[Outcome]:
    """An attempt that runs now."""
    known = len(ward.reports)
    task = asyncio.create_task(ward.run(behaviour))
    await eventually(lambda: len(ward.reports) > known)
    return task


# --- good attempts ------------------------------------------------------------------------


async def test_an_attempt_returns_facts_outputs_and_what_it_used(ward: Ward) -> None:
    outcome = await ward.run("succeed")
    assert outcome.facts == {"words": 1}
    assert outcome.outputs == (Output("text.txt", "text/plain"),)
    assert ward.reports == [Progress(0.5, "half"), Output("text.txt", "text/plain")]
    assert 0 < outcome.cpu_s < 2
    assert 1_000_000 < outcome.peak_memory_bytes < 100_000_000


async def test_attempts_run_side_by_side(ward: Ward) -> None:
    lasting = await hanging(ward)
    outcomes = await asyncio.gather(*(ward.run("succeed") for _ in range(8)))
    assert len(outcomes) == 8
    assert not lasting.done()
    lasting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lasting


async def test_the_child_finds_nothing_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_ADMIN_KEY", "open-sesame-open-sesame-1")
    monkeypatch.setenv("HOME", "/home/of-the-server")
    nursery = Nursery("IMAGE", scratch_dir=tmp_path, processor=HOSTILE, sandbox="off")
    await nursery.start()
    ward = Ward(nursery, tmp_path)
    facts = (await ward.run("tell")).facts
    await nursery.stop()
    assert facts["environ"].startswith("PATH=")
    for secret in ("APPLIANCE", "sesame", "of-the-server", "PYTEST"):
        assert secret not in facts["environ"]
    assert facts["descriptors"] == [0, 1, 2, 3]
    assert facts["temporary"] == str(tmp_path / "out1")
    assert facts["session"] is True
    assert facts["niceness"] == min(19, os.nice(0) + 10)
    assert facts["working_directory"] == "/"


async def test_progress_within_a_step_is_throttled_and_a_new_step_is_not(ward: Ward) -> None:
    await ward.run("report_much")
    assert ward.steps()[0] == "first"
    assert ward.steps().count("second") >= 1
    assert len(ward.reports) < 50


async def test_nonsense_in_a_progress_report_is_mended(ward: Ward) -> None:
    await ward.run("report_nan")
    assert ward.reports == [Progress(0.0, "nan\\x1b[2J")]


async def test_of_megabytes_on_stderr_the_end_is_kept(ward: Ward) -> None:
    outcome = await ward.run("flood_stderr")
    assert outcome.stderr_tail.endswith("x\nthe last \ufffd\\x00 words")
    assert len(outcome.stderr_tail) <= 4096


# --- faults that the child tells of -------------------------------------------------------


async def test_a_fault_of_the_file_is_permanent(ward: Ward) -> None:
    failure = await ward.fail("say_corrupt")
    assert type(failure.error) is CorruptFile
    assert failure.error.permanent
    assert failure.error.detail == "The picture ends in the middle\\x1b[2J"
    assert failure.step == "reading"
    assert failure.stderr_tail == "parser: bad \\x1b[31mmarker"
    assert failure.__cause__ is failure.error


async def test_a_code_that_is_not_ours_is_no_permanent_fault(ward: Ward) -> None:
    failure = await ward.fail("say_unheard")
    assert type(failure.error) is ProcessingError
    assert not failure.error.permanent
    assert failure.error_class == "Unheard"


async def test_a_bug_is_a_failed_attempt_with_its_traceback(ward: Ward) -> None:
    failure = await ward.fail("fail")
    assert type(failure.error) is ProcessingError
    assert failure.error_class == "KeyError"
    assert failure.stderr_tail.endswith("KeyError: 'a bug'")


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        ("flood_memory", OutOfMemory, "memory"),
        ("flood_disk", LimitExceeded, "larger"),
        ("flood_disk_by_signal", LimitExceeded, "larger"),
        ("system_exit", ProcessingError, ""),
        ("tell_too_much", ProcessingError, ""),
    ],
)
async def test_a_limit_that_is_hit_is_named(
    ward: Ward, behaviour: str, error: type[ProcessingError], message: str
) -> None:
    failure = await ward.fail(behaviour)
    assert type(failure.error) is error
    assert message in failure.error.detail
    assert failure.peak_memory_bytes < 200_000_000


# --- ends that nobody tells of ------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("leave_with_3", "exit code 3"),
        ("leave_with_0", "without a result"),
        ("segfault", "SIGSEGV"),
        ("be_killed", "SIGKILL"),
        ("say_done_and_crash", "SIGABRT"),
        ("say_done_twice", "after its last report"),
        ("babble", "not understood"),
        ("nest", "not understood"),
        ("flood_reports", "flooded"),
        ("endless_line", "too long"),
    ],
)
async def test_a_crash_or_an_abuse_is_a_retry(ward: Ward, behaviour: str, message: str) -> None:
    failure = await ward.fail(behaviour)
    assert type(failure.error) is ChildCrashed
    assert not failure.error.permanent
    assert message in failure.error.detail
    assert failure.error_class == "ChildCrashed"


async def test_a_crash_leaves_its_stack_on_stderr(ward: Ward) -> None:
    assert "in segfault" in (await ward.fail("segfault")).stderr_tail


async def test_too_many_outputs_are_refused(ward: Ward) -> None:
    assert type((await ward.fail("flood_outputs")).error) is OutputRefused


async def test_links_among_the_outputs_are_refused(ward: Ward) -> None:
    order = ward.order("leave_links")
    outcome = await ward.nursery.run(order)
    with pytest.raises(OutputRefused):
        check_outputs(Path(order.output_dir), outcome.outputs, Bounds())


async def test_what_a_child_leaves_running_is_killed_with_it(ward: Ward) -> None:
    assert (await ward.run("linger")).facts == {}  # the fixture looks for the rest


# --- time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["hang", "burn", "ignore_signals"])
async def test_silence_ends_an_attempt(ward: Ward, behaviour: str) -> None:
    failure = await ward.fail(behaviour, idle_s=0.2)
    assert type(failure.error) is ChildTimedOut
    assert "No progress for 0.2 s" in failure.error.detail


@pytest.mark.parametrize("behaviour", ["never_end", "close_reports"])
async def test_the_wall_clock_ends_an_attempt(ward: Ward, behaviour: str) -> None:
    failure = await ward.fail(behaviour, wall_s=0.4)
    assert type(failure.error) is ChildTimedOut
    assert "more than 0.4 s" in failure.error.detail


async def test_processor_time_ends_an_attempt(ward: Ward) -> None:
    failure = await ward.fail("burn", cpu_s=1)
    assert type(failure.error) is ChildTimedOut
    assert "processor time" in failure.error.detail
    assert failure.cpu_s > 0.5  # the kernel samples what it limits, and so is early at times


async def test_a_cancelled_attempt_is_gone_before_the_cancellation_is_seen(ward: Ward) -> None:
    task = await hanging(ward)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ward.nursery.pid is not None
    assert descendants(ward.nursery.pid) == []


async def test_a_fault_of_the_caller_ends_the_attempt(ward: Ward) -> None:
    def refuse(_report: Progress | Output) -> None:
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError):
        await ward.nursery.run(ward.order("hang"), on_report=refuse)


async def test_an_attempt_is_begun_once(ward: Ward) -> None:
    order = ward.order("hang")
    first = asyncio.create_task(ward.nursery.run(order, on_report=ward.reports.append))
    await eventually(lambda: ward.reports)
    with pytest.raises(ValueError, match="running already"):
        await ward.nursery.run(order)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


# --- the nursery itself -------------------------------------------------------------------


async def test_a_killed_nursery_costs_its_attempts_and_is_started_again(ward: Ward) -> None:
    bystander = await hanging(ward)
    first_pid = ward.nursery.pid
    with structlog.testing.capture_logs() as lines:
        failure = await ward.fail("kill_nursery")
        assert type(failure.error) is ChildCrashed
        with pytest.raises(AttemptFailed, match="child_crashed"):
            await bystander
        child_pid = int(failure.step.removeprefix("pid "))
        await eventually(lambda: not is_alive(child_pid))
        await ward.run("succeed")
    assert ward.nursery.pid != first_pid
    events = [line["event"] for line in lines]
    assert events == ["nursery_lost", "sandbox", "nursery_ready"]
    assert lines[0]["exit_code"] == -signal.SIGKILL


async def test_a_stopped_nursery_is_killed_and_started_again(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.workers.program.END_S", 0.2)
    first_pid = ward.nursery.pid
    failure = await ward.fail("stop_nursery", idle_s=0.2)
    assert type(failure.error) is ChildTimedOut
    await eventually(lambda: ward.nursery.pid not in (None, first_pid))


async def test_a_nursery_that_does_not_fork_is_killed_and_started_again(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.workers.program.FORK_S", 0.2)
    assert ward.nursery.pid is not None
    os.kill(ward.nursery.pid, signal.SIGSTOP)
    assert type((await ward.fail("succeed")).error) is ChildCrashed


async def test_stopping_kills_what_runs(ward: Ward) -> None:
    task = await hanging(ward, "ignore_signals")
    pid = ward.nursery.pid
    assert pid is not None
    (child_pid,) = descendants(pid)
    await ward.nursery.stop()
    assert not is_alive(pid)
    assert not is_alive(child_pid)
    with pytest.raises(AttemptFailed, match="child_crashed"):
        await task
    with pytest.raises(NurseryUnavailable):
        await ward.run("succeed")
    await ward.nursery.start()


async def test_whoever_waits_for_a_nursery_is_told_when_it_stops(tmp_path: Path) -> None:
    nursery = Nursery("IMAGE", scratch_dir=tmp_path, processor=HOSTILE, sandbox="off")
    await nursery.start()
    assert nursery.pid is not None
    os.kill(nursery.pid, signal.SIGKILL)
    await eventually(lambda: nursery.pid is None)
    waiting = asyncio.create_task(Ward(nursery, tmp_path).run("succeed"))
    await asyncio.sleep(0)
    await nursery.stop()
    with pytest.raises(NurseryUnavailable, match="stopping"):
        await waiting


@pytest.mark.parametrize(
    ("processor", "ready_timeout_s", "message"),
    [
        ("tests.no_such_module", DEADLINE_S, "No module named 'tests.no_such_module'"),
        (f"{HOSTILE}:THREADED", DEADLINE_S, "left 1 more thread"),
        (f"{HOSTILE}:STUCK", 0.5, "no word of it in time"),
    ],
)
async def test_a_nursery_that_does_not_get_warm_says_why(
    tmp_path: Path, processor: str, ready_timeout_s: float, message: str
) -> None:
    nursery = Nursery(
        "IMAGE", scratch_dir=tmp_path, processor=processor, ready_timeout_s=ready_timeout_s
    )
    with pytest.raises(NurseryUnavailable, match=message):
        await nursery.start()
    await nursery.stop()


def test_uvloop_serves_as_well(tmp_path: Path) -> None:
    """The server's own loop; all the others here run in asyncio's."""

    async def scenario() -> None:
        nursery = Nursery("IMAGE", scratch_dir=tmp_path, processor=HOSTILE, sandbox="off")
        await nursery.start()
        ward = Ward(nursery, tmp_path)
        await ward.run("succeed")
        before = open_descriptors()
        for behaviour, error, limits in [
            ("segfault", ChildCrashed, {}),
            ("endless_line", ChildCrashed, {}),
            ("flood_reports", ChildCrashed, {}),
            ("hang", ChildTimedOut, {"idle_s": 0.2}),
            ("never_end", ChildTimedOut, {"wall_s": 0.3}),
            ("kill_nursery", ChildCrashed, {}),
        ]:
            assert type((await ward.fail(behaviour, **limits)).error) is error
        task = await hanging(ward)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nursery.pid is not None
        assert descendants(nursery.pid) == []
        await asyncio.gather(*(ward.run("succeed") for _ in range(8)))
        await eventually(lambda: len(open_descriptors()) <= len(before))
        await nursery.stop()

    uvloop.run(scenario())


DRIVER = """
import asyncio, sys
from pathlib import Path
from appliance.workers.nursery import Nursery
from tests.unit.test_nursery import HOSTILE, Ward

async def main():
    folder = Path(sys.argv[1])
    nursery = Nursery("IMAGE", scratch_dir=folder, processor=HOSTILE, sandbox="off")
    await nursery.start()
    tell = lambda report: print(nursery.pid, flush=True)
    await nursery.run(Ward(nursery, folder).order("ignore_signals", idle_s=60), on_report=tell)

asyncio.run(main())
"""


def test_nothing_outlives_a_killed_server(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        nursery_pid = next(int(line) for line in lines if line.strip().isdigit())
        (child_pid,) = descendants(nursery_pid)
        server.kill()
    deadline = time.monotonic() + DEADLINE_S
    while is_alive(nursery_pid) or is_alive(child_pid):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)
