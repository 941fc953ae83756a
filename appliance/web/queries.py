"""What the query of an address says, each value held to what it may be."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from aiohttp import web

from appliance.errors import BadRequest
from appliance.ids import is_id

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_WORDS = 200
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
E = TypeVar("E", bound=StrEnum)


def limit(request: web.Request, default: int = DEFAULT_LIMIT) -> int:
    text = request.query.get("limit", str(default))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequest(f"limit is a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def one_of(kind: type[E], request: web.Request, name: str) -> E | None:
    text = request.query.get(name, "").strip()
    return None if not text else member(kind, text, name)


def member(kind: type[E], text: str, name: str) -> E:
    """The value of `kind` that `text` names, in any case."""
    try:
        return kind(text.strip().upper())
    except ValueError:
        raise BadRequest(f"{name} is one of {', '.join(kind)}.") from None


def some_of(kind: type[E], request: web.Request, name: str) -> tuple[E, ...]:
    """The values of `kind` that are named, in its order; empty parameters do not count."""
    named = {member(kind, text, name) for text in request.query.getall(name, ()) if text.strip()}
    return tuple(value for value in kind if value in named)


def words(request: web.Request, name: str) -> str | None:
    """What somebody looks for, composed as names are when they come in (NFC)."""
    text = unicodedata.normalize("NFC", request.query.get(name, "")).strip()
    return text[:MAX_WORDS].replace("\0", "") or None


def moment(request: web.Request, name: str, *, now: float) -> float | None:
    """A time in RFC 3339, a day, or so long ago: `24h`, `7d`."""
    text = request.query.get(name, "").strip()
    if not text:
        return None
    if ago := re.fullmatch(r"([0-9]{1,6})([mhdw])", text):
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(
            f"{name} is a time such as 2026-11-25T08:00:00Z, a day such as 2026-11-25, or so long "
            "ago: 30m, 24h, 7d, 4w."
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def id_cursor(request: web.Request) -> str | None:
    """Of a list that is in the order of its ids."""
    cursor = request.query.get("cursor") or None
    if cursor is not None and not is_id(cursor):
        raise _no_cursor()
    return cursor


def number_cursor(request: web.Request) -> int | None:
    """Of a list that is in the order of its numbers."""
    cursor = request.query.get("cursor") or None
    if cursor is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", cursor):
        raise _no_cursor()
    return int(cursor)


def _no_cursor() -> BadRequest:
    return BadRequest("cursor is the nextCursor of an earlier answer.")
