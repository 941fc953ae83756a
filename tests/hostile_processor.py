"""A processor that does its worst: the name of the input file says what.

Plugged into a real nursery by `tests/unit/test_nursery.py`. Each behaviour is what a media
library, taken over by a hostile file, could do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import CorruptFile, ProcessingError
from appliance.processors.child import REPORTS_FD
from appliance.processors.protocol import Reporter, Task


class Unheard(ProcessingError):
    """Of a third party: its code is in no table of ours."""

    code = "unheard_of"
    permanent = True


def succeed(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    report.progress(0.5, "half")
    (output_dir / "text.txt").write_text("hello")
    report.output("text.txt", "text/plain")
    return {"words": 1}


def read_all(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    return {"words": len(task.input_path.read_text().split())}


def tell(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    """What the child finds around itself."""
    return {
        "environ": Path("/proc/self/environ").read_text(),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
        "temporary": __import__("tempfile").gettempdir(),
        "session": os.getsid(0) == os.getpgrp() == os.getpid(),
        "niceness": os.nice(0),
        "working_directory": os.getcwd(),
    }


def tell_options(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    return {"mood": task.options.mood, "noise": task.options.noise}


def report_much(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    for number in range(1000):
        report.progress(number / 1000, "first" if number < 500 else "second")
    return {}


def report_nan(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    report.progress(float("nan"), "nan\x1b[2J")
    return {}


def say_corrupt(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    report.progress(0.1, "reading")
    sys.stderr.write("parser: bad \x1b[31mmarker\n")
    raise CorruptFile("The picture ends in the middle\x1b[2J")


def say_unheard(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    raise Unheard("of")


def fail(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    raise KeyError("a bug")


def leave_with_3(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os._exit(3)


def leave_with_0(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os._exit(0)


def system_exit(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    sys.exit(0)


def segfault(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    ctypes.string_at(0)
    raise AssertionError


def hang(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    report.progress(0.1, "hanging")
    while True:
        signal.pause()


def ignore_signals(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    return hang(task, output_dir, report)


def close_reports(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.close(REPORTS_FD)
    while True:
        signal.pause()


def never_end(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    while True:
        report.progress(0.5, "going on")
        time.sleep(0.02)


def burn(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    while True:
        pass


def linger(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    """A grandchild that keeps the pipe, and one that leaves the group and the session."""
    subprocess.Popen(["/bin/sleep", "1000"], pass_fds=(REPORTS_FD,))
    subprocess.Popen(["/bin/sleep", "1000"], pass_fds=(REPORTS_FD,), start_new_session=True)
    return {}


def flood_memory(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    report.progress(0.1, "flooding")
    hoard = []
    while True:
        hoard.append([bytes(50_000) for _ in range(20)])


def flood_disk(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    with (output_dir / "text.txt").open("wb") as file:
        while True:
            file.write(bytes(1_000_000))


def flood_files(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    """Many files, each below the limit of one."""
    number = 0
    while True:
        number += 1
        (output_dir / f"{number}.txt").write_bytes(bytes(9_000_000))
        report.progress(0.5, "flooding")


def come_back_later(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    raise ProcessingError("The service it needs is busy", retry_after_s=60.0)


def flood_disk_by_signal(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    return flood_disk(task, output_dir, report)


def flood_reports(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    while True:
        os.write(REPORTS_FD, b'{"type":"progress","fraction":0.5,"step":"x"}\n' * 50)


def flood_outputs(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    number = 0
    while True:
        number += 1
        report.output(f"{number}.txt", "text/plain")


def flood_stderr(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    for _ in range(8):
        os.write(2, b"x" * 1_000_000)
    os.write(2, b"\nthe last \xff\x00 words\n")
    return {}


def endless_line(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    while True:
        os.write(REPORTS_FD, b"x" * 65_536)


def babble(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.write(REPORTS_FD, b'{"type":"order"}\n')
    return {}


def nest(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.write(REPORTS_FD, b'{"type":"done","facts":{"a":' + b"[" * 100_000 + b"\n")
    return {}


def say_done_twice(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.write(REPORTS_FD, b'{"type":"done","facts":{}}\n')
    return {}


def say_done_and_crash(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.write(REPORTS_FD, b'{"type":"done","facts":{}}\n')
    os.abort()


def tell_too_much(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    return {"text": "x" * 300_000}


def leave_links(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    (output_dir / "text.txt").symlink_to("/etc/passwd")
    report.output("text.txt", "text/plain")
    return {}


def _early(output_dir: Path, report: Reporter) -> Path:
    """A result that is there long before the work is over."""
    path = output_dir / "early.txt"
    path.write_text("early")
    report.output("early.txt", "text/plain")
    return path


def _await_go(output_dir: Path) -> None:
    """Return when the test has put `go` into the output folder."""
    go = output_dir / "go"
    while not go.exists():
        time.sleep(0.005)
    go.unlink()


def show_early(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    _early(output_dir, report)
    _await_go(output_dir)
    (output_dir / "late.txt").write_text("late")
    report.output("late.txt", "text/plain")
    return {"words": 2}


def show_early_and_fail(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    _early(output_dir, report)
    _await_go(output_dir)
    raise KeyError("a bug")


def show_early_and_be_corrupt(
    task: Task[Options], output_dir: Path, report: Reporter
) -> dict[str, Any]:
    _early(output_dir, report)
    _await_go(output_dir)
    raise CorruptFile("The film ends in the middle")


def show_early_and_hang(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    _early(output_dir, report)
    return hang(task, output_dir, report)


def show_early_and_swap(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    path = _early(output_dir, report)
    _await_go(output_dir)
    path.write_bytes(b"swapped")
    return {}


def show_large_first(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    (output_dir / "large.txt").write_bytes(b"x" * 9_000_000)
    report.output("large.txt", "text/plain")
    return show_early(task, output_dir, report)


def show_link(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    (output_dir / "early.txt").symlink_to("/etc/passwd")
    report.output("early.txt", "text/plain")
    return hang(task, output_dir, report)


def show_hard_link(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    _early(output_dir, report).rename(output_dir / "other")
    (output_dir / "early.txt").hardlink_to(output_dir / "other")
    return hang(task, output_dir, report)


def show_pipe(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.mkfifo(output_dir / "early.txt")
    report.output("early.txt", "text/plain")
    return hang(task, output_dir, report)


def show_twice(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    _early(output_dir, report)
    _early(output_dir, report)
    return hang(task, output_dir, report)


def show_lie(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    """A picture of 50,000 pixels each way, said to be a thumbnail."""
    size = (50_000).to_bytes(4, "big")
    (output_dir / "early.png").write_bytes(
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + size + size + b"\x08\x02\x00\x00\x00"
    )
    report.output("early.png", "image/png", width_px=320, height_px=320)
    return hang(task, output_dir, report)


def kill_nursery(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    report.progress(0.1, f"pid {os.getpid()}")
    os.kill(os.getppid(), signal.SIGKILL)
    while True:
        signal.pause()


def stop_nursery(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.kill(os.getppid(), signal.SIGSTOP)
    return hang(task, output_dir, report)


def be_killed(task: Task[Options], output_dir: Path, report: Reporter) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[hostile]`."""

    mood: str = "foul"
    noise: int = 1


class HostileProcessor:
    name = "hostile"
    version = "1"
    content_types = ("*/*",)
    options = Options
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        pass

    def process(self, task: Task[Options], report: Reporter) -> dict[str, Any]:
        facts: dict[str, Any] = globals()[task.input_path.name](task, task.output_dir, report)
        return facts


class ThreadedProcessor(HostileProcessor):
    """Leaves a thread behind when it is warmed."""

    def warm(self) -> None:
        import threading

        threading.Thread(target=signal.pause, daemon=True).start()


class StuckProcessor(HostileProcessor):
    """Never gets warm."""

    def warm(self) -> None:
        while True:
            signal.pause()


PROCESSOR = HostileProcessor()
THREADED = ThreadedProcessor()
STUCK = StuckProcessor()
