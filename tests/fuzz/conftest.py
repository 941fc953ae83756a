"""Nurseries to be fed with damaged files, and how many: a few hundred by default, thousands by
`make fuzz`, which sets APPLIANCE_TEST_FUZZ."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from appliance.processors.protocol import Limits, Order
from appliance.workers.nursery import Nursery
from appliance.workers.outcome import AttemptFailed
from appliance.workers.outputs import Bounds, check_outputs

SHORT_FILES = 240

LIMITS = Limits(
    memory_bytes=512 << 20, cpu_s=40, file_bytes=256 << 20, wall_s=60.0, idle_s=20.0
)  # fmt: skip


def files(share: float) -> int:
    """How many files a test takes of those that the whole run was asked for."""
    return max(10, round(int(os.environ.get("APPLIANCE_TEST_FUZZ", SHORT_FILES)) * share))


def is_long() -> bool:
    return "APPLIANCE_TEST_FUZZ" in os.environ


@dataclass
class Ward:
    """A nursery of one kind, and what became of the files that it was given."""

    kind: str
    runner: asyncio.Runner
    nursery: Nursery
    folder: Path
    ends: Counter[str] = field(default_factory=Counter)
    """Codes of errors, and `completed`."""
    _numbers: Iterator[int] = field(default_factory=count)

    def run(self, content_type: str, data: bytes) -> str:
        """How the attempt at `data` ends. Checks what must hold whatever it is: the nursery
        lives, no process of the attempt is left, the input is as it was, results are allowed."""
        number = next(self._numbers)
        source, output_dir = self.folder / f"in-{number}", self.folder / f"out-{number}"
        source.write_bytes(data)
        output_dir.mkdir()
        pid = self.nursery.pid
        order = Order(f"fuzz-{number}", str(source), str(output_dir), content_type, LIMITS)
        try:
            outcome = self.runner.run(self.nursery.run(order))
            check_outputs(output_dir, outcome.outputs, Bounds())
            end, why = "completed", ""
        except AttemptFailed as failed:
            end, why = failed.error.code, f"{failed}\n{failed.stderr_tail}"
        assert end != "processing_failed", why
        assert source.read_bytes() == data
        source.unlink()
        shutil.rmtree(output_dir)
        assert self.nursery.pid == pid, "the nursery was lost"
        assert not Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.ends[end] += 1
        return end


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ward]]:
    """The nursery of a kind, started when it is first asked for."""
    wards: dict[str, Ward] = {}
    with asyncio.Runner() as runner:

        def of(kind: str) -> Ward:
            if kind not in wards:
                folder = tmp_path_factory.mktemp(kind.lower())
                nursery = Nursery(kind, scratch_dir=folder)
                runner.run(nursery.start())
                wards[kind] = Ward(kind, runner, nursery, folder)
            return wards[kind]

        yield of
        for made in wards.values():
            runner.run(made.nursery.stop())
