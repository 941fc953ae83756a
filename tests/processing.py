"""Runs a processor on bytes, as a child would, and keeps what it reported."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from appliance.processors.protocol import Processor, Task


@dataclass
class Outcome:
    """A `Reporter` that remembers, and the facts at the end."""

    folder: Path
    fractions: list[float] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    outputs: dict[str, tuple[str, int | None, int | None]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """Names of outputs and steps as they came."""
    facts: dict[str, Any] = field(default_factory=dict)

    def progress(self, fraction: float, step: str) -> None:
        self.fractions.append(fraction)
        self.steps.append(step)
        self.order.append(step)

    def output(
        self,
        name: str,
        content_type: str,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
    ) -> None:
        assert (self.folder / name).stat().st_size > 0, f"{name} was reported before it was there"
        self.outputs[name] = (content_type, width_px, height_px)
        self.order.append(name)

    def path(self, name: str) -> Path:
        return self.folder / name


def task(
    processor: Processor[Any], source: Path, folder: Path, content_type: str, **options: Any
) -> Task[Any]:
    """`options` as they would stand in a preset."""
    return Task(source, folder, content_type, msgspec.convert(options, processor.options))


def process(
    processor: Processor[Any], data: bytes, content_type: str, tmp_path: Path, **options: Any
) -> Outcome:
    """What `processor` makes of `data`; checks what must hold for every good attempt."""
    source, folder = tmp_path / "input", tmp_path / "output"
    source.write_bytes(data)
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    outcome = Outcome(folder)
    outcome.facts = processor.process(
        task(processor, source, folder, content_type, **options), outcome
    )
    assert source.read_bytes() == data, "the input was changed"
    assert {path.name for path in folder.iterdir()} == set(outcome.outputs)
    assert outcome.fractions == sorted(outcome.fractions)
    assert all(0 <= fraction <= 1 for fraction in outcome.fractions)
    return outcome


def after_warm_up(module: str) -> dict[str, Any]:
    """What a fresh process looks like once `module`'s processor is warm."""
    script = f"""
import json, os, sys
from appliance.processors import {module}
{module}.PROCESSOR.warm()
print(json.dumps({{
    "threads": len(os.listdir("/proc/self/task")),
    "modules": sorted(name for name in sys.modules if "." not in name),
    "pictures": sorted(name for name in sys.modules if name.startswith("PIL.")),
}}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stderr == b""
    return dict(json.loads(done.stdout))
