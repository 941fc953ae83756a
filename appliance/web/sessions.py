"""A browser's session: how it begins, and the cookie that carries it."""

from __future__ import annotations

from aiohttp import web

from appliance.database import keys
from appliance.database.keys import Ended
from appliance.database.protocol import Transaction
from appliance.ids import new_id
from appliance.keys import hash_secret, new_token
from appliance.web.auth import cookie_name, forget, is_https
from appliance.web.services import services
from appliance.web.words import plain

SESSION_S = 30 * 24 * 3600
AGENT_CHARACTERS = 200
"""Of what a browser calls itself, as much is kept."""


async def begin_session(
    request: web.Request, *, owner: str, key_id: str | None = None, person_id: str | None = None
) -> str:
    """A new session's token, of a key or of a person.

    The session that the browser came with ends: whoever planted its cookie, or had it before, does
    not get in with it (session fixation, ASVS 5.0, 7.2.4).
    """
    shared, token = services(request), new_token()
    now = shared.clock.now()
    former = request.cookies.get(cookie_name(request))

    def begin() -> Transaction[None]:
        if former:
            yield from keys.end_session(hash_secret(former))
        yield from keys.start_session(
            new_id(),
            owner=owner,
            key_id=key_id,
            person_id=person_id,
            token_hash=hash_secret(token),
            now=now,
            expires_at=now + SESSION_S,
            address=request.remote,
            agent=plain(request.headers.get("User-Agent", ""))[:AGENT_CHARACTERS] or None,
        )

    await shared.database.write(begin())
    if former:
        await forget(shared, Ended(token_hashes=(hash_secret(former),)))
    return token


def carry(request: web.Request, response: web.StreamResponse, token: str) -> None:
    """Give the browser the session's cookie."""
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=SESSION_S,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=is_https(request),
    )
