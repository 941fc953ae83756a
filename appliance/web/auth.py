"""Who asks, and whether they may: bearer keys and tokens for programs, cookies for browsers.

Every route says in `appliance.web.routes` which permission it needs; this middleware is the one
place that holds requests to that. How a session begins is in `appliance.web.signin`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from appliance.database import keys, people
from appliance.database.keys import Ended
from appliance.errors import (
    Forbidden,
    IssuerUnavailable,
    NotPermitted,
    NotSignedIn,
    TooManyAttempts,
)
from appliance.keys import ApiKey, hash_secret
from appliance.permissions import Permission, missing
from appliance.principals import Principal
from appliance.web import rate_limits, refusals
from appliance.web.guesses import Guess
from appliance.web.services import NEEDED, USER, Services, services, user
from appliance.web.tokens import looks_like_one

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEY_CACHE_S = 1.0
"""How long a looked-up key is believed. One that is revoked over HTTP is forgotten at once; one
that is revoked by the command, or on another server, works for no longer than this."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

FROM_THE_SYSTEM = "/share"
"""What the browser sends there of its own, when somebody shares with the installed app, comes from
no page: `Origin: null`, `Sec-Fetch-Site: none` (decision 33)."""


def cookie_name(request: web.Request) -> str:
    """`__Host-` ties the cookie to this very host, but browsers want TLS for it."""
    return "__Host-appliance" if is_https(request) else "appliance"


def is_https(request: web.Request) -> bool:
    return services(request).public_url.startswith("https:")


@web.middleware
async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    needed = request.app[NEEDED].get(request.match_info.handler)
    try:
        found = await _identify(request)
    except (NotSignedIn, TooManyAttempts, IssuerUnavailable):
        if needed is not None:
            raise
        found = None  # a probe or a proxy may send a header of its own
    request[USER] = found
    if found is not None:
        services(request).last_uses.note(found, services(request).clock.now())
    if rate_limits.is_counted(request):
        await services(request).rate_limits.take_request(request, found)
    if needed is None:
        return await handler(request)
    if found is None:
        raise NotSignedIn(
            "Send `Authorization: Bearer <API key>`, or sign in at /signin. "
            "`appliance keys create` makes a key."
        )
    try:
        require(request, needed)
        if found.session_id is not None and request.method not in _SAFE_METHODS:
            require_same_origin(request)
        return await handler(request)
    except NotPermitted as refusal:
        await refusals.record(request, refusal.permission)
        raise


def require(request: web.Request, permission: Permission) -> None:
    """Raises NotPermitted when whoever asks has not got `permission`."""
    asking = user(request)
    if not asking.may(permission):
        raise NotPermitted(missing(permission, asking.role), permission)


# --- who asks ------------------------------------------------------------------------------


async def _identify(request: web.Request) -> Principal | None:
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NotSignedIn("Only `Authorization: Bearer <API key>` is understood.")
        tokens = services(request).tokens
        if tokens is not None and looks_like_one(secret.strip()):
            guess = Guess.of_token(request.remote, secret.strip())
            found = await services(request).guesses.look_up(
                guess, lambda: tokens.principal(secret.strip())
            )
            if found is not None:
                await _let_in(services(request), found.owner)
            return found
        return await _by_key(request, secret.strip())
    token = request.cookies.get(cookie_name(request))
    return await _by_session(request, token) if token else None


async def still_signed_in(request: web.Request) -> bool:
    """Whether who asked was not signed out or revoked, and has not expired, since then.

    For answers that go on for longer than a key is believed.
    """
    try:
        return await _identify(request) is not None
    except (NotSignedIn, TooManyAttempts, IssuerUnavailable):
        return False


async def _by_key(request: web.Request, secret: str) -> Principal:
    shared, hashed = services(request), hash_secret(secret)
    cached = await _cached(shared, f"key:{hashed}")
    if cached is not None:
        return cached
    key = await valid_key(request, secret)
    if key is None:
        raise NotSignedIn("This key is unknown, expired or revoked.")
    return await _keep(shared, f"key:{hashed}", Principal.of_key(key))


async def valid_key(request: web.Request, secret: str) -> ApiKey | None:
    """The key with this secret; None for unknown, expired and revoked ones alike.

    Raises TooManyAttempts.
    """
    shared, guess = services(request), Guess.of_key(request.remote, secret)

    async def found() -> ApiKey | None:
        key = await shared.database.read(keys.by_secret(guess.secret_hash))
        return key if key is not None and key.is_valid(shared.clock.now()) else None

    return await shared.guesses.look_up(guess, found)


async def _by_session(request: web.Request, token: str) -> Principal | None:
    shared, guess = services(request), Guess.of_session(request.remote, token)
    cached = await _cached(shared, f"session:{guess.secret_hash}")
    if cached is not None:
        return cached

    async def found() -> Principal | None:
        now = shared.clock.now()
        return await shared.database.read(keys.by_session(guess.secret_hash, now=now))

    principal = await shared.guesses.look_up(guess, found)
    if principal is None:
        return None
    return await _keep(shared, f"session:{guess.secret_hash}", principal)


async def _let_in(shared: Services, owner: str) -> None:
    """A token is good until it expires, whatever becomes of who has it; so that is looked up.

    Raises NotSignedIn.
    """
    known = await shared.coordination.get(f"blocked:{owner}")
    if known is None:
        blocked = await shared.database.read(people.is_blocked(owner))
        known = b"blocked" if blocked else b""
        await shared.coordination.set(f"blocked:{owner}", known, ttl_s=KEY_CACHE_S)
    if known:
        raise NotSignedIn("You are blocked on this server. Ask who runs it.")


async def _cached(shared: Services, name: str) -> Principal | None:
    cached = await shared.coordination.get(name)
    return None if cached is None else msgspec.json.decode(cached, type=Principal)


async def _keep(shared: Services, name: str, principal: Principal) -> Principal:
    await shared.coordination.set(name, msgspec.json.encode(principal), ttl_s=KEY_CACHE_S)
    return principal


async def forget(shared: Services, ended: Ended) -> None:
    """Believe nothing more of what was revoked."""
    for hashed in ended.secret_hashes:
        await shared.coordination.delete(f"key:{hashed}")
    for hashed in ended.token_hashes:
        await shared.coordination.delete(f"session:{hashed}")


# --- from where ----------------------------------------------------------------------------


def require_same_origin(request: web.Request) -> None:
    """A page of another site must not act with this browser's session (CSRF).

    Browsers send `Origin` with every state-changing request; where one does not,
    `Sec-Fetch-Site` tells. Source: OWASP CSRF Prevention Cheat Sheet, "Verifying Origin".
    No page can have `none` sent, not one in a sandbox either, whose origin is `null` too: that is
    a navigation of the user's own (Fetch Metadata, 2.3).
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if origin == "null" and site == "none" and request.path == FROM_THE_SYSTEM:
        return
    if origin is not None:
        own = {request.host, urlsplit(services(request).public_url).netloc}
        if origin.partition("://")[2] in own:  # scheme://host[:port] and nothing else: RFC 6454
            return
    elif site in ("same-origin", "none"):
        return
    raise Forbidden(
        "This request came from a page of another site, or does not tell from where. A program "
        "sends `Authorization: Bearer <API key>` instead of a session's cookie."
    )
