"""Every route and everybody: what each is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import appliance.people
from appliance.admin_key import create_key
from appliance.database import deliveries, keys, people, webhooks
from appliance.database.dead_letters import Filter
from appliance.ids import new_id
from appliance.permissions import Role
from appliance.web.routes import ROUTES, Route
from appliance.webhooks import JOB_EVENTS, Webhook, new_secret
from tests.conftest import Serve, Served
from tests.web.conftest import Join, Person
from tests.web.wire import claim, complete, fail, refused, services_of, upload

OF_AN_UPLOAD, OF_A_KEY, OF_A_SESSION = "{upload_id}", "{key_id}", "{session_id}"
OF_A_PERSON, OF_A_LINK, OF_A_GUEST = "{person_id}", "{link_id}", "{token}"
OF_A_WEBHOOK, OF_A_DELIVERY = "{webhook_id}", "{delivery_id}"
FILLED = {
    "{filename}": "a.txt",
    "{name}": "original",
    "{kind}": "type",
    "{redrive_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
    "{key_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
    "{session_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
    "{link_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
    "{token}": "unknown",
    "{person_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
    "{webhook_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
    "{delivery_id}": "01M85F1MKT1XZEV6WT98GJ23JH",
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


async def subject_of_access(served: Served, route: Route, owner: Person) -> str:
    shared, subject = services_of(served), new_id()
    now = shared.clock.now()
    if OF_A_KEY in route.path:
        key, _ = await create_key(shared.database, name="k", role=Role.USER, now=now)
        return route.path.replace(OF_A_KEY, key.id)
    if OF_A_PERSON in route.path:
        owner_there = f"jwt:12345678:{subject}"
        ada = appliance.people.Person(subject, owner_there, "Ada", None, Role.USER, now, now)
        await shared.database.write(people.welcome(ada))
        return route.path.replace(OF_A_PERSON, subject)
    session = keys.start_session(
        subject,
        owner=owner.key.owner,
        key_id=owner.key.id,
        token_hash=subject,
        now=now,
        expires_at=now + 60,
    )
    await shared.database.write(session)
    return route.path.replace(OF_A_SESSION, subject)


async def subject_of_webhooks(served: Served, route: Route, owner: Person) -> str:
    shared, now = services_of(served), services_of(served).clock.now()
    webhook = Webhook(
        id=new_id(), owner=owner.key.owner, url="https://hook.invalid/", events=JOB_EVENTS,
        description="", active=False, created_at=now,
    )  # fmt: skip
    await shared.database.write(webhooks.create(webhook, secret=new_secret()))
    path = route.path.replace(OF_A_WEBHOOK, webhook.id)
    if OF_A_DELIVERY in path:
        delivery = await shared.database.write(
            deliveries.trial(webhook, now=now + 3600)
        )  # not to be sent meanwhile
        path = path.replace(OF_A_DELIVERY, delivery.id)
    return path


async def subject_of(served: Served, route: Route, owner: Person) -> str:
    """The path of something new that the route can be asked for, by anybody who may."""
    if OF_AN_UPLOAD in route.path:
        async with owner.http.post("/files", headers=TUS) as response:
            return response.headers["Location"]
    if OF_A_LINK in route.path or OF_A_GUEST in route.path:
        async with owner.http.post("/upload-links", json={}) as response:
            made = await response.json()
        path = route.path.replace(OF_A_LINK, made["linkId"])
        return path.replace(OF_A_GUEST, made["url"].rsplit("/", 1)[1])
    if OF_A_WEBHOOK in route.path or OF_A_DELIVERY in route.path:
        return await subject_of_webhooks(served, route, owner)
    job = await upload(served, by=owner.http)
    await claim(served, job["jobId"])
    redrive_id = None
    if "dead-letters" in route.path or "redrive" in route.path:
        await fail(served, job["jobId"])
        acts = services_of(served).acts
        redrive_id = (await acts.retry_dead_letters(Filter(fingerprint="none"), actor="me")).id
    elif not route.path.endswith("/cancel"):
        await complete(served, job["jobId"])  # else its events never end
    if any(one in route.path for one in (OF_A_SESSION, OF_A_KEY, OF_A_PERSON)):
        return await subject_of_access(served, route, owner)
    if route.path.startswith("/pauses"):
        await served.json("PUT", PAUSED, json={"reason": "tests"})
    return path_of(route, job["jobId"], redrive_id)


ANYBODY = ("anonymous", "other", "owner", "viewer", "operator", "admin")
"""`other` and `owner` are users; the others have the role of that name, and own nothing."""

PUBLIC = ("ok",) * 6
SELF = READ = (401, "ok", "ok", "ok", "ok", "ok")
UPLOAD = (401, "ok", "ok", 403, "ok", "ok")
ONE_UPLOAD = (401, 404, "ok", 403, 404, 404)  # until it is a job it is nobody's but its owner's
READ_ONE = (401, 404, "ok", "ok", "ok", "ok")
MOVE_ONE = (401, 404, "ok", 403, "ok", "ok")
DELETE_ONE = (401, 404, "ok", 403, 403, "ok")
ONE_LINK = (401, 404, "ok", 403, 404, "ok")
ONE_SESSION = (401, 404, "ok", 404, 404, "ok")
SEE_OWN = (401, 404, "ok", 404, 404, "ok")
CHANGE = (401, "ok", "ok", 403, "ok", "ok")
CHANGE_OWN = (401, 404, "ok", 403, 404, "ok")
READ_ALL = (401, 403, 403, "ok", "ok", "ok")
OPERATE = (401, 403, 403, 403, "ok", "ok")
ADMINISTER = (401, 403, 403, 403, 403, "ok")

EXPECTED: dict[str, tuple[int | str, ...]] = {
    "POST /upload": UPLOAD,
    "PUT /upload/{filename}": UPLOAD,
    "OPTIONS /upload": PUBLIC,
    "OPTIONS /upload/{filename}": PUBLIC,
    "OPTIONS /files": PUBLIC,
    "POST /files": UPLOAD,
    "OPTIONS /files/{upload_id}": PUBLIC,
    "HEAD /files/{upload_id}": ONE_UPLOAD,
    "PATCH /files/{upload_id}": ONE_UPLOAD,
    "DELETE /files/{upload_id}": ONE_UPLOAD,
    "POST /files/{upload_id}": ONE_UPLOAD,
    "GET /status/{job_id}": READ_ONE,
    "GET /jobs": READ,
    "POST /jobs/delete": UPLOAD,
    "POST /jobs/links": UPLOAD,
    "GET /jobs/{job_id}": READ_ONE,
    "GET /jobs/{job_id}/events": READ_ONE,
    "GET /jobs/{job_id}/files/{name}": READ_ONE,
    "GET /jobs/{job_id}/archive": READ_ONE,
    "GET /archive": READ,
    "POST /jobs/{job_id}/cancel": MOVE_ONE,
    "POST /jobs/{job_id}/retry": MOVE_ONE,
    "POST /jobs/{job_id}/process": MOVE_ONE,
    "POST /jobs/{job_id}/release": ADMINISTER,
    "POST /jobs/{job_id}/pin": ADMINISTER,
    "POST /jobs/{job_id}/unpin": ADMINISTER,
    "DELETE /jobs/{job_id}": DELETE_ONE,
    "POST /jobs/{job_id}/delete": DELETE_ONE,
    "POST /jobs/{job_id}/links": MOVE_ONE,
    "DELETE /jobs/{job_id}/links": MOVE_ONE,
    "GET /s/{job_id}/{name}": (404,) * 6,  # for all alike: it is not signed
    "GET /upload-links": UPLOAD,
    "POST /upload-links": UPLOAD,
    "GET /upload-links/{link_id}": ONE_LINK,
    "DELETE /upload-links/{link_id}": ONE_LINK,
    "POST /upload-links/{link_id}/revoke": ONE_LINK,
    "GET /u/{token}": PUBLIC,
    "POST /u/{token}": PUBLIC,
    "GET /links": UPLOAD,
    "GET /presets": SELF,
    "GET /usage": SELF,
    "GET /usage/all": ADMINISTER,
    "GET /events": READ,
    "GET /dead-letters": READ_ALL,
    "GET /dead-letters/groups": READ_ALL,
    "POST /dead-letters/retry": OPERATE,
    "POST /dead-letters/discard": OPERATE,
    "GET /dead-letters/{job_id}": READ_ALL,
    "GET /redrives": READ_ALL,
    "GET /redrives/{redrive_id}": READ_ALL,
    "POST /redrives/{redrive_id}/stop": OPERATE,
    "GET /pauses": READ,
    "POST /pauses": OPERATE,
    "POST /pauses/end": OPERATE,
    "PUT /pauses/{kind}/{name}": OPERATE,
    "DELETE /pauses/{kind}/{name}": OPERATE,
    "GET /audit": ADMINISTER,
    "GET /backups": READ_ALL,
    "POST /backups": ADMINISTER,
    "GET /keys": ADMINISTER,
    "POST /keys": ADMINISTER,
    "DELETE /keys/{key_id}": ADMINISTER,
    "POST /keys/{key_id}/revoke": ADMINISTER,
    "GET /people": ADMINISTER,
    "POST /people/{person_id}/block": ADMINISTER,
    "POST /people/{person_id}/unblock": ADMINISTER,
    "GET /sessions": SELF,
    "DELETE /sessions/{session_id}": ONE_SESSION,
    "POST /sessions/{session_id}/end": ONE_SESSION,
    "GET /webhooks": READ,
    "POST /webhooks": CHANGE,
    "POST /webhooks/callback-secret": CHANGE,
    "GET /webhooks/deliveries": READ,
    "POST /webhooks/deliveries/replay": CHANGE,
    "GET /webhooks/deliveries/{delivery_id}": SEE_OWN,
    "POST /webhooks/deliveries/{delivery_id}/replay": CHANGE_OWN,
    "GET /webhooks/{webhook_id}": SEE_OWN,
    "PATCH /webhooks/{webhook_id}": CHANGE_OWN,
    "DELETE /webhooks/{webhook_id}": CHANGE_OWN,
    "POST /webhooks/{webhook_id}/change": CHANGE_OWN,
    "POST /webhooks/{webhook_id}/delete": CHANGE_OWN,
    "POST /webhooks/{webhook_id}/rotate": CHANGE_OWN,
    "POST /webhooks/{webhook_id}/test": CHANGE_OWN,
    "GET /webhooks/{webhook_id}/deliveries": SEE_OWN,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": READ_ALL,
    "GET /metrics/history": READ_ALL,
    "GET /openapi.json": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /": SELF,
    "GET /dashboard": READ_ALL,
    "GET /dashboard/metrics": READ_ALL,
    "GET /dashboard/dead-letters": READ_ALL,
    "GET /dashboard/jobs/{job_id}": READ_ALL,
    "GET /uploads/{job_id}": READ_ONE,
    "GET /dashboard/audit": ADMINISTER,
    "GET /dashboard/workers": READ_ALL,
    "GET /dashboard/settings": ADMINISTER,
    "GET /dashboard/access": SELF,
    "GET /dashboard/webhooks": READ,
    "GET /signin": PUBLIC,
    "POST /signin": (403,) * 6,  # for all alike: it does not come from our page
    "GET /signin/oidc": (404,) * 6,  # for all alike: no provider is set
    "GET /signin/oidc/callback": (404,) * 6,
    "POST /signin/oidc/logout": (404,) * 6,
    "POST /signout": SELF,
    "GET /manifest.webmanifest": PUBLIC,
    "POST /share": UPLOAD,
    "GET /static/{name}": PUBLIC,
}
"""What each of ANYBODY is answered: "ok", or the status of the refusal. Written by hand, so that
a change of the table in the code is seen here."""


def test_every_route_is_in_this_table() -> None:
    assert [f"{route.method} {route.path}" for route in ROUTES] == list(EXPECTED)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_who_may(serve: Serve, join: Join, route: Route) -> None:
    served = await serve()
    owner, other = await join(served), await join(served)
    viewer, operator = await join(served, Role.VIEWER), await join(served, Role.OPERATOR)
    people = (
        served.anonymous, other.http, owner.http, viewer.http, operator.http, served.admin
    )  # fmt: skip
    for method in methods_of(route):
        for who, http, expected in zip(
            ANYBODY, people, EXPECTED[f"{route.method} {route.path}"], strict=True
        ):
            path = await subject_of(served, route, owner)
            data = b"words" if method in ("POST", "PUT", "PATCH") else None
            headers = HEADERS.get((route.method, route.path), {})
            async with http.request(
                method, path, data=data, headers=headers, allow_redirects=False
            ) as response:
                refusal = response.status if response.status in (401, 403, 404) else "ok"
                assert refusal == expected, who
                assert response.status < 500
                if response.status >= 400 and method != "HEAD" and "json" in response.content_type:
                    code = (await response.json(content_type=None))["code"]
                    await refused(response, response.status, code)


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
