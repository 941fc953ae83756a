"""GET /dashboard/access: one's own sessions; for an admin, the keys and everybody's sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.database import keys, ownership, people
from appliance.database.ownership import Taken
from appliance.database.protocol import Transaction
from appliance.keys import ApiKey, Session
from appliance.people import Person
from appliance.permissions import EVERY_SCOPE, Permission, Role
from appliance.principals import Principal
from appliance.web import words
from appliance.web.services import services, user
from appliance.web.templates import render_page

SHOWN = 100
"""Of keys and of sessions, the newest; GET /keys and GET /sessions have all."""

ROLES = {
    Role.USER: "User: uploads, and sees its own",
    Role.VIEWER: "Viewer: sees everything, changes nothing",
    Role.OPERATOR: "Operator: also stops, retries and pauses",
    Role.ADMIN: "Admin: everything",
}
SCOPES = {
    "admin": "Everything that the role allows",
    "upload": "Uploading only",
    "upload read": "Uploading and reading",
    "read": "Reading only",
    "upload read manage": "Uploading, reading, changing jobs",
}
"""The choices of the form; over HTTP any mixture is possible."""
EXPIRIES = {
    str(90 * 24 * 3600): "In 90 days",
    str(365 * 24 * 3600): "In a year",
    "": "When it is revoked",
}


async def show_access(
    request: web.Request, *, made: tuple[ApiKey, str] | None = None
) -> web.Response:
    """`made`: a key that was made just now, with its secret, which is shown this once."""
    shared, asking = services(request), user(request)
    now = shared.clock.now()
    seen = await shared.database.read(_seen(asking, now))
    context = {
        "made": None if made is None else {"name": made[0].name, "secret": made[1]},
        "keys": [_key(key, now, seen.taken.get(f"key:{key.id}")) for key in seen.keys],
        "people": seen.people,
        "taken": seen.taken,
        "sessions": [_session(one, asking) for one in seen.sessions],
        "roles": ROLES,
        "scopes": SCOPES,
        "expiries": EXPIRIES,
    }
    return render_page(request, "access.html", context, status=200 if made is None else 201)


class Seen(NamedTuple):
    keys: list[ApiKey]
    people: list[Person]
    sessions: list[Session]
    taken: dict[str, Taken]
    """What the owners behind these keys and people have here."""


def _seen(asking: Principal, now: float) -> Transaction[Seen]:
    sessions = yield from keys.sessions(owner=asking.sessions_of, now=now, limit=SHOWN)
    if not asking.may(Permission.ADMINISTER):
        return Seen([], [], sessions, {})
    found = yield from keys.page(limit=SHOWN)
    persons = yield from people.latest(limit=SHOWN)
    owners = [*(f"key:{key.id}" for key in found), *(person.owner for person in persons)]
    return Seen(found, persons, sessions, (yield from ownership.taken_by(owners)))


def _key(key: ApiKey, now: float, taken: Taken | None) -> Mapping[str, Any]:
    every = set(key.scopes) == set(EVERY_SCOPE) or "admin" in key.scopes
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "scopes": "" if every else ", ".join(key.scopes),
        "state": key.state(now),
        "created_at": key.created_at,
        "quota_bytes": key.quota_bytes,
        "taken": taken,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
    }


def _session(session: Session, asking: Principal) -> Mapping[str, Any]:
    return {
        "id": session.id,
        "name": session.name,
        "role": session.role,
        "agent": words.plain(session.agent or "A browser"),
        "address": session.address,
        "created_at": session.created_at,
        "last_used_at": session.last_used_at,
        "current": session.id == asking.session_id,
    }
