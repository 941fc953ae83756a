"""JWT bearer tokens of an issuer that the owner trusts (RFC 7519, 9068, 8725).

Checked are the signature, with the one algorithm that the key is for; issuer, audience, expiry,
not-before; and that it is an access token. An ID token says who signed in to some application, and
was never meant to be sent here (OpenID Connect Core, 2): it is refused by its marks. `kid` only
looks a key up; `jku`, `x5u` and `jwk` are never followed, since they let the sender choose the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import jwt
from jwt import PyJWK
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from appliance.errors import NotSignedIn
from appliance.people import GroupRoles, owner_of
from appliance.permissions import EVERY_SCOPE
from appliance.principals import Principal

LEEWAY_S = 30
"""How far two clocks may be apart."""
MAX_CHARACTERS = 8192
_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})
"""RFC 9068 wants the first; most issuers still write `JWT`, or nothing."""
_ID_TOKEN_MARKS = ("nonce", "at_hash", "c_hash")


def looks_like_one(secret: str) -> bool:
    """`eyJ` is how a JSON object begins in base64url; API keys of ours never do."""
    return secret.startswith("eyJ") and secret.count(".") == 2


class KeySet(Protocol):
    async def find(self, key_id: str | None) -> PyJWK | None:
        """As `appliance.web.jwks.Jwks.find`."""
        ...


class Tokens:
    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        roles: GroupRoles,
        secret: str | None = None,
        jwks: KeySet | None = None,
    ) -> None:
        """Either a shared `secret` (HS256) or the issuer's public keys."""
        self._issuer = issuer
        self._audience = audience
        self._roles = roles
        self._secret = secret
        self._jwks = jwks

    async def principal(self, token: str) -> Principal:
        """Whose token it is. Raises NotSignedIn with the reason, IssuerUnavailable."""
        if len(token) > MAX_CHARACTERS:
            raise NotSignedIn("This token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = await self._key(header)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except ExpiredSignatureError as error:
            raise NotSignedIn("This token has expired. Get a new one from its issuer.") from error
        except PyJWTError as error:
            raise NotSignedIn(f"This token is not accepted: {error}.") from error
        _refuse_other_kinds(header, claims)
        return self._of(claims)

    async def _key(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """The key for a token with this header, and the one algorithm it is for."""
        if "crit" in header:
            raise NotSignedIn("This token has extensions (`crit`) that are not understood here.")
        if self._secret is not None:
            return self._secret, "HS256"
        assert self._jwks is not None
        found = await self._jwks.find(header.get("kid"))
        if found is None:
            raise NotSignedIn("The issuer has no key with the `kid` of this token.")
        return found.key, found.algorithm_name

    def _of(self, claims: Mapping[str, Any]) -> Principal:
        subject = claims["sub"]
        if not re.fullmatch(r"[\x21-\x7e]{1,255}", subject):
            raise NotSignedIn("`sub` of a token has 1 to 255 printable ASCII characters.")
        role = self._roles.role(claims)
        if role is None:
            raise NotSignedIn("This token names no group that may use this server.")
        return Principal(
            owner=owner_of(self._issuer, subject),
            name=subject[:100],
            role=role,
            scopes=EVERY_SCOPE,
        )


def _refuse_other_kinds(header: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
    kind = header.get("typ", "jwt")
    marks = [mark for mark in _ID_TOKEN_MARKS if mark in claims]
    if marks or claims.get("typ") in ("ID", "Refresh"):  # Keycloak's own claim
        raise NotSignedIn(
            "This is an ID token, or another that is not for sending to a server. Send the access "
            "token."
        )
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise NotSignedIn("`typ` of an access token is `at+jwt` (RFC 9068), or `JWT`.")
