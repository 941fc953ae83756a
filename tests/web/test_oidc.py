"""Signing in at an OpenID provider: a real one, and what somebody may try on the way."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from appliance import bootstrap
from appliance.config import load
from appliance.errors import IssuerUnavailable
from tests.conftest import Serve, Served
from tests.oidc import CLIENT_ID, CLIENT_SECRET, Browser, OidcProvider, browser
from tests.web.wire import services_of, upload

SignIns = Callable[..., Awaitable[tuple[Served, OidcProvider]]]


@pytest.fixture
async def started(serve: Serve) -> AsyncIterator[SignIns]:
    """An appliance and its provider, both running."""
    async with AsyncExitStack() as stack:

        async def start(**settings: str) -> tuple[Served, OidcProvider]:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            provider = OidcProvider(f"http://127.0.0.1:{port}/signin/oidc/callback")
            stack.push_async_callback(provider.stop)
            await provider.start()
            served = await serve(
                **{
                    "port": str(port),
                    "outgoing": "any",
                    "oidc_issuer": provider.issuer,
                    "oidc_client_id": CLIENT_ID,
                    "oidc_client_secret": CLIENT_SECRET,
                    "oidc_roles": "admins=admin,staff=viewer,machines=operator",
                    **settings,
                }
            )
            return served, provider

        yield start


async def me(one: Browser) -> tuple[int, str]:
    """What the session sees: the status, and the text of the page of sessions."""
    status, _, text = await one.get(f"{one.server}/dashboard/access")
    return status, text


async def test_a_person_signs_in_uploads_and_signs_out(started: SignIns) -> None:
    served, _ = await started()
    async with browser(served.url) as ada, browser(served.url) as bob:
        assert "Sign in with 127.0.0.1" in (await ada.get(f"{served.url}/signin"))[2]
        assert (await ada.sign_in("ada", "/dashboard/access?x=1"))[:2] == (
            303,
            f"{served.url}/dashboard/access?x=1",
        )
        status, text = await me(ada)
        assert status == 200
        assert "ada of the tests" in text
        headers = {"Origin": served.url}
        async with ada.http.put(
            f"{served.url}/upload/a.txt", data=b"words", headers=headers
        ) as answer:
            assert answer.status == 202, await answer.text()
            job = await answer.json()
        assert job["owner"].endswith(":ada")

        await bob.sign_in("bob")
        assert (await bob.get(f"{served.url}{job['statusUrl']}"))[0] == 404
        assert (await ada.get(f"{served.url}{job['statusUrl']}"))[0] == 200
        people = (await served.json("GET", "/people"))["people"]
        assert {person["name"] for person in people} == {"ada of the tests", "bob of the tests"}
        assert {person["role"] for person in people} == {"user"}

        status, _, text = await ada.post(f"{served.url}/signout", {})
        assert "sign out there too" in text
        assert (await ada.get(f"{served.url}{job['statusUrl']}"))[0] == 401
        assert (await me(bob))[0] == 200


@pytest.mark.parametrize(
    ("groups", "role"), [("", "user"), ("staff", "viewer"), ("staff,admins,x", "admin")]
)
async def test_groups_are_roles_and_change_with_the_next_sign_in(
    started: SignIns, groups: str, role: str
) -> None:
    served, provider = await started()
    await provider.put_into("amy", groups)
    async with browser(served.url) as one:
        await one.sign_in("amy")
        (found,) = (await served.json("GET", "/people"))["people"]
        assert found["role"] == role
        assert (await one.get(f"{served.url}/keys"))[0] == (200 if role == "admin" else 403)
    await provider.put_into("amy", "admins")
    async with browser(served.url) as again:
        await again.sign_in("amy")
        (found,) = (await served.json("GET", "/people"))["people"]
        assert found["role"] == "admin"


async def test_who_is_in_no_group_may_be_kept_out(started: SignIns) -> None:
    served, _ = await started(oidc_default_role="none")
    async with browser(served.url) as eve:
        status, _, text = await eve.sign_in("eve")
        assert status == 403
        assert "in none of the groups" in text
        assert (await me(eve))[0] != 200


async def test_nobody_finishes_what_another_browser_began(started: SignIns) -> None:
    """Else a link would sign its reader in as somebody else (login CSRF)."""
    served, _ = await started()
    async with browser(served.url) as eve, browser(served.url) as ada:
        address = await eve.to_callback("eve")
        status, _, text = await ada.get(address)
        assert status == 403
        assert "was not begun here" in text
        assert (await eve.get(address))[0] == 303
        assert (await eve.get(address))[0] == 403  # and once only


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"state": "x"}, "was not begun here"),
        ({"iss": "https://other.example"}, "from another provider"),
        ({"iss": None}, "does not say which provider"),
        ({"code": "x"}, "did not confirm"),
        ({"code": None}, "did not confirm"),
        ({"error": "access_denied", "error_description": "<b>no</b>"}, "&lt;b&gt;no"),
    ],
)
async def test_an_answer_that_was_changed(
    started: SignIns, changed: dict[str, str | None], told: str
) -> None:
    served, _ = await started()
    async with browser(served.url) as ada:
        address = urlsplit(await ada.to_callback("ada"))
        query = {**dict(parse_qsl(address.query)), **changed}
        kept = {name: value for name, value in query.items() if value is not None}
        status, _, text = await ada.get(address._replace(query=urlencode(kept)).geturl())
        assert status == 403
        assert told in text
        assert (await me(ada))[0] != 200


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
async def test_nobody_is_sent_to_another_site(started: SignIns, target: str) -> None:
    served, _ = await started()
    async with browser(served.url) as ada:
        assert (await ada.sign_in("ada", target))[:2] == (303, f"{served.url}/")


async def test_the_provider_changes_its_keys_and_is_down_for_a_while(started: SignIns) -> None:
    served, provider = await started()
    async with browser(served.url) as ada:
        await ada.sign_in("ada")
    await provider.stop()
    async with browser(served.url) as ada:
        address = f"{served.url}/signin/oidc"
        assert (await ada.get(address))[0] == 303  # what it said of itself is known
    await provider.start()
    services_of(served).sign_in.provider._jwks._tried_at = None  # type: ignore[union-attr]
    async with browser(served.url) as ada:
        assert (await ada.sign_in("ada"))[0] == 303


async def test_the_check_asks_the_provider(started: SignIns, tmp_path: Path) -> None:
    _, provider = await started()
    for issuer, told in (
        (provider.issuer, None),
        (f"{provider.issuer}/", "calls itself"),
        ("http://127.0.0.1:9", "cannot be read"),
    ):
        config = load(
            {
                "APPLIANCE_DATA_DIR": str(tmp_path / "other"),
                "APPLIANCE_OUTGOING": "any",
                "APPLIANCE_OIDC_ISSUER": issuer,
                "APPLIANCE_OIDC_CLIENT_ID": CLIENT_ID,
            }
        )
        if told is None:
            await bootstrap.check_provider(config)
        else:
            with pytest.raises(IssuerUnavailable, match=told):
                await bootstrap.check_provider(config)


async def test_a_provider_that_was_never_there(serve: Serve) -> None:
    served = await serve(oidc_issuer="http://127.0.0.1:9", oidc_client_id="uploads", outgoing="any")
    async with browser(served.url) as ada:
        status, _, text = await ada.get(f"{served.url}/signin/oidc")
        assert status == 503
        assert "cannot be read" in text
        assert "API key" in text  # there is another way


async def test_a_blocked_person_is_out_at_once(started: SignIns) -> None:
    served, _ = await started()
    async with browser(served.url) as ada:
        await ada.sign_in("ada")
        (person,) = (await served.json("GET", "/people"))["people"]
        await served.json("POST", f"/people/{person['personId']}/block", json={})
        assert (await ada.get(f"{served.url}/jobs"))[0] == 401
        status, _, text = await ada.sign_in("ada")
        assert status == 403
        assert "blocked on this server" in text
        await served.json("POST", f"/people/{person['personId']}/unblock", json={})
        assert (await ada.sign_in("ada"))[0] == 303
    acts = (await served.json("GET", "/audit"))["acts"]
    assert {"person.block", "person.unblock"} <= {act["action"] for act in acts}


async def test_signing_out_at_the_provider_ends_the_session_here(started: SignIns) -> None:
    """The provider tells the server itself (back-channel logout)."""
    served, provider = await started()
    async with browser(served.url) as ada:
        await ada.sign_in("ada")
        assert (await me(ada))[0] == 200
        url = f"{provider.issuer}/session/end?client_id={CLIENT_ID}"
        _, _, text = await ada.get(url)
        token = text.split('name="xsrf" value="')[1].split('"')[0]
        form = {"xsrf": token, "logout": "yes"}
        await ada.post(f"{provider.issuer}/session/end/confirm", form)
        assert (await ada.get(f"{served.url}/jobs"))[0] == 401


@pytest.mark.parametrize("token", ["", "x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."])
async def test_nobody_else_signs_people_out(started: SignIns, token: str) -> None:
    served, _ = await started()
    form = {"logout_token": token} if token else {}
    async with served.anonymous.post("/signin/oidc/logout", data=form) as answer:
        assert answer.status in (400, 403)


async def test_a_script_sends_an_access_token_of_the_provider(started: SignIns) -> None:
    served, provider = await started(jwt_audience="https://uploads.example")
    token = await provider.token("https://uploads.example")
    headers = {"Authorization": f"Bearer {token}"}
    async with served.anonymous.put("/upload/a.txt", data=b"words", headers=headers) as answer:
        assert answer.status == 202, await answer.text()
        assert (await answer.json())["owner"].endswith(f":{CLIENT_ID}")
    async with served.anonymous.get("/dead-letters", headers=headers) as answer:
        assert answer.status == 200  # its group is an operator's
    other = await provider.token("https://other.example")
    headers = {"Authorization": f"Bearer {other}"}
    async with served.anonymous.get("/jobs", headers=headers) as answer:
        assert answer.status == 401


async def test_without_a_provider_there_is_no_such_sign_in(serve: Serve) -> None:
    served = await serve()
    await upload(served)
    for method, path in (("GET", "/signin/oidc"), ("POST", "/signin/oidc/logout")):
        async with served.anonymous.request(method, path) as answer:
            assert answer.status == 404
