"""Pauses of a type or an owner: who sees them, who sets and ends them.

Everybody sees what holds up their own jobs; an operator sees all, and sets and ends them.
"""

from __future__ import annotations

import math

import msgspec
from aiohttp import web

from appliance.database import pauses
from appliance.database.pauses import Kind, Pause
from appliance.errors import BadRequest
from appliance.jobs import JobType
from appliance.principals import is_owner
from appliance.web import filters, forms, queries
from appliance.web.documents import PauseList
from appliance.web.representation import json_response, pause_document
from appliance.web.services import services, user

MAX_REASON = 500
LONGEST_S = 10 * 365 * 24 * 3600.0


class Terms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """Why, and until when; neither `until` nor `forS`: until somebody ends it."""

    reason: str
    until: str | None = None
    for_s: float | None = None

    def reason_given(self) -> str:
        reason = " ".join(self.reason.split())
        if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable():
            raise BadRequest(
                f"reason says why, in 1 to {MAX_REASON} characters: others will read it."
            )
        return reason

    def ends_at(self, now: float) -> float | None:
        if self.until is not None and self.for_s is not None:
            raise BadRequest("Send either until or forS, not both.")
        if self.for_s is not None:
            if not math.isfinite(self.for_s) or not 0 < self.for_s <= LONGEST_S:
                raise BadRequest("forS is a number of seconds, above 0 and at most ten years.")
            return now + self.for_s
        if self.until is None:
            return None
        until = filters.time_in("until", self.until)
        if not now < until <= now + LONGEST_S:
            raise BadRequest("until lies ahead, by at most ten years.")
        return until


class Named(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    name: str


class NamedTerms(Terms, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    kind: str
    name: str


async def list_pauses(request: web.Request) -> web.StreamResponse:
    """GET /pauses"""
    shared = services(request)
    found = await shared.database.read(pauses.in_force(now=shared.clock.now()))
    scope = user(request).sees_only
    seen = [
        pause for pause in found if scope is None or pause.kind == "type" or pause.name == scope
    ]
    return json_response(PauseList(pauses=[pause_document(pause) for pause in seen]))


async def put_pause(request: web.Request) -> web.StreamResponse:
    """PUT /pauses/{kind}/{name}: begin one, or change the one in force."""
    kind, name = _subject(request.match_info["kind"], request.match_info["name"])
    asked = await forms.read(request)
    pause = await _begin(request, kind, name, asked.to(Terms))
    return forms.answer(request, asked, pause_document(pause))


async def delete_pause(request: web.Request) -> web.StreamResponse:
    """DELETE /pauses/{kind}/{name}"""
    kind, name = _subject(request.match_info["kind"], request.match_info["name"])
    await services(request).acts.resume(kind, name, actor=user(request).owner)
    return web.Response(status=204)


async def begin_pause(request: web.Request) -> web.StreamResponse:
    """POST /pauses: the same as PUT for forms, which know only POST."""
    asked = await forms.read(request)
    terms = asked.to(NamedTerms)
    kind, name = _subject(terms.kind, terms.name)
    pause = await _begin(request, kind, name, terms)
    return forms.answer(request, asked, pause_document(pause))


async def end_pause(request: web.Request) -> web.StreamResponse:
    """POST /pauses/end: the same as DELETE."""
    asked = await forms.read(request)
    named = asked.to(Named)
    kind, name = _subject(named.kind, named.name)
    await services(request).acts.resume(kind, name, actor=user(request).owner)
    return forms.answer(request, asked, None)


async def _begin(request: web.Request, kind: Kind, name: str, terms: Terms) -> Pause:
    shared = services(request)
    return await shared.acts.pause(
        kind,
        name,
        reason=terms.reason_given(),
        actor=user(request).owner,
        until=terms.ends_at(shared.clock.now()),
    )


def _subject(kind: str, name: str) -> tuple[Kind, str]:
    """What is paused. Raises BadRequest."""
    kind = kind.strip().lower()
    if kind == "type":
        return "type", queries.member(JobType, name, "name").value
    if kind == "owner":
        name = name.strip()
        if not is_owner(name):
            raise BadRequest("name is an owner as their jobs have it, such as key:<id of the key>.")
        return "owner", name
    raise BadRequest("kind is type or owner.")
