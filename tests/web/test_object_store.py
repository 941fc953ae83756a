"""An appliance whose files lie in a bucket: what its clients see of that, and of its faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.database import workers
from appliance.errors import ConfigurationError, ObjectMissing
from appliance.storage.buckets import pulse, requests
from appliance.storage.object_store import ObjectStorage
from appliance.storage.spool import Given
from appliance.workers import surroundings
from tests import buckets, media
from tests.conftest import Serve, Served
from tests.faulty_network import WELL, Fate, faulty_network
from tests.lagging_bucket import lagging
from tests.web.wire import services_of

WORDS = b"words " * 1000


async def serve_on_swift(serve: Serve, folder: Path, **options: Any) -> Served:
    await (await buckets.bucket("swift", prefix="any")).close()
    through = options.pop("through", None)
    url = buckets.url("swift", prefix=folder.name, through=through)
    return await serve(storage_url=url, variables=buckets.environ("swift"), **options)


async def upload(served: Served, name: str, content: bytes) -> str:
    return str((await served.json("PUT", f"/upload/{name}", data=content))["jobId"])


async def test_ranges_and_unchanged_files(serve: Serve, tmp_path: Path) -> None:
    served = await serve_on_swift(serve, tmp_path)
    path = f"/jobs/{await upload(served, 'a.txt', WORDS)}/files/original"
    async with served.admin.get(path) as response:
        assert (response.status, await response.read()) == (200, WORDS)
        etag = response.headers["ETag"]
    async with served.admin.get(path, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    for if_range, status, part in ((etag, 206, WORDS[-3:]), ('"other"', 200, WORDS)):
        headers = {"Range": "bytes=-3", "If-Range": if_range}
        async with served.admin.get(path, headers=headers) as response:
            assert (response.status, await response.read()) == (status, part)
    async with served.admin.get(path, headers={"Range": "bytes=6000-"}) as response:
        assert response.status == 416
    async with served.admin.head(path) as response:
        assert response.headers["Content-Length"] == str(len(WORDS))


async def test_downloads_are_sent_to_the_bucket_where_that_is_safe(
    serve: Serve, tmp_path: Path
) -> None:
    served = await serve_on_swift(serve, tmp_path, storage_redirect="1")
    photo = media.jpeg(64, 48)
    path = f"/jobs/{await upload(served, 'käse.jpg', photo)}/files/original"
    async with served.admin.get(path, allow_redirects=False) as response:
        assert response.status == 307
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Location"].startswith(buckets.endpoint("swift"))
        assert "X-Amz-Expires=60&" in response.headers["Location"]
    async with served.admin.get(path) as response:  # aiohttp takes no key along to other hosts
        assert (response.status, await response.read()) == (200, photo)
        assert response.content_type == "image/jpeg"
        assert "k%C3%A4se.jpg" in response.headers["Content-Disposition"]
    for headers in ({"Sec-Fetch-Dest": "image"}, {"Sec-Fetch-Dest": "empty"}, {"If-Range": "x"}):
        async with served.admin.get(path, headers=headers, allow_redirects=False) as response:
            assert (response.status, await response.read()) == (200, photo)
    async with served.admin.head(path, allow_redirects=False) as response:
        assert response.status == 200
    text = f"/jobs/{await upload(served, 'a.txt', WORDS)}/files/original"
    async with served.admin.get(text, allow_redirects=False) as response:
        assert (response.status, await response.read()) == (200, WORDS)
    async with served.anonymous.get(path, allow_redirects=False) as response:
        assert response.status == 401
    link = await served.json("POST", f"/jobs/{path.split('/')[2]}/links", json={})
    async with served.anonymous.get(link["url"], allow_redirects=False) as response:
        assert response.status == 200


async def test_what_was_changed_behind_our_back_is_not_served(serve: Serve, tmp_path: Path) -> None:
    served = await serve_on_swift(serve, tmp_path)
    job_id = await upload(served, "a.txt", WORDS)
    path = f"/jobs/{job_id}/files/original"
    bucket = await buckets.bucket("swift", prefix=tmp_path.name)
    try:
        for other, headers in (
            (WORDS[:-1] + b"?", {}),
            (WORDS + b"more", {"Range": "bytes=0-9"}),
        ):
            await bucket.put(f"raw/{job_id}/a.txt", Given(other))
            async with served.admin.get(path, headers=headers) as response:
                assert response.status == 500
                assert (await response.json())["code"] == "object_damaged"
    finally:
        await bucket.close()


async def test_a_job_that_is_deleted_before_its_files_are_listed_leaves_no_original(
    serve: Serve, tmp_path: Path
) -> None:
    served = await serve_on_swift(serve, tmp_path)
    storage = services_of(served).storage
    assert isinstance(storage, ObjectStorage)
    await lagging(storage).lag()
    job_id = await upload(served, "a.txt", WORDS)
    await served.json("POST", f"/jobs/{job_id}/cancel")
    async with served.admin.delete(f"/jobs/{job_id}") as response:
        assert response.status == 204
    with pytest.raises(ObjectMissing):
        await storage.size(f"raw/{job_id}/a.txt")


async def test_while_the_store_is_down_uploads_wait_and_all_is_told(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "REPEAT_FOR_S", 0.2)
    monkeypatch.setattr(surroundings, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(pulse, "FRESH_S", 0.0)
    monkeypatch.setattr(pulse, "FRESH_FAULT_S", 0.0)
    monkeypatch.setattr(pulse, "RETRY_AFTER_S", 0.1)
    is_down = False
    async with faulty_network(
        buckets.endpoint("swift"), lambda _: Fate(busy=True) if is_down else WELL
    ) as network:
        others = dict.fromkeys(("workers_image", "workers_pdf", "workers_video"), "0")
        served = await serve_on_swift(serve, tmp_path, workers=True, through=network.url, **others)
        done = await upload(served, "done.txt", WORDS)
        await served.finished(done)
        await served.json("PUT", "/pauses/type/ANY", json={"reason": "for the test"})
        job_id = await upload(served, "a.txt", WORDS)
        is_down = True
        await network.end()
        read = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(64):
                yield bytes(256 * 1024)
                read += 1

        async with served.admin.put(
            "/upload/b.txt", data=body(), headers={"Expect": "100-continue"}
        ) as response:
            assert response.status == 503
            assert (await response.json())["code"] == "storage_unavailable"
            assert int(response.headers["Retry-After"]) >= 1
        assert read == 0
        async with served.admin.get("/readyz") as response:
            assert response.status == 503
            assert "503" in (await response.json())["parts"]["storage"]["detail"]
        async with served.admin.get("/metrics") as response:
            assert "appliance_storage_up 0.0" in await response.text()
        async with served.admin.get("/dashboard") as response:
            assert response.status == 200
            assert "not usable" in await response.text()
        async with served.admin.delete(f"/jobs/{done}") as response:
            assert response.status == 503
        assert (await served.json("GET", f"/status/{done}"))["status"] == "COMPLETED"
        async with served.admin.delete("/pauses/type/ANY") as response:
            assert response.status == 204
        database = services_of(served).database
        while not (found := await _outages(database)):
            await asyncio.sleep(0.02)
        assert found == {"storage_unavailable"}
        job = await served.json("GET", f"/status/{job_id}")
        assert (job["status"], job["error"]) == ("PENDING", None)
        is_down = False
        job = await served.finished(job_id)
        assert (job["status"], job["attempt"]) == ("COMPLETED", 1)
        async with served.admin.get("/readyz") as response:
            assert response.status == 200
        async with served.admin.delete(f"/jobs/{done}") as response:
            assert response.status == 204


async def test_while_the_store_is_slow_uploads_are_answered_in_time(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_s, repeat_for_s = requests.ANSWER_S / 10, requests.REPEAT_FOR_S / 10
    monkeypatch.setattr(requests, "ANSWER_S", answer_s)
    monkeypatch.setattr(requests, "REPEAT_FOR_S", repeat_for_s)
    monkeypatch.setattr(pulse, "FRESH_FAULT_S", 0.0)
    fate = WELL
    async with faulty_network(buckets.endpoint("swift"), lambda _: fate) as network:
        served = await serve_on_swift(serve, tmp_path, through=network.url)
        await upload(served, "a.txt", WORDS)
        fate = Fate(held=asyncio.Event())
        await network.end()
        before = network.connections
        # To store it, and to delete what may have come to be there all the same.
        async with asyncio.timeout(2 * (answer_s + repeat_for_s) + 1):
            async with served.admin.put("/upload/b.txt", data=WORDS) as response:
                assert response.status == 503
                assert (await response.json())["code"] == "storage_unavailable"
                assert int(response.headers["Retry-After"]) >= 1
        assert network.connections - before >= 2, "asked again"
        fate = WELL
        job_id = await upload(served, "b.txt", WORDS)
        async with served.admin.get(f"/jobs/{job_id}/files/original") as response:
            assert await response.read() == WORDS


async def _outages(database: Any) -> set[str]:
    pools = await database.read(workers.pools())
    return {pool.outage.code for pool in pools if pool.outage is not None}


async def test_a_bucket_that_cannot_be_used_stops_the_start(serve: Serve, tmp_path: Path) -> None:
    url = buckets.url("swift", prefix="x").replace("s3://appliance", "s3://nowhere")
    for variables, told in (
        (buckets.environ("swift"), "APPLIANCE_STORAGE_URL: .*there is no such bucket"),
        ({"AWS_ACCESS_KEY_ID": "a"}, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: set both"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            await serve(storage_url=url, variables=variables)
