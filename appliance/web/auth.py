"""Who asks, and whether they may: bearer keys for programs, a session cookie for browsers.

A one-time link or a key begins a session. Every route says in `appliance.web.routes` who may
use it; this middleware is the one place that holds requests to that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import web

from appliance.database import keys
from appliance.errors import BadRequest, Forbidden, NotSignedIn, RequestTimeout
from appliance.keys import ApiKey, Role, hash_secret, new_token
from appliance.web.forms import safe_next
from appliance.web.services import ACCESS, USER, Access, User, services
from appliance.web.templates import render_page

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SESSION_S = 30 * 24 * 3600
KEY_CACHE_S = 1.0
"""How long a looked-up key is believed; a revoked one works for no longer than this."""

FORM_S = 30.0
"""Longest time for the few bytes of the sign-in form: anybody may begin to send one."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def cookie_name(request: web.Request) -> str:
    """`__Host-` ties the cookie to this very host, but browsers want TLS for it."""
    return "__Host-appliance" if _is_https(request) else "appliance"


def _is_https(request: web.Request) -> bool:
    return services(request).public_url.startswith("https:")


@web.middleware
async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    access = request.app[ACCESS].get(request.match_info.handler, Access.PUBLIC)
    try:
        found = await _identify(request)
    except NotSignedIn:
        if access is not Access.PUBLIC:
            raise
        found = None  # a probe or a proxy may send a header of its own
    request[USER] = found
    if access is Access.PUBLIC:
        return await handler(request)
    if found is None:
        raise NotSignedIn(
            "Send `Authorization: Bearer <API key>`, or sign in at /signin. "
            "`appliance keys create` makes a key."
        )
    if access is Access.ADMIN and found.key.role is not Role.ADMIN:
        raise Forbidden("This needs an admin's key.")
    if found.by_session and request.method not in _SAFE_METHODS:
        _require_same_origin(request)
    return await handler(request)


async def _identify(request: web.Request) -> User | None:
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NotSignedIn("Only `Authorization: Bearer <API key>` is understood.")
        key = await _key_of("key", secret.strip(), request)
        if key is None:
            raise NotSignedIn("This key is unknown, expired or revoked.")
        return User(key=key, by_session=False)
    token = request.cookies.get(cookie_name(request))
    if token:
        key = await _key_of("session", token, request)
        if key is not None:
            return User(key=key, by_session=True)
    return None


async def _key_of(kind: str, secret: str, request: web.Request) -> ApiKey | None:
    """The valid key behind a key's or a session's secret."""
    shared = services(request)
    hashed = hash_secret(secret)
    cached = await shared.coordination.get(f"{kind}:{hashed}")
    if cached is not None:
        return msgspec.json.decode(cached, type=ApiKey)
    now = shared.clock.now()
    lookup = keys.by_secret(hashed) if kind == "key" else keys.by_session(hashed, now=now)
    key = await shared.database.read(lookup)
    if key is None or not key.is_valid(now):
        return None
    await shared.coordination.set(f"{kind}:{hashed}", msgspec.json.encode(key), ttl_s=KEY_CACHE_S)
    return key


def _require_same_origin(request: web.Request) -> None:
    """A page of another site must not act with this browser's session (CSRF).

    Browsers send `Origin` with every state-changing request; where one does not,
    `Sec-Fetch-Site` tells. Source: OWASP CSRF Prevention Cheat Sheet, "Verifying Origin".
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        own = {request.host, urlsplit(services(request).public_url).netloc}
        if origin.partition("://")[2] in own:  # scheme://host[:port] and nothing else: RFC 6454
            return
    elif request.headers.get("Sec-Fetch-Site") in ("same-origin", "none"):
        return
    raise Forbidden(
        "This request came from a page of another site, or does not tell from where. A program "
        "sends `Authorization: Bearer <API key>` instead of a session's cookie."
    )


# --- signing in and out --------------------------------------------------------------------


def _signin_page(
    request: web.Request, *, token: str | None, target: str, error: str | None, status: int = 200
) -> web.Response:
    context = {
        "token": token,
        "next": target,
        "error": error,
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
    )


async def sign_in(request: web.Request) -> web.StreamResponse:
    """POST /signin: a key or a one-time token in, a session cookie out."""
    _require_same_origin(request)
    try:
        async with asyncio.timeout(FORM_S):
            form = await request.post()
    except TimeoutError:
        raise RequestTimeout(f"The form was not complete within {FORM_S:g} s.") from None
    except (ValueError, LookupError) as error:
        raise BadRequest("The form cannot be read. Send it as this server's page does.") from error
    target = safe_next(str(form.get("next", "")))
    shared = services(request)
    now = shared.clock.now()
    if form.get("token"):
        hashed = hash_secret(str(form["token"]))
        key = await shared.database.write(keys.use_signin_link(hashed, now=now))
        fault = "This link was used already, or is too old. Sign in with a key instead."
    else:
        hashed = hash_secret(str(form.get("key", "")).strip())
        key = await shared.database.read(keys.by_secret(hashed))
        fault = "This key is unknown, expired or revoked."
    if key is None or not key.is_valid(now):
        log.warning("signin_refused", remote=request.remote)
        return _signin_page(request, token=None, target=target, error=fault, status=401)
    token = new_token()
    await shared.database.write(
        keys.start_session(
            key.id, token_hash=hash_secret(token), now=now, expires_at=now + SESSION_S
        )
    )
    log.info("signed_in", owner=key.owner, remote=request.remote)
    response = web.Response(status=303, headers={"Location": target})
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=SESSION_S,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=_is_https(request),
    )
    return response


async def sign_out(request: web.Request) -> web.StreamResponse:
    """POST /signout"""
    token = request.cookies.get(cookie_name(request))
    if token:
        hashed = hash_secret(token)
        await services(request).database.write(keys.end_session(hashed))
        await services(request).coordination.delete(f"session:{hashed}")
    response = web.Response(status=303, headers={"Location": "/signin"})
    response.del_cookie(cookie_name(request), path="/")
    return response
