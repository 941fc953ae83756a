"""A processor that does nothing and tells when it was called, on the clock that all processes
of a machine share."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from appliance.processors.protocol import Reporter, Task


class Options(msgspec.Struct):
    """None."""


class IdleProcessor:
    name = "idle"
    version = "1"
    content_types = ("*/*",)
    options = Options
    reads: tuple[str, ...] = ()

    def warm(self) -> None: ...

    def process(self, task: Task[Options], report: Reporter) -> dict[str, Any]:
        return {"beganS": time.monotonic()}


PROCESSOR = IdleProcessor()
