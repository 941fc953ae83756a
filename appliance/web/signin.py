"""Signing in and out: a key or a one-time link begins a session, a cookie carries it."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from appliance.database import keys
from appliance.database.keys import Ended
from appliance.errors import BadRequest, RequestTimeout
from appliance.keys import ApiKey, hash_secret
from appliance.web.auth import cookie_name, forget, require_same_origin, valid_key
from appliance.web.forms import safe_next
from appliance.web.guesses import Guess
from appliance.web.services import USER, services, user
from appliance.web.sessions import begin_session, carry
from appliance.web.templates import render_page

log = structlog.get_logger()

FORM_S = 30.0
"""Longest time for the few bytes of the sign-in form: anybody may begin to send one."""


def signin_page(
    request: web.Request,
    *,
    target: str,
    token: str | None = None,
    error: str | None = None,
    unsent: str | None = None,
    signed_out_of: str | None = None,
    status: int = 200,
) -> web.Response:
    """`token`: of a one-time link. `unsent`: what was sent in vain, `files` or another form.
    `signed_out_of`: where one may sign out of the provider too."""
    sign_in = services(request).sign_in
    context = {
        "provider": None if sign_in is None else sign_in.name,
        "signed_out_of": signed_out_of,
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
    return signin_page(
        request,
        token=request.query.get("token"),
        target=safe_next(request.query.get("next")),
        unsent=request.query.get("unsent"),
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
        return signin_page(request, target=target, error=fault, status=401)
    token = await begin_session(request, owner=key.owner, key_id=key.id)
    log.info("signed_in", owner=key.owner, remote=request.remote)
    response = web.Response(status=303, headers={"Location": target})
    carry(request, response, token)
    return response


async def _key_of_link(request: web.Request, token: str) -> ApiKey | None:
    """The key that a one-time link signs in, which is used up by this. Raises TooManyAttempts."""
    shared, guess = services(request), Guess.of_link(request.remote, token)
    await shared.guesses.charge(guess)
    now = shared.clock.now()
    key = await shared.database.write(keys.use_signin_link(guess.secret_hash, now=now))
    return key if key is not None and key.is_valid(now) else None


async def sign_out(request: web.Request) -> web.StreamResponse:
    """POST /signout: who is signed in at a provider too is offered to sign out there."""
    sign_in = services(request).sign_in
    token = request.cookies.get(cookie_name(request))
    if token:
        hashed = hash_secret(token)
        await services(request).database.write(keys.end_session(hashed))
        await forget(services(request), Ended(token_hashes=(hashed,)))
    if sign_in is not None and user(request).key_id is None:
        request[USER] = None  # the page is for somebody who is not signed in
        address = await sign_in.provider.signout_address(f"{services(request).public_url}/signin")
        response = signin_page(request, target="/", signed_out_of=address)
    else:
        response = web.Response(status=303, headers={"Location": "/signin"})
    response.del_cookie(cookie_name(request), path="/")
    return response
