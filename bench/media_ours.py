"""A processor of ours, called without a nursery: a contestant of `bench.images`, `.documents` and
`.videos`.

    python -m bench.media_ours appliance.processors.image:PROCESSOR

An order names `input`, `output` (a folder, empty), `content_type` and the `options` of a preset.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from appliance.processors.protocol import Processor, Task
from appliance.processors.silence import Silence


def main(name: str) -> None:
    module, _, attribute = name.partition(":")
    processor: Processor[Any] = getattr(importlib.import_module(module), attribute)
    processor.warm()
    for line in sys.stdin:
        order = json.loads(line)
        task = Task(
            Path(order["input"]),
            Path(order["output"]),
            order["content_type"],
            msgspec.convert(order["options"], processor.options),
        )
        began, cpu_s = time.perf_counter(), time.process_time()
        processor.process(task, Silence())
        took = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
        print(json.dumps(took), flush=True)


main(sys.argv[1])
