"""Asks the processors whether they understand what the presets say to them.

Only they know their options, and they live in nurseries: so this is for when those are warm, and
before any job is taken.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

import structlog

from appliance.presets.files import line_of, told
from appliance.presets.preset import DEFAULT, Preset, Presets
from appliance.workers.nursery import Nursery

log = structlog.get_logger()


async def preset_faults(
    presets: Presets,
    nurseries: Sequence[Nursery],
    *,
    unusable: Container[str] = (),
    complete: bool,
) -> list[str]:
    """What is wrong with the presets, each fault with its file, line and mend.

    Tables for the plug-ins that are `unusable` now are not checked, and no fault. `complete`:
    every other processor that is installed has one of the `nurseries`, so a table for any other
    is a fault. Else such a table cannot be checked: some pool is switched off. Raises
    NurseryUnavailable.
    """
    faults: list[str] = []
    processors: set[str] = set()
    for nursery in nurseries:
        processor = (await nursery.describe()).name
        if processor not in processors:
            processors.add(processor)
            faults += await _faults_for(presets, nursery, processor)
    for preset in presets:
        for table in preset.tables.keys() - processors:
            if complete and table not in unusable:
                faults.append(_no_processor(preset, table, processors))
            else:
                log.info("preset_unchecked", preset=preset.name, table=table)
    return faults


async def _faults_for(presets: Presets, nursery: Nursery, processor: str) -> list[str]:
    faults = []
    for preset in presets:
        if processor not in preset.tables:
            continue
        fault = await nursery.check(preset.name, presets.options(preset, processor))
        if fault is not None:
            faults.append(_refused(preset, processor, fault))
            if preset.name == DEFAULT:  # the others are built on it
                break
    return faults


def _refused(preset: Preset, processor: str, fault: str) -> str:
    """`fault` begins with the option that it is about, in backquotes, where it is about one."""
    key = re.match(r"`([\w-]+)", fault)
    line = line_of(preset.text, processor, key[1] if key else None)
    return told(preset.path, f"[{processor}] {fault}", line)


def _no_processor(preset: Preset, table: str, processors: set[str]) -> str:
    fault = (
        f"There is no processor {table}. Those installed are {', '.join(sorted(processors))}; "
        "remove the table, or install what it is for."
    )
    return told(preset.path, fault, line_of(preset.text, table, None))
