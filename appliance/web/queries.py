"""What the query of an address says, each value held to what it may be."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeVar

from aiohttp import web

from appliance.errors import BadRequest
from appliance.ids import is_id

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
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
