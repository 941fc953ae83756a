"""People who sign in at a provider, for an admin: GET /people, POST /people/{personId}/block and
/unblock."""

from __future__ import annotations

from aiohttp import web

from appliance.database import audit, keys, people
from appliance.database.protocol import Transaction
from appliance.errors import NotFound
from appliance.people import Person
from appliance.web import forms
from appliance.web.auth import forget
from appliance.web.documents import PersonList
from appliance.web.representation import json_response, person_document
from appliance.web.services import services, user

MOST = 500
"""Of people in a list, those who signed in last."""


async def list_people(request: web.Request) -> web.StreamResponse:
    """GET /people: who signed in last first."""
    found = await services(request).database.read(people.latest(limit=MOST))
    return json_response(PersonList(people=[person_document(person) for person in found]))


async def block(request: web.Request) -> web.StreamResponse:
    """POST /people/{personId}/block: signed out at once, and not let in again."""
    return await _set_blocked(request, "person.block", services(request).clock.now())


async def unblock(request: web.Request) -> web.StreamResponse:
    """POST /people/{personId}/unblock"""
    return await _set_blocked(request, "person.unblock", None)


async def _set_blocked(
    request: web.Request, action: str, blocked_at: float | None
) -> web.StreamResponse:
    asked = await forms.read_next(request)
    shared, actor = services(request), user(request).owner

    def setting() -> Transaction[tuple[Person, keys.Ended] | None]:
        person = yield from people.set_blocked(request.match_info["person_id"], blocked_at)
        if person is None:
            return None
        yield from audit.add(
            actor=actor, action=action, subject=person.owner, now=shared.clock.now(), detail={}
        )
        blocked = blocked_at is not None
        return person, (yield from keys.end_sessions_of(person.owner)) if blocked else keys.Ended()

    found = await shared.database.write(setting())
    if found is None:
        raise NotFound("There is no such person. GET /people lists them.")
    person, ended = found
    await shared.coordination.delete(f"blocked:{person.owner}")
    await forget(shared, ended)
    return forms.answer(request, asked, person_document(person))
