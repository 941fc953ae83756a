"""Requests that mean harm, acts that must leave a trace, and answers that must not tell
(docs/security.md, chapters 2, 15 and 16)."""

from __future__ import annotations

import ast
import gzip
import re
from pathlib import Path
from typing import Any

import pytest

import appliance
from appliance.database import audit
from appliance.ids import new_id
from appliance.log import _escape_control_characters
from appliance.permissions import OWN, Role
from appliance.web.routes import ROUTES, Route
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join, Person
from tests.web.pages import HTML
from tests.web.test_routes import subject_of
from tests.web.wire import claim, exchange, fail, failed, is_refusal, services_of, upload

ADMINISTRATIVE = [
    route for route in ROUTES if route.permission is not None and route.permission not in OWN
]
SAFE = ("GET", "HEAD", "OPTIONS")


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


# --- the audit log -------------------------------------------------------------------------

BODIES: dict[str, dict[str, Any]] = {
    "POST /dead-letters/retry": {"filter": {}},
    "POST /dead-letters/discard": {"filter": {}},
    "POST /pauses": {"kind": "type", "name": "PDF", "reason": "tests"},
    "POST /pauses/end": {"kind": "type", "name": "IMAGE"},
    "PUT /pauses/{kind}/{name}": {"reason": "tests"},
    "POST /keys": {"name": "for tests"},
    "POST /jobs/{job_id}/pin": {"reason": "tests"},
}
"""What the routes take that take something."""


async def acts_of(served: Served, actor: str) -> list[str]:
    found = await services_of(served).database.read(audit.page(limit=100))
    return [f"{act.action} {act.subject}" for act in found if act.actor == actor]


@pytest.mark.parametrize("route", ADMINISTRATIVE, ids=named)
async def test_who_may_not_is_audited(serve: Serve, join: Join, route: Route) -> None:
    served = await serve()
    owner, other = await join(served), await join(served)
    path = await subject_of(served, route, owner)
    async with other.http.request(route.method, path, json=BODIES.get(named(route))) as response:
        assert response.status == 403
    assert await acts_of(served, other.key.owner) == [f"refused {named(route)}"]


@pytest.mark.parametrize(
    "route",
    [route for route in ADMINISTRATIVE if route.method not in SAFE],
    ids=named,
)
async def test_what_was_done_is_audited(serve: Serve, join: Join, route: Route) -> None:
    served = await serve()
    owner, chief = await join(served), await join(served, Role.ADMIN)
    await failed(served, by=owner.http)
    path = await subject_of(served, route, owner)
    if route.path.endswith("/release"):
        job = await upload(served, by=owner.http)
        await claim(served, job["jobId"])
        await fail(served, job["jobId"], code="infected_file")
        path = f"/jobs/{job['jobId']}/release"
    if route.path == "/backups":
        return  # there is no place for any: test_backups has the other
    if route.path.endswith("/unpin"):
        pin = path.replace("/unpin", "/pin")
        await served.json("POST", pin, json=BODIES["POST /jobs/{job_id}/pin"])
    async with chief.http.request(route.method, path, json=BODIES.get(named(route))) as response:
        if route.path.endswith("/release"):
            assert response.status == 409  # nothing was found in it: test_scanning has the other
            return
        assert response.status < 300, await response.text()
    if route.path.endswith("/stop"):
        return  # it was over, so nothing was done: test_redrives has the other
    (act,) = await acts_of(served, chief.key.owner)
    assert not act.startswith("refused")


async def on_anothers_job(served: Served, owner: Person, act: str) -> str:
    job_id = await failed(served, by=owner.http)
    if act == "cancel":
        return str((await upload(served, by=owner.http))["jobId"])
    return job_id


@pytest.mark.parametrize("act", ["cancel", "retry", "process", "delete"])
async def test_what_an_admin_does_to_anothers_job_is_audited(
    serve: Serve, join: Join, act: str
) -> None:
    served = await serve()
    owner, other, chief = await join(served), await join(served), await join(served, Role.ADMIN)
    job_id = await on_anothers_job(served, owner, act)
    path, body = f"/jobs/{job_id}/{act}", {"preset": "default"} if act == "process" else None
    async with other.http.post(path, json=body) as response:
        assert response.status == 404
    assert await acts_of(served, other.key.owner) == [f"refused POST /jobs/{{job_id}}/{act}"]
    async with chief.http.post(path, json=body) as response:
        assert response.status < 300, await response.text()
    assert await acts_of(served, chief.key.owner) == [f"job.{act} {job_id}"]


# --- bodies that mean harm -----------------------------------------------------------------

BOMBS: dict[str, bytes] = {
    "deep lists": b"[" * 30_000,
    "deep objects": b'{"a":' * 10_000,
    "deep and whole": b"[" * 30_000 + b"]" * 30_000,
    "a member that is deep": b'{"reason":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "a huge number": b'{"forS":1' + b"0" * 20_000 + b"}",
    "a huge exponent": b'{"forS":1e999999999}',
    "no number": b'{"forS":NaN}',
    "half a character": b'{"reason":"\\ud800"}',
    "no text": b'{"reason":"\xff\xfe"}',
    "a list": b"[]",
    "nothing": b"",
    "null": b"null",
    "more than is read": b'{"reason":"' + b"a" * 200_000 + b'"}',
    "an unknown member": b'{"reason":"a","isAdmin":true,"role":"admin"}',
}
READ_WHOLE = (
    "PUT /pauses/type/IMAGE", "POST /pauses", "POST /pauses/end", "POST /dead-letters/retry",
    "POST /dead-letters/discard", "POST /keys", "POST /jobs/{}/process",
)  # fmt: skip


@pytest.mark.parametrize("path", READ_WHOLE)
async def test_bombs_of_json_are_refused_in_words(serve: Serve, path: str) -> None:
    served = await serve()
    job_id = await failed(served)
    for what, body in BOMBS.items():
        answer = await exchange(
            served, path.format(job_id), "Content-Type: application/json",
            f"Content-Length: {len(body)}", body=body,
        )  # fmt: skip
        is_refusal(answer, 400, "bad_request")
        assert len(answer.body) < 2000, what


@pytest.mark.parametrize("path", [*READ_WHOLE, "POST /signin"])
async def test_a_packed_body_does_not_unfold_without_end(serve: Serve, path: str) -> None:
    """A megabyte that unfolds to a gigabyte: no more of it is held than of any other body."""
    served = await serve()
    job_id = await failed(served)
    body = gzip.compress(b" " * (256 << 20), compresslevel=1)
    answer = await exchange(
        served, path.format(job_id), "Content-Type: application/json", "Content-Encoding: gzip",
        f"Content-Length: {len(body)}", f"Origin: {served.url}", body=body,
    )  # fmt: skip
    assert 400 <= answer.status < 500
    assert (await served.json("GET", "/jobs"))["jobs"]


async def test_metadata_that_is_deep_is_refused(serve: Serve) -> None:
    served = await serve()
    deep = '{"a":' + "[" * 2000 + "]" * 2000 + "}"
    async with served.admin.post(
        "/upload", params={"filename": "a.txt", "metadata": deep}, data=b"words"
    ) as response:
        assert response.status in (202, 400)
    assert (await served.json("GET", "/jobs"))["nextCursor"] is None


# --- what is not told ----------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, HTML], ids=["document", "page"])
async def test_an_error_of_ours_tells_no_stranger_of_our_insides(
    serve: Serve, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"SELECT * FROM api_keys; {ADMIN_KEY} in {__file__}")

    monkeypatch.setattr("appliance.web.health.services", broken)
    monkeypatch.setattr("appliance.database.job_reads.get", broken)
    monkeypatch.setattr("appliance.database.audit.page", broken)
    for path in (f"/jobs/{new_id()}", "/audit", "/dashboard/audit", f"/jobs/{new_id()}/files/a"):
        async with served.admin.get(path, headers=headers) as response:
            text = await response.text()
            assert response.status == 500, path
        for trace in ("Traceback", "RuntimeError", "SELECT", ADMIN_KEY, ".py", "/tmp", "aiohttp"):
            assert trace not in text, path
    async with served.admin.get("/jobs") as response:
        assert response.status == 200, "the next request is served"


async def test_a_session_leaves_no_secret_in_the_log(
    serve: Serve, join: Join, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys, right and wrong, cookies, links and tokens of all kinds."""
    served = await serve()
    ada = await join(served)
    browser = await signed_in(served, ada.secret)
    cookie = browser.headers["Cookie"].partition("=")[2]
    wrong, link, token = "upa_a-wrong-key-1234567890", "a-link-that-is-none", "eyJh.eyJi.c2ln"
    await upload(served, by=ada.http)
    created = await served.json("POST", "/keys", json={"name": "k"})
    for headers in (
        {"Authorization": f"Bearer {wrong}"},
        {"Authorization": f"Bearer {token}"},
        {"Authorization": f"Basic {wrong}"},
        {"Cookie": f"appliance={wrong}"},
        {"Cookie": browser.headers["Cookie"]},
        {"Idempotency-Key": "an-idempotency-key"},
    ):
        async with served.anonymous.get("/jobs", headers=headers) as response:
            assert response.status in (200, 401)
    async with served.anonymous.get("/signin", params={"token": link}) as response:
        assert response.status in (200, 401)
    await browser.send("/signin", {"key": wrong})
    await browser.send("/signin", {"token": link})
    await browser.send("/signout", {})
    out = "".join(capsys.readouterr())
    assert len(re.findall(r"\] signed_in\b", out)) == 1
    assert "signin_refused" in out
    for secret in (ADMIN_KEY, ada.secret, created["key"], cookie, wrong, link, token,
                   "an-idempotency-key"):  # fmt: skip
        assert secret not in out


def test_no_line_of_the_log_can_be_forged() -> None:
    event = {"event": "request", "path": "/a\n2026 [info] signed_in\x1b[2J\r\u2028\u202e\0b"}
    (line,) = str(_escape_control_characters(None, "", event)["path"]).splitlines()
    assert line.isprintable()
    assert line.startswith("/a\\n2026")


SECRETS = re.compile(r"secret|token|password|signature|api_key|_hash$|^hashed$", re.IGNORECASE)


def test_no_secret_is_compared_letter_by_letter() -> None:
    """Keys, sessions and links are found by the SHA-256 of what was sent, in an index: how long
    that takes says nothing of the secret. What compares must use hmac.compare_digest."""
    seen = 0
    for path in Path(appliance.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            seen += isinstance(node, ast.Call) and "hash_secret" in ast.unparse(node.func)
            if not isinstance(node, ast.Compare):
                continue
            if not any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
                continue
            for side in (node.left, *node.comparators):
                text = ast.unparse(side)
                last = text.rpartition(".")[2]
                if not last.isupper() and "count(" not in text:
                    assert not SECRETS.search(last), f"{path}:{node.lineno}: {text}"
    assert seen > 3, "this test has looked at nothing"


def test_nothing_is_run_that_somebody_has_written() -> None:
    """No eval, no shell, no pickle; of XML only the answers of a store are parsed, by one module
    that refuses document types (tests/unit/test_s3.py)."""
    forbidden = re.compile(
        r"(?<![\w.])(eval|exec|compile)\(|os\.system|shell\s*=\s*True|\bpickle\b|\bmarshal\b|"
        r"yaml\.load|import (xml|lxml)|from (xml|lxml)"
    )
    for path in Path(appliance.__file__).parent.rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if path.name == "s3_answers.py" and line.startswith("from xml.etree.ElementTree "):
                continue
            assert not forbidden.search(line), f"{path}:{number}: {line}"
