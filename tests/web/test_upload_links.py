"""Upload links: somebody without an account sends so many files, of such kinds, for so long."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from appliance.permissions import Role
from tests import media
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import HTML
from tests.web.wire import refused, services_of


async def make(served: Served, by: aiohttp.ClientSession | None = None, **wanted: Any) -> Any:
    async with (by or served.admin).post("/upload-links", json=wanted) as response:
        assert response.status == 201, await response.text()
        return await response.json()


async def send(
    served: Served, link: Any, data: bytes = b"words", name: str = "a.txt"
) -> aiohttp.ClientResponse:
    path = link["url"].removeprefix(services_of(served).public_url)
    return await served.anonymous.post(path, params={"filename": name}, data=data)


async def test_a_guest_sends_and_the_maker_has_it(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    link = await make(served, ada.http, files=2, preset="thumbnail", note="The photos, please")
    async with await send(served, link) as response:
        assert response.status == 202
        (said,) = (await response.json())["received"]
        assert set(said) == {"filename", "contentType", "sizeBytes", "sha256"}
    async with ada.http.get("/jobs") as response:
        (job,) = (await response.json())["jobs"]
    assert (job["owner"], job["preset"]) == (ada.key.owner, "thumbnail")
    async with ada.http.get(f"/status/{job['jobId']}") as response:
        assert (await response.json())["metadata"] == {"uploadLink": link["linkId"]}
    async with ada.http.get(f"/upload-links/{link['linkId']}") as response:
        found = await response.json()
    assert (found["used"], found["files"], found["state"]) == (1, 2, "open")
    assert "url" not in found


async def test_no_more_than_may_however_many_come_at_once(serve: Serve) -> None:
    served = await serve()
    link = await make(served, files=3)
    answers = await asyncio.gather(*(send(served, link, b"%d" % n) for n in range(12)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [202] * 3 + [410] * 9
    for answer in answers:
        answer.release()
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 3
    async with await send(served, link) as response:
        await refused(response, 410, "link_ended")
    job_id = (await served.json("GET", "/jobs"))["jobs"][0]["jobId"]
    await served.json("POST", f"/jobs/{job_id}/cancel", json={})
    async with served.admin.delete(f"/jobs/{job_id}") as response:
        assert response.status == 204
    async with await send(served, link) as response:  # what was deleted stays counted
        await refused(response, 410, "link_ended")


async def test_several_in_one_form_are_all_or_none(serve: Serve) -> None:
    served = await serve()
    link = await make(served, files=2)
    path = link["url"].removeprefix(services_of(served).public_url)
    for names, status in ((("a", "b", "c"), 410), (("a", "b"), 202)):
        form = aiohttp.FormData()
        for name in names:
            form.add_field("file", name.encode(), filename=f"{name}.txt")
        async with served.anonymous.post(path, data=form) as response:
            assert response.status == status, await response.text()
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 2


@pytest.mark.parametrize(
    ("wanted", "data", "name", "code"),
    [
        ({"types": ["image/*"]}, b"words", "a.txt", "file_type_refused"),
        ({"types": ["image/*"]}, b"words", "a.jpg", "file_type_refused"),
        ({"maxBytes": 4}, b"words", "a.txt", "file_too_large"),
        ({"types": ["image/png"]}, media.jpeg(16, 16), "a.jpg", "file_type_refused"),
        ({}, b"#!/bin/sh\n", "a.txt", "file_type_refused"),
    ],
)
async def test_what_may_not_come_by_it(
    serve: Serve, wanted: dict[str, Any], data: bytes, name: str, code: str
) -> None:
    served = await serve()
    link = await make(served, **wanted)
    async with await send(served, link, data, name) as response:
        assert (await response.json(content_type=None))["code"] == code
    assert (await served.json("GET", "/jobs"))["jobs"] == []
    assert (await served.json("GET", f"/upload-links/{link['linkId']}"))["used"] == 0


async def test_a_link_ends_with_its_time_its_maker_and_by_hand(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    ended = await make(served, ada.http)
    of_ada = await make(served, ada.http)
    short = await make(served, expiresInS=0.000001)
    async with ada.http.delete(f"/upload-links/{ended['linkId']}") as response:
        assert response.status == 204
    await served.json("GET", "/jobs")
    async with served.admin.delete(f"/keys/{ada.key.id}") as response:
        assert response.status == 204
    for link in (ended, of_ada, short):
        async with await send(served, link) as response:
            await refused(response, 410, "link_ended")
        path = link["url"].removeprefix(services_of(served).public_url)
        async with served.anonymous.get(path, headers=HTML) as response:
            assert response.status == 410
            assert '<form class="guest-form"' not in await response.text()


async def test_a_guest_may_nothing_else(serve: Serve) -> None:
    served = await serve()
    link = await make(served)
    token = link["url"].rsplit("/", 1)[1]
    headers = {"Authorization": f"Bearer {token}"}
    for method, path in (("GET", "/jobs"), ("POST", "/upload"), ("GET", "/links")):
        async with served.anonymous.request(method, path, headers=headers) as response:
            assert response.status == 401
    async with served.anonymous.get(f"/u/{token}x") as response:
        await refused(response, 404, "not_found")


async def test_the_page_of_a_guest_works_as_a_plain_form(serve: Serve) -> None:
    served = await serve()
    link = await make(served, files=1, note="<b>hello</b>", types=["text/*"])
    path = link["url"].removeprefix(services_of(served).public_url)
    async with served.anonymous.get(path, headers=HTML) as response:
        text = await response.text()
        assert response.status == 200
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "&lt;b&gt;hello" in text
    form = aiohttp.FormData()
    form.add_field("file", b"words", filename="<i>.txt")
    async with served.anonymous.post(path, data=form, headers=HTML) as response:
        assert response.status == 202
        assert "1 file received" in await response.text()
    async with served.anonymous.post(path, data=b"", headers=HTML) as response:
        assert response.status == 410


async def test_the_page_that_makes_links(serve: Serve) -> None:
    served = await serve()
    form = {"files": "10", "types": "image/*,video/*", "maxBytes": "5MB", "expiresInS": "86400"}
    async with served.admin.post("/upload-links", data=form, headers=HTML) as response:
        text = await response.text()
        assert response.status == 201
        assert "/u/" in text
        assert "0 of 10 files came, image/*, video/*, up to 5.0 MB each" in text
    async with served.admin.get("/links", headers=HTML) as response:
        assert "/u/" not in await response.text()  # the address is shown once


@pytest.mark.parametrize(
    "wanted",
    [{"files": 0}, {"files": 10**6}, {"maxBytes": 0}, {"expiresInS": 0}, {"expiresInS": 1e9},
     {"types": ["pictures"]}, {"preset": "none"}, {"note": "x" * 501}, {"password": "x"}],
)  # fmt: skip
async def test_links_that_cannot_be(serve: Serve, wanted: dict[str, Any]) -> None:
    served = await serve()
    async with served.admin.post("/upload-links", json=wanted) as response:
        await refused(response, 400, "bad_request")


async def test_acts_on_links_are_audited_and_need_the_role(serve: Serve, join: Join) -> None:
    served = await serve()
    link = await make(served)
    async with served.admin.delete(f"/upload-links/{link['linkId']}") as response:
        assert response.status == 204
    acts = [act["action"] for act in (await served.json("GET", "/audit"))["acts"]]
    assert {"upload_link.create", "upload_link.revoke"} <= set(acts)
    viewer = await join(served, Role.VIEWER)
    async with viewer.http.post("/upload-links", json={}) as response:
        await refused(response, 403, "forbidden")


async def test_the_token_is_not_in_the_log(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    served = await serve()
    link = await make(served)
    token = link["url"].rsplit("/", 1)[1]
    for data in (b"words", b"", b"too late"):
        async with await send(served, link, data):
            pass
    async with served.anonymous.get(f"/u/{token}") as response:
        assert response.status == 410
    logged = "".join(capsys.readouterr())
    assert "/u/…" in logged
    assert token not in logged
