"""Signing in and out: a key or a one-time link begins a session, a cookie carries it."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from appliance.database import keys
from appliance.database.keys import Ended
from appliance.database.protocol import Transaction
from appliance.errors import BadRequest, RequestTimeout
from appliance.ids import new_id
from appliance.keys import ApiKey, hash_secret, new_token
from appliance.web.auth import cookie_name, forget, is_https, require_same_origin, valid_key
from appliance.web.forms import safe_next
from appliance.web.services import services
from appliance.web.templates import render_page
from appliance.web.words import plain

log = structlog.get_logger()

SESSION_S = 30 * 24 * 3600
FORM_S = 30.0
"""Longest time for the few bytes of the sign-in form: anybody may begin to send one."""
AGENT_CHARACTERS = 200
"""Of what a browser calls itself, as much is kept."""


def _signin_page(
    request: web.Request,
    *,
    token: str | None,
    target: str,
    error: str | None,
    unsent: bool = False,
    status: int = 200,
) -> web.Response:
    context = {
        "token": token,
        "next": target,
        "error": error,
        "unsent": unsent,
        "key_file_hint": "admin.key in the data directory",
    }
    return render_page(request, "signin.html", context, status=status)


async def show_signin(request: web.Request) -> web.StreamResponse:
    """GET /signin: the form; with `?token=` of a one-time link, one button.

    The link is used up by the POST only: mail scanners and previews fetch links.
    """
    return _signin_page(
        request,
        token=request.query.get("token"),
        target=safe_next(request.query.get("next")),
        error=None,
        unsent=request.query.get("unsent") == "1",
    )


async def sign_in(request: web.Request) -> web.StreamResponse:
    """POST /signin: a key or a one-time token in, a session cookie out."""
    require_same_origin(request)
    try:
        async with asyncio.timeout(FORM_S):
            form = await request.post()
    except TimeoutError:
        raise RequestTimeout(f"The form was not complete within {FORM_S:g} s.") from None
    except (ValueError, LookupError) as error:
        raise BadRequest("The form cannot be read. Send it as this server's page does.") from error
    target = safe_next(str(form.get("next", "")))
    if form.get("token"):
        key = await _key_of_link(request, str(form["token"]))
        fault = "This link was used already, or is too old. Sign in with a key instead."
    else:
        key = await valid_key(request, str(form.get("key", "")).strip())
        fault = "This key is unknown, expired or revoked."
    if key is None:
        log.warning("signin_refused", remote=request.remote)
        return _signin_page(request, token=None, target=target, error=fault, status=401)
    token = await _begin_session(request, key)
    log.info("signed_in", owner=key.owner, remote=request.remote)
    response = web.Response(status=303, headers={"Location": target})
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=SESSION_S,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=is_https(request),
    )
    return response


async def _key_of_link(request: web.Request, token: str) -> ApiKey | None:
    """The key that a one-time link signs in, which is used up by this. Raises TooManyAttempts."""
    shared, hashed = services(request), hash_secret(token)
    shared.guesses.charge(request.remote, token, hashed)
    now = shared.clock.now()
    key = await shared.database.write(keys.use_signin_link(hashed, now=now))
    return key if key is not None and key.is_valid(now) else None


async def _begin_session(request: web.Request, key: ApiKey) -> str:
    """A new session's token. The session that the browser came with ends: whoever planted its
    cookie, or had it before, does not get in with it (session fixation, ASVS 5.0, 7.2.4)."""
    shared, token = services(request), new_token()
    now = shared.clock.now()
    former = request.cookies.get(cookie_name(request))

    def begin() -> Transaction[None]:
        if former:
            yield from keys.end_session(hash_secret(former))
        yield from keys.start_session(
            new_id(),
            key.id,
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


async def sign_out(request: web.Request) -> web.StreamResponse:
    """POST /signout"""
    token = request.cookies.get(cookie_name(request))
    if token:
        hashed = hash_secret(token)
        await services(request).database.write(keys.end_session(hashed))
        await forget(services(request), Ended(token_hashes=(hashed,)))
    response = web.Response(status=303, headers={"Location": "/signin"})
    response.del_cookie(cookie_name(request), path="/")
    return response
