"""API keys and sessions over HTTP: GET and POST /keys, DELETE /keys/{keyId}, GET /sessions,
DELETE /sessions/{sessionId}.

Keys are an admin's. Everybody sees and ends their own sessions, an admin everybody's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web
from multidict import MultiDict

from appliance import admin_key
from appliance.database import audit, keys
from appliance.database.protocol import Transaction
from appliance.errors import BadRequest, NotFound
from appliance.permissions import EVERY_SCOPE, Role, Scope
from appliance.web import access_page, filters, forms, queries
from appliance.web.auth import forget
from appliance.web.documents import KeyMade, KeyPage, SessionPage
from appliance.web.problems import wants_page
from appliance.web.representation import json_response, key_document, session_document
from appliance.web.services import services, user

LONGEST_S = 10 * 365 * 24 * 3600.0
MAX_NAME = 100
NO_STORE = {"Cache-Control": "no-store"}


class NewKey(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What a key is to be; neither `expiresAt` nor `expiresInS`: valid until it is revoked."""

    name: str
    role: Role = Role.USER
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)] = EVERY_SCOPE
    expires_at: str | None = None
    expires_in_s: float | None = None
    quota_bytes: Annotated[int, msgspec.Meta(ge=1, le=2**62)] | None = None

    def name_given(self) -> str:
        name = " ".join(self.name.split())
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise BadRequest(f"name says what the key is for, in 1 to {MAX_NAME} characters.")
        return name

    def expires(self, now: float) -> float | None:
        if self.expires_at is not None and self.expires_in_s is not None:
            raise BadRequest("Send either expiresAt or expiresInS, not both.")
        if self.expires_in_s is not None:
            if not math.isfinite(self.expires_in_s) or not 0 < self.expires_in_s <= LONGEST_S:
                raise BadRequest("expiresInS is a number of seconds, above 0, at most ten years.")
            return now + self.expires_in_s
        if self.expires_at is None:
            return None
        expires_at = filters.time_in("expiresAt", self.expires_at)
        if not now < expires_at <= now + LONGEST_S:
            raise BadRequest("expiresAt lies ahead, by at most ten years.")
        return expires_at


# --- keys ----------------------------------------------------------------------------------


async def list_keys(request: web.Request) -> web.StreamResponse:
    """GET /keys?limit=&cursor=: newest first, without their secrets."""
    shared, limit, cursor = services(request), queries.limit(request), queries.id_cursor(request)
    found = await shared.database.read(keys.page(limit=limit + 1, before=cursor))
    page, now = found[:limit], shared.clock.now()
    document: KeyPage = {
        "keys": [key_document(key, now) for key in page],
        "nextCursor": page[-1].id if len(found) > limit else None,
    }
    return json_response(document)


async def create_key(request: web.Request) -> web.StreamResponse:
    """POST /keys: the answer is the only one that ever shows the secret."""
    asked = await forms.read(request)
    wanted = asked.to(NewKey, shape=_of_form)
    shared = services(request)
    now = shared.clock.now()
    key, secret = await admin_key.create_key(
        shared.database,
        name=wanted.name_given(),
        role=wanted.role,
        scopes=tuple(dict.fromkeys(wanted.scopes)),
        expires_at=wanted.expires(now),
        quota_bytes=wanted.quota_bytes,
        now=now,
        actor=user(request).owner,
    )
    if asked.form is not None and wants_page(request):
        return await access_page.show_access(request, made=(key, secret))
    document: KeyMade = {**key_document(key, now), "key": secret}
    return json_response(document, status=201, headers=NO_STORE)


def _of_form(form: MultiDict[str]) -> Mapping[str, Any]:
    """Scopes stand with blanks between, as OAuth writes them (RFC 6749, 3.3)."""
    document: dict[str, Any] = dict(form)
    if "scopes" in form:
        document["scopes"] = " ".join(form.getall("scopes")).split()
    return document


async def revoke_key(request: web.Request) -> web.StreamResponse:
    """DELETE /keys/{keyId}: it ends at once, and its sessions with it."""
    return await _revoke(request)


async def revoke_key_by_form(request: web.Request) -> web.StreamResponse:
    """POST /keys/{keyId}/revoke: forms know no DELETE."""
    return await _revoke(request)


async def _revoke(request: web.Request) -> web.StreamResponse:
    asked = await forms.read_next(request)
    shared = services(request)
    ended = await admin_key.revoke_key(
        shared.database,
        request.match_info["key_id"],
        now=shared.clock.now(),
        actor=user(request).owner,
    )
    if ended is None:
        raise NotFound("There is no such key, or it was revoked before. GET /keys lists them.")
    await forget(shared, ended)
    return forms.answer(request, asked, None)


# --- sessions ------------------------------------------------------------------------------


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """GET /sessions?limit=&cursor=: those in force, newest first."""
    shared, limit, cursor = services(request), queries.limit(request), queries.id_cursor(request)
    asking = user(request)
    found = await shared.database.read(
        keys.sessions(
            owner=asking.sessions_of, now=shared.clock.now(), limit=limit + 1, before=cursor
        )
    )
    page, current = found[:limit], asking.session_id
    document: SessionPage = {
        "sessions": [session_document(one, current=one.id == current) for one in page],
        "nextCursor": page[-1].id if len(found) > limit else None,
    }
    return json_response(document)


async def end_session(request: web.Request) -> web.StreamResponse:
    """DELETE /sessions/{sessionId}"""
    return await _end(request)


async def end_session_by_form(request: web.Request) -> web.StreamResponse:
    """POST /sessions/{sessionId}/end: forms know no DELETE."""
    return await _end(request)


async def _end(request: web.Request) -> web.StreamResponse:
    asked = await forms.read_next(request)
    shared, asking = services(request), user(request)
    session_id, now = request.match_info["session_id"], shared.clock.now()

    def ending() -> Transaction[keys.Ended | None]:
        found = yield from keys.end_session_by_id(session_id, owner=asking.sessions_of)
        if found is None:
            return None
        ended, owner = found
        if owner != asking.owner:
            yield from audit.add(
                actor=asking.owner,
                action="session.end",
                subject=owner,
                now=now,
                detail={"session": session_id},
            )
        return ended

    ended = await shared.database.write(ending())
    if ended is None:
        raise NotFound("There is no such session, or it is not yours. GET /sessions lists them.")
    await forget(shared, ended)
    return forms.answer(request, asked, None)
