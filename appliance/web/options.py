"""What an owner asks for, read from the fields of a form, a query or an upload's metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from yarl import URL

from appliance.errors import BadRequest
from appliance.jobs import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from appliance.outgoing import Outgoing
from appliance.presets.preset import DEFAULT, Presets
from appliance.uploads import JobOptions
from appliance.web.multipart import MAX_FIELD_BYTES
from appliance.web.services import Services

OPTIONS = frozenset({"preset", "priority", "metadata", "callbackUrl"})
"""Their names, wherever they stand."""
MAX_ADDRESS = 2048


def job_options(
    fields: Mapping[str, str], shared: Services, *, metadata: Mapping[str, Any] | None = None
) -> JobOptions:
    """`metadata` is what the job carries beside its own field `metadata`. Raises BadRequest."""
    priority = fields.get("priority", "").strip() or str(DEFAULT_PRIORITY)
    if not re.fullmatch(r"[0-9]", priority):
        raise BadRequest(f"priority is a digit from 0 to {HIGHEST_PRIORITY}.")
    return JobOptions(
        preset=preset_name(fields.get("preset", "").strip() or DEFAULT, shared.presets),
        priority=int(priority),
        metadata={**(metadata or {}), **_metadata(fields)},
        callback_url=_callback_url(fields, shared.outgoing),
    )


def preset_name(name: str, presets: Presets) -> str:
    """Raises BadRequest for one that is not there."""
    if presets.get(name) is None:
        there_are = [preset.name for preset in presets]
        raise BadRequest(
            f"There is no preset {name!r} here. There are: {', '.join(there_are)}.",
            presets=there_are,
        )
    return name


def web_address(name: str, text: str, outgoing: Outgoing) -> str:
    """An address that the server may send something to. Raises BadRequest."""
    if len(text) > MAX_ADDRESS or not text.isprintable() or " " in text:
        raise BadRequest(f"{name} is an address of up to {MAX_ADDRESS:,} characters, no blanks.")
    refusal = outgoing.refuses(text)
    if refusal is not None:
        raise BadRequest(f"{name}: {refusal}")
    parsed = URL(text)
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise BadRequest(f"{name} holds no user and no password; a signature says who sends.")
    return text


def _callback_url(fields: Mapping[str, str], outgoing: Outgoing) -> str | None:
    text = fields.get("callbackUrl", "").strip()
    return web_address("callbackUrl", text, outgoing) if text else None


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
