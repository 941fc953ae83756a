"""Every route and everybody: the table of routes says who may, and this is what happens."""

from __future__ import annotations

import re
from collections.abc import Iterator

import aiohttp
import pytest

from appliance.database.dead_letters import Filter
from appliance.keys import Role
from appliance.web.routes import ROUTES, Route
from appliance.web.services import Access
from tests.conftest import Serve, Served
from tests.web.conftest import Join, Person
from tests.web.wire import claim, complete, fail, refused, services_of, upload

OF_A_JOB, OF_AN_UPLOAD = "{job_id}", "{upload_id}"
FILLED = {
    "{filename}": "a.txt",
    "{name}": "original",
    "{kind}": "type",
    "{redrive_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
}
PAUSED = "/pauses/type/IMAGE"
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
_OFFSET = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
HEADERS = {
    ("POST", "/files"): TUS | _OFFSET,
    ("HEAD", "/files/{upload_id}"): TUS,
    ("PATCH", "/files/{upload_id}"): TUS | _OFFSET,
    ("POST", "/files/{upload_id}"): TUS | {"X-HTTP-Method-Override": "HEAD"},
}


def path_of(route: Route, job_id: str, redrive_id: str | None = None) -> str:
    if route.path.startswith("/pauses/{kind}"):
        return PAUSED
    path = route.path.replace("{job_id}", job_id).replace("{upload_id}", job_id)
    if redrive_id is not None:
        path = path.replace("{redrive_id}", redrive_id)
    for name, value in FILLED.items():
        path = path.replace(name, "base.css" if path.startswith("/static") else value)
    assert "{" not in path, f"{route.path}: say in this test what to fill in"
    return path


def methods_of(route: Route) -> Iterator[str]:
    yield route.method
    if route.method == "GET":
        yield "HEAD"


async def subject_of(served: Served, route: Route, owner: Person) -> str:
    """The path of something new that the route can be asked for, by anybody who may."""
    if OF_AN_UPLOAD in route.path:
        async with owner.http.post("/files", headers=TUS) as response:
            return response.headers["Location"]
    job = await upload(served, by=owner.http)
    await claim(served, job["jobId"])
    redrive_id = None
    if "dead-letters" in route.path or "redrive" in route.path:
        await fail(served, job["jobId"])
        acts = services_of(served).acts
        redrive_id = (await acts.retry_dead_letters(Filter(fingerprint="none"), actor="me")).id
    elif not route.path.endswith("/cancel"):
        await complete(served, job["jobId"])  # else its events never end
    if route.path.startswith("/pauses"):
        await served.json("PUT", PAUSED, json={"reason": "tests"})
    return path_of(route, job["jobId"], redrive_id)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_who_may(serve: Serve, join: Join, route: Route) -> None:
    served = await serve()
    owner, other = await join(served), await join(served)
    second_admin = await join(served, Role.ADMIN)

    async def ask(session: aiohttp.ClientSession, method: str) -> tuple[int, str | None]:
        """The status, and the code of a refusal."""
        path = await subject_of(served, route, owner)
        data = b"words" if method in ("POST", "PUT", "PATCH") else None
        headers = HEADERS.get((route.method, route.path), {})
        async with session.request(
            method, path, data=data, headers=headers, allow_redirects=False
        ) as response:
            if response.status < 400 or method == "HEAD":
                return response.status, None
            code = (await response.json(content_type=None))["code"]
            await refused(response, response.status, code)
            return response.status, code

    for method in methods_of(route):
        anonymous, stranger = await ask(served.anonymous, method), await ask(other.http, method)
        mine = await ask(owner.http, method)
        admins = [await ask(session, method) for session in (served.admin, second_admin.http)]
        if route.access is Access.PUBLIC:
            assert anonymous[0] != 401
            assert stranger == mine == anonymous == admins[0] == admins[1]
            continue
        assert anonymous[0] == 401
        assert admins[0] == admins[1]
        if OF_AN_UPLOAD in route.path:  # until it is a job it is nobody's but its owner's
            assert stranger[0] == admins[0][0] == 404
            assert mine[0] < 300
            continue
        assert admins[0][0] not in (401, 403, 404)
        if route.access is Access.ADMIN:
            assert stranger[0] == mine[0] == 403
        elif OF_A_JOB in route.path:
            assert stranger[0] == 404
            assert mine == admins[0]
        else:
            assert stranger == mine == admins[0]


def leads_to(route: Route, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), path) is not None


async def test_the_table_is_all_there_is(serve: Serve) -> None:
    served = await serve()
    paths = {path_of(route, "x") for route in ROUTES}
    for path in paths:
        taken = {method for route in ROUTES if leads_to(route, path)
                 for method in methods_of(route)}  # fmt: skip
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - taken:
            async with served.admin.request(method, path) as response:
                document = await refused(response, 405, "method_not_allowed")
                assert set(response.headers["Allow"].split(",")) == taken
                assert all(one in document["detail"] for one in taken)
    for path in ("/nowhere", "/upload/", "/jobs/", "/JOBS", "//jobs", "/jobs/x/files", "/%00"):
        async with served.admin.get(served.url + path) as response:
            await refused(response, 404, "not_found")


def test_every_handler_is_known_to_one_route_only() -> None:
    """Who may is looked up by handler: a second route could not be given other rules."""
    handlers = [route.handler for route in ROUTES]
    assert len(set(handlers)) == len(handlers)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
