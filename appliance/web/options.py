"""What an owner asks for, read from the fields of a form, a query or an upload's metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.errors import BadRequest
from appliance.jobs import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from appliance.uploads import JobOptions
from appliance.web.multipart import MAX_FIELD_BYTES

PRESETS = frozenset({"default"})


def job_options(
    fields: Mapping[str, str], *, metadata: Mapping[str, Any] | None = None
) -> JobOptions:
    """`metadata` is what the job carries beside its own field `metadata`. Raises BadRequest."""
    priority = fields.get("priority", "").strip() or str(DEFAULT_PRIORITY)
    if not re.fullmatch(r"[0-9]", priority):
        raise BadRequest(f"priority is a digit from 0 to {HIGHEST_PRIORITY}.")
    preset = fields.get("preset", "").strip() or "default"
    if preset not in PRESETS:
        raise BadRequest(f"There is no preset {preset!r}; there is: {', '.join(PRESETS)}.")
    return JobOptions(
        preset=preset,
        priority=int(priority),
        metadata={**(metadata or {}), **_metadata(fields)},
    )


def _metadata(fields: Mapping[str, str]) -> dict[str, Any]:
    text = fields.get("metadata", "").strip()
    if not text:
        return {}
    if len(text.encode()) > MAX_FIELD_BYTES:
        raise BadRequest(f"metadata may have up to {MAX_FIELD_BYTES:,} bytes.")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"metadata is a JSON object; this is not: {error}.") from error
