"""How often an owner, and an address, may ask and begin uploads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.conftest import Serve
from tests.web.conftest import Join
from tests.web.wire import FORM_TYPE, file_part, form, left_nothing, problem, refused

TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
OFFSET = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
TEXT = {"Content-Type": "text/plain"}

Begin = Callable[[aiohttp.ClientSession], Awaitable[aiohttp.ClientResponse]]

WAYS: dict[str, Begin] = {
    "form": lambda http: http.post(
        "/upload", data=form(file_part("a.txt", b"words")), headers={"Content-Type": FORM_TYPE}
    ),
    "raw": lambda http: http.post("/upload?filename=a.txt", data=b"words", headers=TEXT),
    "put": lambda http: http.put("/upload/a.txt", data=b"words", headers=TEXT),
    "tus": lambda http: http.post("/files", headers=TUS),
    "tus with bytes": lambda http: http.post("/files", headers=TUS | OFFSET, data=b"words"),
    "ietf": lambda http: http.post("/files", headers={"Upload-Complete": "?0"}),
    "ietf at /upload": lambda http: http.post(
        "/upload?filename=a.txt", data=b"words", headers=TEXT | {"Upload-Complete": "?1"}
    ),
}


async def test_every_way_in_counts_as_one_upload(serve: Serve, join: Join) -> None:
    served = await serve(rate_uploads=f"{len(WAYS)}/h")
    ada, bob = await join(served), await join(served)
    address = ""
    for number, (way, begin) in enumerate(WAYS.items(), start=1):
        async with await begin(ada.http) as response:
            assert response.status in (201, 202), way
            assert response.headers["RateLimit-Policy"] == f'"uploads";q={len(WAYS)};w=3600'
            told = response.headers["RateLimit"]
            assert told.startswith(f'"uploads";r={len(WAYS) - number};t='), way
            if way == "tus":
                address = response.headers["Location"]
    for way, begin in WAYS.items():
        async with await begin(ada.http) as response:
            document = await refused(response, 429, "rate_limited")
            assert document["policy"] == "uploads", way
            assert 500 < int(response.headers["Retry-After"]) <= 3600 / len(WAYS) + 1
            assert response.headers["RateLimit"].startswith('"uploads";r=0;t=')
    async with served.admin.get("/metrics") as response:
        counted = f'uploads_refused_total{{code="rate_limited"}} {len(WAYS)}.0'
        assert counted in await response.text()
    async with await WAYS["raw"](bob.http) as response:  # another owner, at the same address
        assert response.status == 202
    # What has begun may go on: a piece is no upload.
    async with ada.http.patch(address, headers=TUS | OFFSET, data=b"words") as response:
        assert response.status == 204
        assert "Upload-Job-Id" in response.headers
    async with ada.http.get("/jobs") as response:
        assert response.status == 200


async def test_a_form_counts_each_of_its_files(serve: Serve) -> None:
    served = await serve(rate_uploads="4/h")
    five = form(*(file_part(f"{number}.txt", b"words") for number in range(5)))
    async with served.admin.post("/upload", data=five, headers={"Content-Type": FORM_TYPE}) as one:
        await refused(one, 429, "rate_limited")
    await left_nothing(served)
    async with await WAYS["raw"](served.admin) as response:
        await refused(response, 429, "rate_limited")


async def test_many_at_once_get_no_more_than_the_limit(serve: Serve) -> None:
    served = await serve(rate_uploads="10/h")

    async def send() -> int:
        async with await WAYS["raw"](served.admin) as response:
            return response.status

    statuses = await asyncio.gather(*(send() for _ in range(40)))
    assert (statuses.count(202), statuses.count(429)) == (10, 30)


async def test_requests_are_counted_by_owner_and_else_by_address(serve: Serve, join: Join) -> None:
    served = await serve(rate_requests="5/h", rate_anonymous="3/h")
    ada, bob = await join(served), await join(served)
    for session, limit, answer, policy in (
        (ada.http, 5, 200, "requests"),
        (served.anonymous, 3, 401, "anonymous"),
    ):
        for _ in range(limit):
            async with session.get("/jobs") as response:
                assert response.status == answer
                assert "RateLimit" not in response.headers
        async with session.get("/jobs") as response:
            assert (await refused(response, 429, "rate_limited"))["policy"] == policy
            assert response.headers["RateLimit-Policy"].startswith(f'"{policy}";q={limit};')
        # What reads no table is free: probes, and the parts of a page.
        for path in ("/healthz", "/readyz", "/static/base.css"):
            async with session.get(path) as response:
                assert response.status == 200
        async with session.options("/files") as response:
            assert response.status == 204
    async with bob.http.get("/jobs") as response:
        assert response.status == 200
    # A person is told on a page, and so is who makes addresses up.
    async with served.anonymous.get("/signin", headers={"Accept": "text/html"}) as response:
        assert (response.status, response.content_type) == (429, "text/html")
        assert "Retry-After" in response.headers
    async with served.anonymous.get("/nowhere") as response:
        problem(response.status, await response.json(content_type=None), 429, "rate_limited")


@pytest.mark.parametrize("off", ["off", "0"])
async def test_switched_off_nothing_is_counted(serve: Serve, off: str) -> None:
    served = await serve(rate_uploads=off, rate_requests=off, rate_anonymous=off)
    async with await WAYS["raw"](served.admin) as response:
        assert response.status == 202
        assert not {"RateLimit", "RateLimit-Policy"} & set(response.headers)
    async with served.anonymous.get("/jobs") as response:
        assert response.status == 401
