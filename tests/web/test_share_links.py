"""Links to one file, for people with no account: good for that file and that time only."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.wire import refused, services_of, upload


async def share(served: Served, job: Any, **wanted: Any) -> str:
    made = await served.json("POST", f"/jobs/{job['jobId']}/links", json=wanted)
    url: str = made["url"]
    return url.removeprefix(services_of(served).public_url)


async def test_whoever_has_the_link_gets_the_file(serve: Serve) -> None:
    served = await serve()
    job = await upload(served, b"some words", "a letter.txt")
    path = await share(served, job)
    async with served.anonymous.get(path) as response:
        assert response.status == 200
        assert await response.read() == b"some words"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert response.headers["Content-Disposition"].startswith("inline")
    async with served.anonymous.get(path, headers={"Range": "bytes=5-"}) as response:
        assert (response.status, await response.read()) == (206, b"words")
    path = await share(served, job, download=True)
    async with served.anonymous.get(path) as response:
        assert response.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.replace("original", "thumbnail.webp"),
        lambda path: path.replace("until=", "until=9"),
        lambda path: path[:-1],
        lambda path: path.partition("&signature")[0],
        lambda path: path.partition("?")[0],
        lambda path: path.replace("until=", "until=-"),
        lambda path: path.replace("signature=", "signature=%C3%A4"),
    ],
)
async def test_a_link_that_was_changed_is_good_for_nothing(serve: Serve, change: Any) -> None:
    served = await serve()
    job, other = await upload(served), await upload(served, b"others")
    path = await share(served, job)
    for changed in (change(path), path.replace(job["jobId"], other["jobId"])):
        async with served.anonymous.get(changed) as response:
            await refused(response, 404, "not_found")


async def test_links_end(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    job = await upload(served, by=ada.http)
    paths = [await share(served, job) for _ in range(2)]
    async with ada.http.delete(f"/jobs/{job['jobId']}/links") as response:
        assert response.status == 204
    for path in paths:
        async with served.anonymous.get(path) as response:
            await refused(response, 404, "not_found")
    path = await share(served, job)
    async with served.anonymous.get(path) as response:
        assert response.status == 200
    async with served.admin.delete(f"/keys/{ada.key.id}") as response:
        assert response.status == 204
    async with served.anonymous.get(path) as response:
        await refused(response, 410, "link_ended")


@pytest.mark.parametrize(
    ("wanted", "status"),
    [({"file": "none.webp"}, 404), ({"expiresInS": 0}, 400), ({"expiresInS": 1e9}, 400),
     ({"expiresInS": "x"}, 400), ({"path": "x"}, 400)],
)  # fmt: skip
async def test_links_that_cannot_be(serve: Serve, wanted: Any, status: int) -> None:
    served = await serve()
    job = await upload(served)
    async with served.admin.post(f"/jobs/{job['jobId']}/links", json=wanted) as response:
        assert response.status == status


async def test_nobody_shares_what_is_not_theirs(serve: Serve, join: Join) -> None:
    served = await serve()
    job = await upload(served)
    eve = await join(served)
    async with eve.http.post(f"/jobs/{job['jobId']}/links", json={}) as response:
        await refused(response, 404, "not_found")
