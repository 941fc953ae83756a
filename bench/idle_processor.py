"""A processor that does nothing and tells when it was called, on the clock that all processes
of a machine share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from appliance.processors.protocol import Order, Reporter


class IdleProcessor:
    def warm(self) -> None: ...

    def process(self, order: Order, output_dir: Path, report: Reporter) -> dict[str, Any]:
        return {"beganS": time.monotonic()}


PROCESSOR = IdleProcessor()
