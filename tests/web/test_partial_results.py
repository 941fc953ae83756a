"""Results of a job that is still being worked on: told and served at once, gone with their
attempt."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from appliance.database import jobs
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.test_events import listening, subscribed
from tests.web.wire import claim, fail, publish, refused, services_of, upload

DATA = b"0123456789" * 20_000


async def working(served: Served, by: Any = None) -> Any:
    """A job in work, with a thumbnail."""
    job = await upload(served, by=by)
    await claim(served, job["jobId"])
    await publish(served, job["jobId"], data=DATA)
    return job


async def test_the_status_lists_what_is_there(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    async with served.admin.get(job["statusUrl"]) as response:  # now it is cached
        etag = response.headers["ETag"]
    await publish(served, job["jobId"], data=DATA)
    known = {"If-None-Match": etag}
    async with served.admin.get(job["statusUrl"], headers=known) as response:
        assert response.status == 200
        found = await response.json()
    assert found["status"] == "PROCESSING"
    (file,) = found["files"]
    assert (file["name"], file["sizeBytes"]) == ("thumbnail.webp", len(DATA))
    assert file["url"] == f"/jobs/{job['jobId']}/files/thumbnail.webp"
    (listed,) = (await served.json("GET", "/jobs"))["jobs"]
    assert listed["files"] == [file]


async def test_events_tell_of_each(serve: Serve) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    await claim(served, job_id)
    async with listening(served.admin, "/events") as stream:
        await subscribed(served)
        await publish(served, job_id)
        event = await stream.next()
        assert event is not None
        assert event.job["status"] == "PROCESSING"
        assert [file["name"] for file in event.job["files"]] == ["thumbnail.webp"]


async def test_they_are_served_whole_and_in_ranges(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    url = f"/jobs/{(await working(served, ada.http))['jobId']}/files/thumbnail.webp"
    async with ada.http.get(url) as response:
        assert (response.status, response.content_type) == (200, "image/webp")
        assert await response.read() == DATA
    async with ada.http.get(url, headers={"Range": "bytes=100000-100004"}) as response:
        assert (response.status, await response.read()) == (206, b"01234")
    async with bob.http.get(url) as response:
        await refused(response, 404, "not_found")


async def test_one_that_goes_while_it_is_asked_for_is_not_there(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    job_id = (await working(served))["jobId"]
    shared = services_of(served)
    read = shared.storage.read

    async def too_late(key: str, **options: Any) -> AsyncGenerator[bytes, None]:
        await fail(served, job_id)
        await shared.storage.delete(key)
        async for piece in read(key, **options):
            yield piece

    monkeypatch.setattr(shared.storage, "read", too_late)
    async with served.admin.get(f"/jobs/{job_id}/files/thumbnail.webp") as response:
        await refused(response, 404, "not_found")


@pytest.mark.parametrize("end", ["fail", "release", "cancel"])
async def test_they_go_with_their_attempt(serve: Serve, end: str) -> None:
    served = await serve()
    job = await working(served)
    job_id, shared = job["jobId"], services_of(served)
    assert len((await served.json("GET", job["statusUrl"]))["files"]) == 1
    match end:
        case "fail":
            await fail(served, job_id)
        case "cancel":
            await served.json("POST", f"/jobs/{job_id}/cancel")
        case "release":
            move = jobs.release(job_id, attempt=1, now=2.0, outcome="lost", detail="gone")
            assert await shared.database.write(move) is not None
            await shared.coordination.delete(f"status:{job_id}")
    assert (await served.json("GET", job["statusUrl"]))["files"] == []
    async with served.admin.get(f"/jobs/{job_id}/files/thumbnail.webp") as response:
        await refused(response, 404, "not_found")
