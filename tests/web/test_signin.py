"""Who may: keys, one-time links, sessions, and requests that another site's page sends."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from appliance import bootstrap
from appliance.config import load
from appliance.database import keys
from appliance.keys import hash_secret, new_token
from appliance.web import auth, sessions
from tests import databases
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.conftest import Join, Person
from tests.web.pages import Page
from tests.web.wire import kept_by, refused, services_of, upload

LINK_S = 60.0


async def one_time_link(served: Served, person: Person, *, lives_s: float = LINK_S) -> str:
    shared = services_of(served)
    token = new_token()
    link = keys.create_signin_link(
        person.key.id, token_hash=hash_secret(token), expires_at=shared.clock.now() + lives_s
    )
    await shared.database.write(link)
    return token


async def sign_in(
    served: Served, form: dict[str, str], **headers: str
) -> tuple[aiohttp.ClientResponse, Morsel[str] | None]:
    """POST the form as the server's own page does; also the session cookie, if there is one."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Origin": served.url, **names}
    async with served.anonymous.post(
        "/signin", data=form, headers=sent, allow_redirects=False
    ) as response:
        await response.read()
        cookies: SimpleCookie = SimpleCookie()
        for value in response.headers.getall("Set-Cookie", []):
            cookies.load(value)
        return response, cookies.get("appliance")


async def as_browser(
    served: Served, cookie: str, method: str, path: str, **headers: str
) -> tuple[int, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with served.anonymous.request(
        method, path, headers={"Cookie": f"appliance={cookie}", **names}, allow_redirects=False
    ) as response:
        is_json = "json" in response.content_type
        return response.status, await (
            response.json(content_type=None) if is_json else response.text()
        )


async def session_of(served: Served, key: str) -> str:
    _, cookie = await sign_in(served, {"key": key})
    assert cookie is not None
    return cookie.value


# --- keys --------------------------------------------------------------------------------


async def test_nothing_is_open_without_a_key(serve: Serve) -> None:
    served = await serve()
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer upa_wrong"},
        {"Authorization": f"Bearer {ADMIN_KEY[:-1]}"},
        {"Authorization": f"Bearer {ADMIN_KEY}x"},
        {"Authorization": f"Bearer {ADMIN_KEY.upper()}"},
        {"Authorization": f"Basic {ADMIN_KEY}"},
        {"Authorization": ADMIN_KEY},
        {"Authorization": "Bearer ÿþ' OR 1=1"},
        {"Cookie": "appliance=wrong"},
        {"Cookie": f"appliance={ADMIN_KEY}"},
        {"Cookie": "appliance="},
    ):
        async with served.anonymous.get("/jobs", headers=headers) as response:
            document = await refused(response, 401, "not_signed_in")
            assert response.headers["WWW-Authenticate"].startswith("Bearer ")
        assert ADMIN_KEY not in str(document)


async def test_a_key_is_taken_in_any_spelling_of_bearer(serve: Serve) -> None:
    served = await serve()
    for value in (f"Bearer {ADMIN_KEY}", f"bearer {ADMIN_KEY}", f"BEARER   {ADMIN_KEY} "):
        async with served.anonymous.get("/jobs", headers={"Authorization": value}) as response:
            assert response.status == 200, value


async def test_a_revoked_key_and_its_sessions_end(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    cookie = await session_of(served, ada.secret)
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 200
    shared = services_of(served)
    assert await shared.database.write(keys.revoke(ada.key.id, now=shared.clock.now()))
    for hashed in (f"key:{hash_secret(ada.secret)}", f"session:{hash_secret(cookie)}"):
        await shared.coordination.delete(hashed)  # what KEY_CACHE_S bounds
    async with ada.http.get("/jobs") as response:
        await refused(response, 401, "not_signed_in")
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 401
    refusal, none = await sign_in(served, {"key": ada.secret})
    assert (refusal.status, none) == (401, None)


async def test_a_looked_up_key_is_believed_for_a_moment_only(
    serve: Serve, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert auth.KEY_CACHE_S <= 2
    monkeypatch.setattr(auth, "KEY_CACHE_S", 0.05)
    served = await serve()
    ada = await join(served)
    async with ada.http.get("/jobs") as response:
        assert response.status == 200
    shared = services_of(served)
    await shared.database.write(keys.revoke(ada.key.id, now=shared.clock.now()))
    statuses = []
    while statuses[-1:] != [401]:  # the test's own timeout is the deadline
        async with ada.http.get("/jobs") as response:
            statuses.append(response.status)
    assert set(statuses) <= {200, 401}


async def test_secrets_are_kept_as_digests_only(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    cookie = await session_of(served, ada.secret)
    token = await one_time_link(served, ada)
    kept = await kept_by(served)
    assert hash_secret(ada.secret).encode() in kept
    for secret in (ADMIN_KEY, ada.secret, cookie, token):
        assert secret.encode() not in kept


# --- signing in --------------------------------------------------------------------------


async def test_a_key_begins_a_session(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    response, cookie = await sign_in(served, {"key": f" {ada.secret} "})
    assert (response.status, response.headers["Location"]) == (303, "/")
    assert cookie is not None
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert int(cookie["max-age"]) == sessions.SESSION_S
    assert not cookie["domain"]
    assert not cookie["secure"]  # this one listens on plain http
    assert ada.secret not in cookie.value
    job = await upload(served, by=ada.http)
    status, found = await as_browser(served, cookie.value, "GET", job["statusUrl"])
    assert (status, found["owner"]) == (200, ada.key.owner)


async def test_behind_https_the_cookie_is_bound_to_the_host(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    await serve(public_url="https://files.example.org", port=str(port))
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.post(
            "/signin",
            data={"key": ADMIN_KEY},
            headers={"Origin": "https://files.example.org"},
            allow_redirects=False,
        ) as response,
    ):
        assert response.status == 303
        (value,) = response.headers.getall("Set-Cookie")
        assert response.headers["Strict-Transport-Security"].startswith("max-age=")
    assert value.startswith("__Host-appliance=")
    for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert flag in value
    assert "Domain" not in value


async def test_a_one_time_link_works_once(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    token = await one_time_link(served, ada)
    for _ in range(3):  # mail scanners and previews fetch it
        async with served.anonymous.get("/signin", params={"token": token}) as response:
            assert response.status == 200
            assert f'value="{token}"' in await response.text()
            assert "Set-Cookie" not in response.headers
    response, cookie = await sign_in(served, {"token": token})
    assert response.status == 303
    assert cookie is not None
    assert (await as_browser(served, cookie.value, "GET", "/jobs"))[0] == 200
    again, none = await sign_in(served, {"token": token})
    assert (again.status, none) == (401, None)


async def test_a_link_ends_with_its_time_and_with_its_key(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    shared = services_of(served)
    old = await one_time_link(served, ada, lives_s=-1)
    revoked = await one_time_link(served, ada)
    assert (await sign_in(served, {"token": old}))[0].status == 401
    await shared.database.write(keys.revoke(ada.key.id, now=shared.clock.now()))
    assert (await sign_in(served, {"token": revoked}))[0].status == 401
    assert (await sign_in(served, {"token": "made-up"}))[0].status == 401


async def test_the_field_is_masked_and_known_to_password_managers(serve: Serve) -> None:
    served = await serve()
    async with served.anonymous.get("/signin") as response:
        (field,) = [f for f in Page(await response.text()).named("input") if f.get("id") == "key"]
    assert (field["type"], field["autocomplete"]) == ("password", "current-password")


async def test_sign_ins_are_logged_without_their_secrets(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    with capture_logs() as logged:
        await sign_in(served, {"key": ada.secret})
        await sign_in(served, {"key": "upa_wrong-one"})
    events = {entry["event"]: entry for entry in logged}
    assert events["signed_in"]["owner"] == ada.key.owner
    assert events["signed_in"]["remote"] == events["signin_refused"]["remote"] == "127.0.0.1"
    assert ada.secret not in str(logged)
    assert "upa_wrong-one" not in str(logged)


async def test_a_wrong_key_begins_nothing(serve: Serve) -> None:
    served = await serve()
    for form in ({"key": "wrong"}, {"key": ""}, {}, {"token": ""}, {"key": "<b>" * 1000}):
        response, cookie = await sign_in(served, form)
        assert (response.status, cookie) == (401, None), form
        page = await response.text()
        assert "unknown, expired or revoked" in page
        assert "<b><b>" not in page


async def test_forms_that_cannot_be_read(serve: Serve) -> None:
    served = await serve()
    form = "application/x-www-form-urlencoded"
    for content_type, body in (
        ("multipart/form-data", b"key=a"),
        ("multipart/form-data; boundary=b", b"key=a"),
        (f"{form}; charset=no-such", b"key=a"),
        (form, b"key=\xff"),
        (form, b"key=" + b"a" * 100_000),
    ):
        headers = {"Origin": served.url, "Content-Type": content_type}
        async with served.anonymous.post("/signin", data=body, headers=headers) as response:
            assert 400 <= response.status < 500, content_type
            await refused(
                response, response.status, (await response.json(content_type=None))["code"]
            )


# --- where to, afterwards ------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example",
        "\\\\evil.example", "/\t/evil.example", "/\n/evil.example", "/\r\nSet-Cookie: a=b",
        "\t//evil.example", " //evil.example", "javascript:alert(1)", "evil.example", "",
        "/\x00/evil", "/a\\b", "http:evil.example", "/ /evil.example",
    ],
)  # fmt: skip
async def test_nobody_is_sent_to_another_site(serve: Serve, target: str) -> None:
    served = await serve()
    response, _ = await sign_in(served, {"key": ADMIN_KEY, "next": target})
    assert (response.status, response.headers["Location"]) == (303, "/")
    assert len(response.headers.getall("Set-Cookie")) == 1
    async with served.anonymous.get("/signin", params={"next": target}) as page:
        assert 'name="next" value="/"' in await page.text()


async def test_who_must_sign_in_comes_back_to_the_page(serve: Serve) -> None:
    served = await serve()
    wanted = "/dashboard?status=FAILED&type=IMAGE&q=a%26b"
    html = {"Accept": "text/html"}
    async with served.anonymous.get(wanted, headers=html, allow_redirects=False) as response:
        assert response.status == 303
        location = urlsplit(response.headers["Location"])
    assert location.path == "/signin"
    (target,) = parse_qs(location.query)["next"]
    response, _ = await sign_in(served, {"key": ADMIN_KEY, "next": target})
    assert response.headers["Location"] == wanted


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("{}/dashboard?status=FAILED&q=a%26b", "/dashboard?status=FAILED&q=a%26b"),
        ("{}//evil.example/", "/"),
        ("https://evil.example/dashboard", "/"),
        ("", "/"),
    ],
)  # fmt: skip
async def test_a_form_that_came_too_late_leads_back_to_where_it_stands(
    serve: Serve, referer: str, back: str
) -> None:
    served = await serve()
    html = {"Accept": "text/html", "Referer": referer.format(served.url)}
    path = "/dead-letters/retry"
    async with served.anonymous.post(path, headers=html, allow_redirects=False) as sent:
        assert sent.status == 303
        location = urlsplit(sent.headers["Location"])
    said = parse_qs(location.query)
    assert (location.path, said) == ("/signin", {"next": [back], "unsent": ["1"]})
    async with served.anonymous.get(sent.headers["Location"]) as shown:
        assert "what you pressed was not done" in await shown.text()
    response, _ = await sign_in(served, {"key": ADMIN_KEY, "next": back})
    assert response.headers["Location"] == back


# --- other sites ---------------------------------------------------------------------------

OTHER_SITES = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[bad"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://127.0.0.1"},  # another port
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {},
)


async def test_another_sites_page_cannot_act_with_a_session(serve: Serve) -> None:
    served = await serve()
    cookie = {"Cookie": f"appliance={await session_of(served, ADMIN_KEY)}"}
    for origin in OTHER_SITES:
        for method, path in (
            ("POST", "/upload?filename=a.txt"),
            ("PUT", "/upload/a.txt"),
            ("POST", "/signout"),
        ):
            async with served.anonymous.request(
                method, path, data=b"words", headers={**cookie, **origin}
            ) as response:
                await refused(response, 403, "forbidden")
        async with served.anonymous.post(
            "/signin", data={"key": ADMIN_KEY}, headers={**origin}
        ) as response:
            await refused(response, 403, "forbidden")
    assert (await served.json("GET", "/jobs"))["jobs"] == []
    for own in ({"Origin": served.url}, {"Sec-Fetch-Site": "same-origin"}):
        async with served.anonymous.post(
            "/upload?filename=a.txt", data=b"words", headers={**cookie, **own}
        ) as response:
            assert response.status == 202


async def test_a_program_with_a_key_needs_no_origin(serve: Serve) -> None:
    served = await serve()
    await upload(served)
    other = CIMultiDict({"Origin": "https://evil.example"})
    url = "/upload?filename=b.txt"
    async with served.admin.post(url, data=b"words", headers=other) as response:
        assert response.status == 202  # no browser adds a bearer key by itself
        assert "Access-Control-Allow-Origin" not in response.headers


# --- signing out ---------------------------------------------------------------------------


async def test_signing_out_ends_the_session_for_good(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    cookie, other = await session_of(served, ada.secret), await session_of(served, ada.secret)
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 200
    headers = {"Cookie": f"appliance={cookie}", "Origin": served.url}
    async with served.anonymous.post(
        "/signout", headers=headers, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, "/signin")
        assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 401
    assert (await as_browser(served, other, "GET", "/jobs"))[0] == 200


async def test_a_session_ends_with_its_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSION_S", 0.05)
    monkeypatch.setattr(auth, "KEY_CACHE_S", 0.01)
    served = await serve()
    cookie = await session_of(served, ADMIN_KEY)
    ended = False
    while not ended:  # the test's own timeout is the deadline
        ended = (await as_browser(served, cookie, "GET", "/jobs"))[0] == 401


# --- the first start -----------------------------------------------------------------------


async def test_the_first_start_makes_a_key_and_a_link(tmp_path: Path) -> None:
    config = load({**databases.variables(tmp_path / "data"), "APPLIANCE_PORT": "0"})
    async with AsyncExitStack() as stack:
        running = await bootstrap.start(stack, config, with_workers=False)
        session = await stack.enter_async_context(aiohttp.ClientSession(running.url))
        served = Served(running.url, tmp_path / "data", session, session, running)
        assert running.signin_url is not None
        token = parse_qs(urlsplit(running.signin_url).query)["token"][0]
        response, cookie = await sign_in(served, {"token": token})
        assert response.status == 303
        assert cookie is not None
        assert (await as_browser(served, cookie.value, "GET", "/metrics"))[0] == 200
        path = tmp_path / "data" / "admin.key"
        assert path.stat().st_mode & 0o777 == 0o600
        bearer = {"Authorization": f"Bearer {path.read_text().strip()}"}
        async with session.get("/metrics", headers=bearer) as response:
            assert response.status == 200
    async with AsyncExitStack() as stack:
        running = await bootstrap.start(stack, config, with_workers=False)
        assert running.signin_url is None  # at the first start only


async def test_a_given_admin_key_prints_no_link(serve: Serve) -> None:
    served = await serve()
    assert served.running.signin_url is None
    assert not (served.data_dir / "admin.key").exists()
