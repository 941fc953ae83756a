"""What a browser is told and held to, on every route there is (docs/security.md, chapter 3)."""

from __future__ import annotations

import asyncio
import re
import socket
import sqlite3
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from appliance.web.assets import folder
from appliance.web.routes import ROUTES, Route
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join, Person
from tests.web.pages import HTML
from tests.web.test_routes import EXPECTED, HEADERS, subject_of
from tests.web.wire import DEADLINE_S, claim, complete, copied, files_of, upload

SAFE = ("GET", "HEAD", "OPTIONS")
EVERY = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Server", "upload-appliance"),
)
STRICTER = {"Referrer-Policy": "no-referrer"}
"""Where the address is the key."""


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


async def asked(served: Served, owner: Person, route: Route) -> dict[str, object]:
    """How the route is asked for, about something new of `owner`."""
    return {
        "method": route.method,
        "url": await subject_of(served, route, owner),
        "data": b"words" if route.method in ("POST", "PUT", "PATCH") else None,
        "headers": HEADERS.get((route.method, route.path), {}),
        "allow_redirects": False,
    }


# --- headers -------------------------------------------------------------------------------


async def test_every_answer_holds_the_browser_to_a_policy(serve: Serve, join: Join) -> None:
    """Pages, documents, files, redirects and refusals alike."""
    served = await serve()
    owner = await join(served)
    for route in ROUTES:
        for http in (served.anonymous, served.admin, owner.http):
            options = await asked(served, owner, route)
            for accept in ({}, HTML):
                options["headers"] = {**HEADERS.get((route.method, route.path), {}), **accept}
                async with http.request(**options) as response:  # type: ignore[arg-type]
                    where = (named(route), response.status)
                    policy = response.headers["Content-Security-Policy"]
                    assert policy.startswith("default-src 'none'"), where
                    assert "unsafe" not in policy, where
                    assert "*" not in policy, where
                    for directive in ("frame-ancestors 'none'", "base-uri 'none'"):
                        assert directive in policy, where
                    for header, value in EVERY:
                        found = response.headers[header]
                        assert found == value or found == STRICTER.get(header), where
                    for header in ("X-Powered-By", "Access-Control-Allow-Credentials"):
                        assert header not in response.headers, where
                    if http is not served.anonymous and route.permission is not None:
                        assert "public" not in response.headers.get("Cache-Control", ""), where
                    body = response.headers.get("Content-Length", "0") != "0"
                    if body and response.status not in (304, 204):
                        assert "Content-Type" in response.headers, where
                        if response.content_type.startswith("text/"):
                            assert "charset=utf-8" in response.headers["Content-Type"], where


async def test_behind_tls_every_answer_asks_for_it(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    await serve(public_url="https://files.example", port=str(port))
    for path in ("/", "/signin", "/jobs", "/nowhere", "/static/base.css", "/healthz"):
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
            session.get(path, allow_redirects=False) as response,
        ):
            assert response.headers["Strict-Transport-Security"] == "max-age=31536000", path


# --- requests of other sites ---------------------------------------------------------------

FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "{url}.evil.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Referer": "{url}/"},
    {},
)
CHANGING = [route for route in ROUTES if route.method not in SAFE]


WITHOUT_SESSION = {"/signin/oidc/logout", "/u/{token}"}
"""What these take is in a signed token of the provider, and in the address: no cookie is looked at,
so a foreign page can do no more with them than anybody."""


@pytest.mark.parametrize(
    "route", [route for route in CHANGING if route.path not in WITHOUT_SESSION], ids=named
)
async def test_no_other_site_changes_anything(serve: Serve, join: Join, route: Route) -> None:
    """With the cookie of an admin, as a browser sends it along, and with that of nobody."""
    served = await serve(scrub_bytes_per_s="0")  # it notes how far it is
    owner = await join(served)
    cookie = (await signed_in(served)).headers["Cookie"]
    options = await asked(served, owner, route)
    before = await state(served)
    for headers in FOREIGN:
        sent = {name: value.format(url=served.url) for name, value in headers.items()}
        sent |= {"Cookie": cookie}
        options["headers"] = {**HEADERS.get((route.method, route.path), {}), **sent}
        async with served.anonymous.request(**options) as response:  # type: ignore[arg-type]
            assert response.status == 403, sent
            assert (await response.json(content_type=None))["code"] == "forbidden", sent
    assert (await state(served)) == before


# --- no change by reading ------------------------------------------------------------------

NOTED = {"last_used_at"}
"""What reading may leave behind: that a key and a session were used."""


async def state(served: Served) -> tuple[dict[str, Counter[str]], set[str]]:
    """Every row of every table, and every file."""
    path = await copied(served)
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        tables = [row[0] for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )]  # fmt: skip
        rows = {
            table: Counter(
                str({name: row[name] for name in row.keys() if name not in NOTED})  # noqa: SIM118
                for row in connection.execute(f'SELECT * FROM "{table}"')
            )
            for table in tables
        }
    connection.close()
    path.unlink()
    del rows["minutes"], rows["workers"]  # figures over time and heartbeats come by themselves
    return rows, files_of(served)


async def test_reading_changes_nothing(serve: Serve, join: Join) -> None:
    served = await serve(scrub_bytes_per_s="0")  # it notes how far it is
    owner = await join(served)
    cookie = {"Cookie": (await signed_in(served, owner.secret)).headers["Cookie"]}
    reading = [route for route in ROUTES if route.method in SAFE]
    for route in reading:
        path = await subject_of(served, route, owner)
        before = await state(served)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            for headers in (
                {"Authorization": f"Bearer {ADMIN_KEY}"},
                cookie,
                {**cookie, **HTML},
                {**cookie, "X-HTTP-Method-Override": "DELETE", "Tus-Resumable": "1.0.0"},
            ):
                async with (
                    asyncio.timeout(DEADLINE_S),
                    served.anonymous.request(
                        method, path, headers=headers, allow_redirects=False,
                        params={"token": "x", "_method": "DELETE", "fragment": "panels"},
                    ) as response,
                ):  # fmt: skip
                    if response.content_type != "text/event-stream":
                        await response.read()
                    assert response.status < 500
        after = await state(served)
        del after[0]["audit"], before[0]["audit"]  # a user who reaches for what an admin reads
        changed = [table for table in after[0] if after[0][table] != before[0].get(table)]
        assert (changed, after[1]) == ([], before[1]), named(route)


def test_this_test_sees_a_change() -> None:
    """Of the routes, some must be there whose names say that they change something."""
    assert len(CHANGING) > 20
    assert {named(route) for route in CHANGING} < EXPECTED.keys()


async def test_the_state_that_is_compared_is_all_of_it(serve: Serve) -> None:
    served = await serve()
    before = await state(served)
    job = await upload(served)
    between = await state(served)
    assert before != between
    await claim(served, job["jobId"])
    await complete(served, job["jobId"], result={"width": 1})
    assert (await state(served))[0]["jobs"] != between[0]["jobs"]
    assert {"jobs", "uploads", "api_keys", "sessions", "audit", "pauses"} <= between[0].keys()


# --- what the pages are made of ------------------------------------------------------------

TEMPLATES = sorted(Path(str(folder("templates"))).glob("*.html"))
SCRIPTS = sorted(Path(str(folder("static"))).glob("*.js"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_asks_for_what_the_policy_forbids(template: Path) -> None:
    text = template.read_text()
    for forbidden in (
        r"""[\s"']on(?!ce=)[a-z]+\s*=""",
        r"""[\s"']style\s*=""",
        r"<style\b",
        r"<script\b(?![^>]*\bsrc=)",
        r"<(iframe|object|embed|base)\b",
        r"\|\s*safe\b",
        r"autoescape",
        r"""(href|src|action)\s*=\s*["']?(?!data:image)(https?:|//|javascript:|data:)""",
    ):
        assert re.search(forbidden, text, re.IGNORECASE) is None, forbidden


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_text_of_text(script: Path) -> None:
    """No script makes markup, code or style of a text; elements are filled by `textContent`."""
    text = script.read_text()
    for forbidden in (
        r"\b(inner|outer)HTML\b", r"insertAdjacentHTML", r"document\.write", r"\beval\s*\(",
        r"new Function\b", r"set(Timeout|Interval)\(\s*[\"'`]", r"\.srcdoc\b",
        r"setAttribute\(\s*[\"'](style|on)", r"postMessage", r"__proto__",
    ):  # fmt: skip
        assert re.search(forbidden, text) is None, forbidden
