"""Processors that break one rule each; `tests/unit/test_conformance.py` sees each found out."""

from __future__ import annotations

import signal
import threading
from typing import Any

import msgspec

from appliance.errors import CorruptFile
from appliance.processors.protocol import Reporter, Task


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class Lax(msgspec.Struct, frozen=True):
    """Takes every option."""


class Demanding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Its option has no default."""

    size: int


class Good:
    name = "good"
    version = "1"
    content_types: tuple[str, ...] = ("text/plain",)
    options: type[msgspec.Struct] = Options
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Nothing is needed."""

    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        report.progress(0.5, "copying")
        result = task.output_dir / "copy.txt"
        text = task.input_path.read_bytes()
        if b"\0" in text:
            raise CorruptFile("A text has no zero bytes")
        result.write_bytes(text)
        report.output(result.name, "text/plain")
        report.progress(1.0, "copying")
        return {"sizeBytes": len(text)}


class Nameless(Good):
    name = "Not A Name"


class Threaded(Good):
    def warm(self) -> None:
        threading.Thread(target=signal.pause, daemon=True).start()


class Strange(Good):
    content_types = ("audio/none-such",)


class Elsewhere(Good):
    content_types = ("audio/mpeg",)


class Laxed(Good):
    options = Lax


class Demanded(Good):
    options = Demanding


class Failing(Good):
    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        raise KeyError("a bug")


class Unreporting(Good):
    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        (task.output_dir / "left.txt").write_text("words")
        return super().process(task, report)


class Silent(Good):
    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        return {}


class Falling(Good):
    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        report.progress(0.9, "first")
        return super().process(task, report)


class Scribbling(Good):
    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        facts = super().process(task, report)
        task.input_path.write_bytes(b"scribbled")
        return facts


class Random(Good):
    """Its results have another name every time."""

    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        result = task.output_dir / f"{task.output_dir.parent.name.lower().replace('_', '-')}.txt"
        result.write_text("words")
        report.output(result.name, "text/plain")
        report.progress(1.0, "writing")
        return {}


class Trusting(Good):
    """Takes every text for UTF-8, and every end for a good one."""

    def process(self, task: Task[Any], report: Reporter) -> dict[str, Any]:
        report.progress(0.0, "reading")
        return {"text": task.input_path.read_bytes().decode("ascii")[-10:]}


GOOD, NAMELESS, THREADED, STRANGE, ELSEWHERE = (
    Good(), Nameless(), Threaded(), Strange(), Elsewhere(),
)  # fmt: skip
LAXED, DEMANDED, FAILING, UNREPORTING, SILENT = (
    Laxed(), Demanded(), Failing(), Unreporting(), Silent(),
)  # fmt: skip
FALLING, SCRIBBLING, RANDOM, TRUSTING = Falling(), Scribbling(), Random(), Trusting()
