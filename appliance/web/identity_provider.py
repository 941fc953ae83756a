"""The OpenID provider that people sign in at: what it says of itself, and of them.

What it says of itself is fetched when it is first needed, so a server starts without it. Every
request goes out through `appliance.outgoing`.
Source: OpenID Connect Discovery 1.0; OpenID Connect Core 1.0, 3.1; RFC 9207.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import msgspec
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from appliance.clock import Clock
from appliance.errors import IssuerUnavailable, OutgoingFailed, SignInRefused
from appliance.outgoing import Outgoing
from appliance.people import GroupRoles
from appliance.web.jwks import Jwks

log = structlog.get_logger()

FRESH_S = 3600.0
LEEWAY_S = 30
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Metadata(msgspec.Struct, frozen=True):
    """What of the provider's configuration is used here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Flow(msgspec.Struct, frozen=True):
    """What a browser keeps while its person is at the provider."""

    state: str
    nonce: str
    verifier: str
    target: str
    """Where it goes afterwards."""


class _Granted(msgspec.Struct):
    id_token: str
    access_token: str


class IdentityProvider:
    def __init__(
        self,
        outgoing: Outgoing,
        clock: Clock,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        scopes: str,
        redirect_uri: str,
    ) -> None:
        self.issuer = issuer
        self._outgoing = outgoing
        self._clock = clock
        self._client_id = client_id
        self._client_secret = client_secret
        self._scopes = scopes
        self._redirect_uri = redirect_uri
        self._metadata: Metadata | None = None
        self._jwks: Jwks | None = None
        self._fetched_at = 0.0
        self._fetching = asyncio.Lock()

    # --- what it says of itself ---------------------------------------------------------------

    async def metadata(self) -> Metadata:
        """Raises IssuerUnavailable, with the mend where it is the configuration's fault."""
        async with self._fetching:
            if self._metadata is None or self._clock.monotonic() - self._fetched_at >= FRESH_S:
                await self._discover()
        assert self._metadata is not None
        return self._metadata

    async def _discover(self) -> None:
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = msgspec.json.decode(await self._outgoing.get(address), type=Metadata)
        except (OutgoingFailed, msgspec.MsgspecError) as error:
            reason = error.detail if isinstance(error, OutgoingFailed) else str(error)
            log.warning("issuer_not_discovered", issuer=self.issuer, reason=reason)
            if self._metadata is not None:
                return  # what was known an hour ago will do
            raise IssuerUnavailable(
                f"The provider's description at {address} cannot be read: {reason}"
            ) from error
        if found.issuer != self.issuer:
            raise IssuerUnavailable(
                f"The provider calls itself {found.issuer}. Set APPLIANCE_OIDC_ISSUER to just that."
            )
        if self._metadata is None or found.jwks_uri != self._metadata.jwks_uri:
            self._jwks = Jwks(found.jwks_uri, self._outgoing, self._clock)
        self._metadata, self._fetched_at = found, self._clock.monotonic()

    async def find(self, key_id: str | None) -> PyJWK | None:
        """A key of the provider, as `Jwks.find`."""
        await self.metadata()
        assert self._jwks is not None
        return await self._jwks.find(key_id)

    # --- signing in ---------------------------------------------------------------------------

    async def address_of(self, flow: Flow) -> str:
        """Where the browser is sent (authorization code flow, with PKCE: RFC 7636)."""
        challenge = _encoded(sha256(flow.verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._scopes,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = (await self.metadata()).authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def claims(self, answer: Mapping[str, str], flow: Flow) -> dict[str, Any]:
        """What the provider says of the person who came back with `answer`.

        Raises SignInRefused, IssuerUnavailable.
        """
        metadata = await self.metadata()
        if not hmac.compare_digest(answer.get("state", "").encode(), flow.state.encode()):
            raise SignInRefused("This sign-in was not begun here, or is too old. Begin again.")
        named = answer.get("iss")
        if named is None and metadata.authorization_response_iss_parameter_supported:
            raise SignInRefused("The answer does not say which provider it is from. Begin again.")
        if named is not None and named != self.issuer:
            raise SignInRefused("The answer is from another provider. Begin again.")
        if "error" in answer:
            said = answer.get("error_description") or answer["error"]
            raise SignInRefused(f"The provider did not sign you in: {said[:200]}")
        granted = await self._exchange(metadata, answer.get("code", ""), flow)
        claims = await self._of_id_token(granted, flow)
        if metadata.userinfo_endpoint is not None:
            claims = await self._userinfo(metadata.userinfo_endpoint, granted, claims) | claims
        return claims

    async def _exchange(self, metadata: Metadata, code: str, flow: Flow) -> _Granted:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": flow.verifier,
        }
        headers = {}
        if self._client_secret is None:
            form["client_id"] = self._client_id
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        try:
            body = await self._outgoing.post(metadata.token_endpoint, form, headers=headers)
            return msgspec.json.decode(body, type=_Granted)
        except (OutgoingFailed, msgspec.MsgspecError) as error:
            log.warning("code_not_exchanged", issuer=self.issuer, reason=str(error))
            raise SignInRefused(
                "The provider did not confirm the sign-in. Begin again; if that does not help, "
                "the server's log says why."
            ) from error

    async def _of_id_token(self, granted: _Granted, flow: Flow) -> dict[str, Any]:
        claims = await self._verified(granted.id_token, ["exp", "iat", "nonce"])
        if not hmac.compare_digest(str(claims["nonce"]).encode(), flow.nonce.encode()):
            raise SignInRefused("The provider's answer belongs to another sign-in. Begin again.")
        # The left half of the hash that the signature is of: SHA-512 with Ed25519.
        access_token = granted.access_token.encode()
        halves = (sha256(access_token).digest()[:16], sha512(access_token).digest()[:32])
        if claims.get("at_hash", _encoded(halves[0])) not in map(_encoded, halves):
            raise SignInRefused("The provider's two tokens do not belong together.")
        return claims

    async def _verified(self, token: str, required: list[str]) -> dict[str, Any]:
        """The claims of a token that the provider made for us. Raises SignInRefused."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self.find(header.get("kid"))
            if key is None or "crit" in header:
                raise SignInRefused("The provider's answer is signed with a key that it has not.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                issuer=self.issuer,
                audience=self._client_id,
                leeway=LEEWAY_S,
                options={"require": ["iss", "aud", *required]},
            )
        except PyJWTError as error:
            log.warning("id_token_refused", issuer=self.issuer, reason=str(error))
            raise SignInRefused(
                "The provider's answer is not valid (the log says why). If it says `not yet "
                "valid` or `expired`, the clocks of the two servers differ."
            ) from error
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims.get("azp", self._client_id if len(audiences) == 1 else None) != self._client_id:
            raise SignInRefused("The provider's answer is for another application.")
        return claims

    async def _userinfo(
        self, endpoint: str, granted: _Granted, claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {granted.access_token}"}
        try:
            body = await self._outgoing.get(endpoint, headers=headers)
            found = msgspec.json.decode(body, type=dict[str, Any])
        except (OutgoingFailed, msgspec.MsgspecError) as error:
            log.warning("userinfo_not_read", issuer=self.issuer, reason=str(error))
            raise IssuerUnavailable("The provider does not tell who you are; try again.") from error
        if found.get("sub") != claims["sub"]:  # token substitution: Core 1.0, 5.3.2
            raise SignInRefused("The provider's two answers are about different people.")
        return found

    # --- signing out --------------------------------------------------------------------------

    async def signed_out(self, logout_token: str) -> str:
        """Whom the provider has signed out, as their `sub` (Back-Channel Logout 1.0, 2.6).

        Raises SignInRefused.
        """
        claims = await self._verified(logout_token, ["exp", "iat", "jti", "sub"])
        events = claims.get("events")
        if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
            raise SignInRefused("This is no logout token.")
        return str(claims["sub"])

    async def signout_address(self, back_to: str) -> str | None:
        """Where people sign out of the provider itself (RP-Initiated Logout 1.0)."""
        try:
            endpoint = (await self.metadata()).end_session_endpoint
        except IssuerUnavailable:
            return None
        if endpoint is None:
            return None
        query = urlencode({"client_id": self._client_id, "post_logout_redirect_uri": back_to})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"


@dataclass(frozen=True)
class SignIn:
    """At a provider, and what its people become here."""

    provider: IdentityProvider
    roles: GroupRoles
    name: str
    """Of the provider, on the button."""


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
