"""The public keys of an issuer of tokens, by its JWKS address (RFC 7517).

They are fetched when they are first needed and every five minutes then. A key id that is not
known, as after a rotation, has them fetched again, but no more often than every ten seconds:
whoever makes up key ids must not make this server hammer the issuer. While the issuer does not
answer, what it said last holds for a day.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from appliance.clock import Clock
from appliance.errors import IssuerUnavailable, OutgoingFailed
from appliance.outgoing import Outgoing

log = structlog.get_logger()

FRESH_S = 300.0
AGAIN_S = 10.0
STALE_S = 24 * 3600.0
MAX_KEYS = 100
MIN_RSA_BITS = 2048
"""RFC 7518, 3.3."""


class Jwks:
    def __init__(self, url: str, outgoing: Outgoing, clock: Clock) -> None:
        self._url = url
        self._outgoing = outgoing
        self._clock = clock
        self._keys: dict[str | None, PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str | None) -> PyJWK | None:
        """The key with that id; without one, the only key there is. Raises IssuerUnavailable."""
        if self._age() >= FRESH_S:
            await self._fetch()
        found = self._known(key_id)
        if found is None:
            await self._fetch()
            found = self._known(key_id)
        if self._fetched_at is None or self._age() >= STALE_S:
            raise IssuerUnavailable("The keys of the issuer cannot be fetched; the log says why.")
        return found

    def _known(self, key_id: str | None) -> PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _age(self) -> float:
        return STALE_S if self._fetched_at is None else self._clock.monotonic() - self._fetched_at

    async def _fetch(self) -> None:
        """Unless that was done, or tried, a moment ago."""
        async with self._fetching:
            now = self._clock.monotonic()
            if self._tried_at is not None and now - self._tried_at < AGAIN_S:
                return
            self._tried_at = now
            try:
                self._keys = _parse(await self._outgoing.get(self._url))
            except (OutgoingFailed, msgspec.MsgspecError) as error:
                log.warning("jwks_not_fetched", reason=str(error))
                return
            self._fetched_at = now
            log.info("jwks_fetched", keys=len(self._keys))


def algorithm_of(jwk: dict[str, Any]) -> str | None:
    """The one algorithm that a key may be used with; None: none that we take.

    By the key and never by the token: a public key is never taken for a shared secret
    (RFC 8725, 2.1 and 3.1).
    """
    kind = f"{jwk.get('kty')} {jwk.get('crv', '')}".rstrip()
    found = _BY_KIND.get(kind)
    usable = jwk.get("use", "sig") == "sig" and jwk.get("alg", found) == found
    return found if usable else None


_BY_KIND = {"RSA": "RS256", "EC P-256": "ES256", "OKP Ed25519": "EdDSA"}


def _parse(body: bytes) -> dict[str | None, PyJWK]:
    found: dict[str | None, PyJWK] = {}
    for jwk in msgspec.json.decode(body, type=_Set).keys[:MAX_KEYS]:
        algorithm = algorithm_of(jwk)
        if algorithm is None:
            continue
        try:
            key = PyJWK(jwk, algorithm=algorithm)
        except (PyJWTError, ValueError, TypeError) as error:
            log.warning("jwk_passed_over", reason=str(error))
            continue
        if algorithm == "RS256" and key.key.key_size < MIN_RSA_BITS:
            log.warning("jwk_passed_over", reason=f"its RSA key has only {key.key.key_size} bits")
            continue
        found.setdefault(key.key_id, key)
    return found


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]
