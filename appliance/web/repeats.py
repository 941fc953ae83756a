"""What a client says about doing the same again: `Idempotency-Key` and `?dedupe=1`.

The key is a string in quotes (draft-ietf-httpapi-idempotency-key-header, section 2.1), or a bare
word, as most clients send it; the two are the same key.
"""

from __future__ import annotations

import re

from aiohttp import web

from appliance.errors import BadRequest
from appliance.intake.receiver import Repeatable

MAX_KEY_CHARS = 255
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_WORD = re.compile(r"[!#-+\--:<-~]+")


def repeatable(request: web.Request) -> Repeatable:
    """Raises BadRequest."""
    dedupe = request.query.get("dedupe", "").strip() or "0"
    if dedupe not in ("0", "1"):
        raise BadRequest("dedupe is 1 or 0.")
    return Repeatable(idempotency_key=idempotency_key(request), dedupe=dedupe == "1")


def idempotency_key(request: web.Request) -> str | None:
    """Raises BadRequest."""
    fields = request.headers.getall("Idempotency-Key", [])
    if not fields:
        return None
    text = fields[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if (
        len(fields) > 1
        or not (quoted or _WORD.fullmatch(text))
        or not 0 < len(key) <= MAX_KEY_CHARS
    ):
        raise BadRequest(
            f"Idempotency-Key is one string of 1 to {MAX_KEY_CHARS} characters of ASCII, such as "
            '"8e03978e-40d5-43e8-bc93-6894a57f9324".'
        )
    return key
