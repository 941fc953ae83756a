"""JWT bearer tokens: whose they are, what they may, and the known attacks on them."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from appliance.web import jwks
from appliance.web.guesses import WRONG_TOKENS
from tests.conftest import Serve, Served
from tests.web.wire import refused, upload

ISSUER, AUDIENCE, SECRET = (
    "https://issuer.example",
    "uploads",
    "a-secret-of-the-tests-0123456789abcdef",
)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC_KEY, ED_KEY = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
KINDS = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}


def public(kid: str, algorithm: str, key: Any, **more: Any) -> dict[str, Any]:
    document = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    return {**document, "kid": kid, "use": "sig", **more}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 600, "iat": now, **changes}
    return {name: value for name, value in found.items() if value is not None}


def token(
    algorithm: str = "HS256", key: Any = SECRET, kid: str | None = None, typ: str | None = "at+jwt",
    headers: dict[str, Any] | None = None, **changes: Any,
) -> str:  # fmt: skip
    head = {"typ": typ, **({"kid": kid} if kid else {}), **(headers or {})}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=head)


def by_hand(header: dict[str, Any], payload: dict[str, Any], secret: bytes) -> str:
    """What no library would sign."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = ".".join(part(json.dumps(one).encode()) for one in (header, payload))
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), sha256)) if secret else ''}"


async def ask(served: Served, bearer: str, path: str = "/jobs") -> int:
    headers = {"Authorization": f"Bearer {bearer}"}
    async with served.anonymous.get(path, headers=headers) as response:
        if response.status == 401:
            await refused(response, 401, "not_signed_in")
        return response.status


async def with_secret(serve: Serve, **settings: str) -> Served:
    return await serve(jwt_secret=SECRET, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, **settings)


# --- a shared secret ----------------------------------------------------------------------


async def test_a_token_makes_an_owner_of_its_subject(serve: Serve) -> None:
    served = await with_secret(serve)
    headers = {"Authorization": f"Bearer {token()}"}
    async with served.anonymous.put("/upload/a.txt", data=b"words", headers=headers) as response:
        assert response.status == 202
        job = await response.json()
    assert job["owner"] == f"jwt:{sha256(ISSUER.encode()).hexdigest()[:8]}:ada"
    assert await ask(served, token(), job["statusUrl"]) == 200
    assert await ask(served, token(sub="eve"), job["statusUrl"]) == 404
    assert await ask(served, token(typ="JWT")) == 200
    assert await ask(served, token(aud=["others", AUDIENCE])) == 200
    assert await ask(served, token(), (await upload(served))["statusUrl"]) == 404


@pytest.mark.parametrize(
    ("claim", "roles", "status"),
    [
        ("roles", None, 403), ("roles", [], 403), ("roles", ["user"], 403),
        ("roles", ["staff", "admin"], 200), ("roles", "user admin", 200),
        ("roles", {"admin": 1}, 403), ("roles", [["admin"], {"a": "admin"}, 5], 403),
        ("roles", ["operator", "viewer"], 403), ("roles", "Admin", 403),
    ],
)  # fmt: skip
async def test_the_role_comes_from_the_claim(
    serve: Serve, claim: str, roles: Any, status: int
) -> None:
    served = await with_secret(serve)
    assert await ask(served, token(**{claim: roles}), "/keys") == status


async def test_the_role_may_lie_deeper(serve: Serve) -> None:
    served = await with_secret(serve, jwt_roles_claim="realm_access.roles")
    assert await ask(served, token(realm_access={"roles": ["viewer"]}), "/dead-letters") == 200
    assert await ask(served, token(realm_access="viewer", roles=["admin"]), "/dead-letters") == 403


NOW = time.time()


@pytest.mark.parametrize(
    "bad",
    [
        {"exp": NOW - 120}, {"exp": None}, {"exp": "soon"}, {"nbf": NOW + 3600},
        {"iat": NOW + 3600}, {"iss": "https://evil.example"}, {"iss": None},
        {"aud": "others"}, {"aud": None}, {"aud": []}, {"sub": None}, {"sub": 5}, {"sub": ""},
        {"sub": "a b"}, {"sub": "x" * 256}, {"sub": "a\n"}, {"key": SECRET + "x"},
        {"nonce": "n"}, {"at_hash": "h"}, {"c_hash": "h"}, {"typ": "ID"},
        {"typ": "logout+jwt"}, {"typ": "dpop+jwt"},
        {"headers": {"crit": ["b64"], "b64": False}},
    ],
    ids=lambda bad: ",".join(bad),
)  # fmt: skip
async def test_what_is_not_an_access_token_for_here(serve: Serve, bad: dict[str, Any]) -> None:
    served = await with_secret(serve)
    assert await ask(served, token()) == 200
    assert await ask(served, token(**bad)) == 401


async def test_keycloak_s_own_mark_of_an_id_token(serve: Serve) -> None:
    served = await with_secret(serve)
    marked = by_hand({"alg": "HS256", "typ": "JWT"}, claims(typ="ID"), SECRET.encode())
    plain = by_hand({"alg": "HS256", "typ": "JWT"}, claims(), SECRET.encode())
    assert await ask(served, plain) == 200
    assert await ask(served, marked) == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS384", "HS512", "RS256", ""])
async def test_the_algorithm_is_not_the_sender_s_choice(serve: Serve, algorithm: str) -> None:
    served = await with_secret(serve)
    header = {"alg": algorithm, "typ": "at+jwt"}
    assert await ask(served, by_hand(header, claims(), b"")) == 401
    assert await ask(served, by_hand(header, claims(), SECRET.encode())) == 401


async def test_what_is_no_token_at_all(serve: Serve) -> None:
    served = await with_secret(serve)
    for bearer in (
        "eyJ..",
        "eyJh.eyJi.c",
        "eyJ" + "a" * 9000 + ".b.c",
        token()[:-4],
        token() + "A",
    ):
        assert await ask(served, bearer) == 401, bearer[:30]


async def test_without_the_setting_there_are_no_tokens(serve: Serve) -> None:
    assert await ask(await serve(), token()) == 401


# --- an issuer's keys ---------------------------------------------------------------------


@dataclass
class Issuer:
    """A real server of keys; `keys` may change at any time, `up` too."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    up: bool = True
    asked: int = 0
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if not self.up:
            return web.Response(status=500)
        return web.json_response({"keys": self.keys})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    one = Issuer([public(f"{name}-1", name, key) for name, key in KINDS.items()])
    app = web.Application()
    app.router.add_get("/keys", one.answer)
    async with TestServer(app) as server:
        one.url = f"http://127.0.0.1:{server.port}/keys"
        yield one


async def trusting(serve: Serve, issuer: Issuer, **settings: str) -> Served:
    given = {"outgoing": "any", **settings}
    return await serve(jwt_jwks_url=issuer.url, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, **given)


async def test_each_kind_of_key(serve: Serve, issuer: Issuer) -> None:
    served = await trusting(serve, issuer)
    for name, key in KINDS.items():
        assert await ask(served, token(name, key, f"{name}-1")) == 200, name
    assert issuer.asked == 1
    assert await ask(served, token("RS256", OTHER_RSA, "RS256-1")) == 401


async def test_keys_rotate_while_tokens_come(
    serve: Serve, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "AGAIN_S", 0.0)
    served = await trusting(serve, issuer)
    old, new = token("RS256", RSA_KEY, "RS256-1"), token("RS256", OTHER_RSA, "RS256-2")
    assert await ask(served, old) == 200
    issuer.keys = [public("RS256-2", "RS256", OTHER_RSA)]
    assert await ask(served, new) == 200  # unknown, so the keys are fetched again
    assert await ask(served, old) == 401  # and what the issuer took back is gone


async def test_made_up_key_ids_do_not_hammer_the_issuer(serve: Serve, issuer: Issuer) -> None:
    served = await trusting(serve, issuer)
    for number in range(20):
        assert await ask(served, token("RS256", OTHER_RSA, f"made-up-{number}")) == 401
    assert issuer.asked == 1


async def test_an_issuer_that_is_down(
    serve: Serve, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "AGAIN_S", 0.0)
    monkeypatch.setattr(jwks, "FRESH_S", 0.0)
    served = await trusting(serve, issuer)
    good = token("RS256", RSA_KEY, "RS256-1")
    issuer.up = False
    headers = {"Authorization": f"Bearer {good}"}
    async with served.anonymous.get("/jobs", headers=headers) as response:
        await refused(response, 503, "issuer_unavailable")
        assert "Retry-After" in response.headers
    assert await ask(served, good, "/healthz") == 200
    issuer.up = True
    assert await ask(served, good) == 200
    issuer.up = False
    assert await ask(served, good) == 200  # what it said last holds on
    assert await ask(served, token("RS256", OTHER_RSA, "RS256-1")) == 401
    monkeypatch.setattr(jwks, "STALE_S", 0.0)
    assert await ask(served, good) == 503  # but not for ever


async def test_a_public_key_is_no_shared_secret(serve: Serve, issuer: Issuer) -> None:
    """The confusion of RS256 and HS256 (RFC 8725, 2.1): the public key signs as a secret."""
    served = await trusting(serve, issuer)
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    as_json = json.dumps(issuer.keys[0]).encode()
    for secret in (pem, pem.strip(), as_json, b"", SECRET.encode()):
        for kid in ("RS256-1", "ES256-1", "EdDSA-1"):
            forged = by_hand({"alg": "HS256", "typ": "at+jwt", "kid": kid}, claims(), secret)
            assert await ask(served, forged) == 401


async def test_a_key_is_for_its_own_algorithm_only(serve: Serve, issuer: Issuer) -> None:
    served = await trusting(serve, issuer)
    for algorithm in ("RS384", "RS512", "PS256"):
        assert await ask(served, token(algorithm, RSA_KEY, "RS256-1")) == 401
    assert await ask(served, token("ES256", EC_KEY, "RS256-1")) == 401


@pytest.mark.parametrize("kid", ["", "../../etc/passwd", "' OR 1=1 --", "/dev/null", "RS256-1\x00"])
async def test_a_key_id_only_looks_up(serve: Serve, issuer: Issuer, kid: str) -> None:
    served = await trusting(serve, issuer)
    forged = token("RS256", OTHER_RSA, headers={"kid": kid})
    assert await ask(served, forged) == 401
    empty = by_hand({"alg": "HS256", "typ": "at+jwt", "kid": kid}, claims(), b"")
    assert await ask(served, empty) == 401


async def test_the_sender_brings_no_key_of_his_own(serve: Serve, issuer: Issuer) -> None:
    served = await trusting(serve, issuer)
    evil = Issuer([public("RS256-1", "RS256", OTHER_RSA)])
    app = web.Application()
    app.router.add_get("/keys", evil.answer)
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}/keys"
        for headers in (
            {"jku": url}, {"x5u": url}, {"jwk": evil.keys[0]}, {"jku": url, "kid": "RS256-1"}
        ):  # fmt: skip
            assert await ask(served, token("RS256", OTHER_RSA, headers=headers)) == 401
    assert evil.asked == 0


async def test_keys_that_are_not_for_this_are_passed_over(serve: Serve, issuer: Issuer) -> None:
    oct_key = {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()}
    issuer.keys = [
        oct_key, {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}, {},
        public("short", "RS256", SHORT_RSA), public("enc", "RS256", OTHER_RSA, use="enc"),
        public("ps", "RS256", OTHER_RSA, alg="PS256"), public("good", "RS256", RSA_KEY),
    ]  # fmt: skip
    served = await trusting(serve, issuer)
    assert await ask(served, token("RS256", RSA_KEY, "good")) == 200
    assert await ask(served, token("HS256", SECRET, "oct")) == 401
    assert await ask(served, token("RS256", OTHER_RSA, "enc")) == 401
    assert await ask(served, token("RS256", OTHER_RSA, "ps")) == 401
    with pytest.warns(match="below the minimum"):  # PyJWT minds it too, on the sender's side
        short = token("RS256", SHORT_RSA, "short")
    assert await ask(served, short) == 401


async def test_keys_are_fetched_from_public_places_only(serve: Serve, issuer: Issuer) -> None:
    served = await trusting(serve, issuer, outgoing="public")
    assert await ask(served, token("RS256", RSA_KEY, "RS256-1")) == 503
    assert issuer.asked == 0


async def test_who_tries_tokens_is_slowed_down(serve: Serve) -> None:
    served = await with_secret(serve)
    right = token()
    assert await ask(served, right) == 200
    tries = [token(key=f"{number:032}") for number in range(WRONG_TOKENS.count + 100)]
    statuses = await asyncio.gather(*(ask(served, one) for one in tries))
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < WRONG_TOKENS.count + 50  # one more a second
    assert await ask(served, right) == 200  # was right before
    assert await ask(served, "upa_wrong") == 401  # keys are counted apart
