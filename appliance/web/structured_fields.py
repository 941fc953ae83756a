"""The few structured fields that uploads use (RFC 9651): integers, booleans, written and read.

A field that is not well formed is as good as absent: so the draft on resumable uploads wants it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_INTEGER = 999_999_999_999_999


def integer(headers: Mapping[str, str], name: str) -> int | None:
    """A non-negative integer item, parameters aside."""
    match = re.fullmatch(r"\s*(\d{1,15})\s*(?:;.*)?", headers.get(name, ""), re.ASCII)
    return int(match[1]) if match else None


def boolean(headers: Mapping[str, str], name: str) -> bool | None:
    match = re.fullmatch(r"\s*\?([01])\s*(?:;.*)?", headers.get(name, ""), re.ASCII)
    return match[1] == "1" if match else None


def write_boolean(value: bool) -> str:
    return "?1" if value else "?0"


def write_dictionary(members: Mapping[str, int]) -> str:
    return ", ".join(f"{key}={value}" for key, value in members.items())
