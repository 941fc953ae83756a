"""Signing in at an OpenID provider: GET /signin/oidc, GET /signin/oidc/callback, and the
provider's own POST /signin/oidc/logout.

What belongs to a sign-in under way is in a cookie of the browser that began it, so nobody can be
made to finish somebody else's, and any server can take the answer. The code that comes back is
good once, at the provider, and only with the verifier from that cookie.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import structlog
from aiohttp import web

from appliance.database import keys, people
from appliance.errors import BadRequest, IssuerUnavailable, NotFound, SignInRefused
from appliance.ids import new_id
from appliance.keys import new_token
from appliance.people import Person, owner_of
from appliance.principals import is_owner
from appliance.web import forms
from appliance.web.auth import cookie_name, forget, is_https
from appliance.web.identity_provider import Flow, SignIn
from appliance.web.services import services
from appliance.web.sessions import begin_session, carry
from appliance.web.signin import signin_page
from appliance.web.words import plain

log = structlog.get_logger()

FLOW_S = 600
MAX_NAME = 100


async def begin(request: web.Request) -> web.StreamResponse:
    """GET /signin/oidc?next=: on to the provider."""
    provider = _sign_in(request).provider
    flow = Flow(
        state=new_token(),
        nonce=new_token(),
        verifier=new_token() + new_token(),
        target=forms.safe_next(request.query.get("next")),
    )
    try:
        address = await provider.address_of(flow)
    except IssuerUnavailable as error:
        return signin_page(request, target=flow.target, error=error.detail, status=503)
    response = web.Response(status=303, headers={"Location": address})
    response.set_cookie(
        _flow_cookie(request),
        base64.urlsafe_b64encode(msgspec.json.encode(flow)).decode(),
        max_age=FLOW_S,
        path="/",
        httponly=True,
        samesite="Lax",  # the provider leads back here, from another site
        secure=is_https(request),
    )
    return response


async def finish(request: web.Request) -> web.StreamResponse:
    """GET /signin/oidc/callback: back from the provider, with a code."""
    provider, flow = _sign_in(request).provider, _flow(request)
    try:
        if flow is None:
            raise SignInRefused("This sign-in was not begun here, or is too old. Begin again.")
        claims = await provider.claims(request.query, flow)
        person = await _welcome(request, claims)
    except (SignInRefused, IssuerUnavailable) as error:
        log.warning("signin_refused", remote=request.remote, reason=error.detail)
        response = signin_page(
            request,
            target="/" if flow is None else flow.target,
            error=plain(error.detail),
            status=403 if isinstance(error, SignInRefused) else 503,
        )
    else:
        token = await begin_session(request, owner=person.owner, person_id=person.id)
        log.info("signed_in", owner=person.owner, remote=request.remote)
        assert flow is not None
        response = web.Response(status=303, headers={"Location": flow.target})
        carry(request, response, token)
    response.del_cookie(_flow_cookie(request), path="/")
    return response


async def signed_out_there(request: web.Request) -> web.StreamResponse:
    """POST /signin/oidc/logout: the provider tells that somebody has signed out there."""
    provider, shared = _sign_in(request).provider, services(request)
    form = (await forms.read(request)).form
    token = None if form is None else form.get("logout_token")
    if not isinstance(token, str):
        raise BadRequest("A provider sends logout_token, as a form.")
    owner = owner_of(provider.issuer, await provider.signed_out(token))
    ended = await shared.database.write(keys.end_sessions_of(owner))
    await forget(shared, ended)
    log.info("signed_out_at_provider", owner=owner, sessions=len(ended.token_hashes))
    return web.Response(headers={"Cache-Control": "no-store"})


async def _welcome(request: web.Request, claims: dict[str, Any]) -> Person:
    """The person of these claims, as they are from now on. Raises SignInRefused."""
    sign_in, shared = _sign_in(request), services(request)
    owner = owner_of(sign_in.provider.issuer, str(claims["sub"]))
    role = sign_in.roles.role(claims)
    if not is_owner(owner):
        raise SignInRefused("The provider's name for you (`sub`) has characters that none has.")
    if role is None:
        raise SignInRefused(
            "You are in none of the groups that may use this server. Ask who runs it."
        )
    names = [claims.get(name) for name in ("name", "preferred_username", "email", "sub")]
    name = next(plain(one)[:MAX_NAME] for one in names if isinstance(one, str) and one.strip())
    email = claims.get("email")
    now = shared.clock.now()
    person = await shared.database.write(
        people.welcome(
            Person(
                id=new_id(),
                owner=owner,
                name=name,
                email=plain(email)[:254] if isinstance(email, str) else None,
                role=role,
                first_seen_at=now,
                signed_in_at=now,
            )
        )
    )
    if person.blocked_at is not None:
        raise SignInRefused("You are blocked on this server. Ask who runs it.")
    return person


def _sign_in(request: web.Request) -> SignIn:
    found = services(request).sign_in
    if found is None:
        raise NotFound("Sign-in at a provider is not set up here (APPLIANCE_OIDC_ISSUER).")
    return found


def _flow_cookie(request: web.Request) -> str:
    return f"{cookie_name(request)}-signin"


def _flow(request: web.Request) -> Flow | None:
    try:
        kept = base64.urlsafe_b64decode(request.cookies.get(_flow_cookie(request), ""))
        flow = msgspec.json.decode(kept, type=Flow)
    except (ValueError, msgspec.MsgspecError):
        return None
    return msgspec.structs.replace(flow, target=forms.safe_next(flow.target))
