"""GET /status/{jobId}: from the cache or the database, once or after a wait."""

from __future__ import annotations

import asyncio
import time

import pytest

from appliance.database import jobs
from appliance.ids import new_id
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.wire import claim, complete, progress, refused, services_of, until, upload

MALFORMED = ("x", "0" * 26 + "0", "U" * 26, "%00", "..%2F..", "01jd" + "0" * 22, "9" * 5000)


async def test_a_job_as_it_is(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    async with served.admin.get(job["statusUrl"]) as response:
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert await response.json() == job
    await claim(served, job["jobId"])
    found = await served.json("GET", job["statusUrl"])
    assert (found["status"], found["attempt"]) == ("PROCESSING", 1)
    assert found["startedAt"] is not None


async def test_an_etag_spares_the_body_until_the_job_changes(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    async with served.admin.get(job["statusUrl"]) as response:
        etag = response.headers["ETag"]
    known = {"If-None-Match": etag}
    async with served.admin.get(job["statusUrl"], headers=known) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == etag
    await claim(served, job["jobId"])
    async with served.admin.get(job["statusUrl"], headers=known) as response:
        assert response.status == 200
        assert response.headers["ETag"] != etag
        etag = response.headers["ETag"]
    await progress(served, job["jobId"], 0.5)
    async with served.admin.get(job["statusUrl"], headers={"If-None-Match": etag}) as response:
        assert (response.status, (await response.json())["progress"]) == (200, 0.5)


async def test_the_cache_answers_without_the_database(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    job = await upload(served)
    await served.json("GET", job["statusUrl"])  # now it is cached

    def fail(job_id: str) -> None:
        raise AssertionError(f"{job_id} was read again")

    with monkeypatch.context() as watched:
        watched.setattr(jobs, "get", fail)
        assert await served.json("GET", job["statusUrl"]) == job
    await claim(served, job["jobId"])  # and now it is not
    assert (await served.json("GET", job["statusUrl"]))["status"] == "PROCESSING"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_jobs_that_there_are_not(serve: Serve, method: str) -> None:
    served = await serve()
    for job_id in (new_id(), *MALFORMED):
        async with served.admin.request(method, f"/status/{job_id}") as response:
            if method == "GET":
                await refused(response, 404, "not_found")
            assert response.status == 404


async def test_another_owners_job_is_not_there(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    job = await upload(served, by=ada.http)
    for _ in range(2):  # from the database, then from the cache
        async with bob.http.get(f"{job['statusUrl']}?wait=0.01") as response:
            document = await refused(response, 404, "not_found")
    async with bob.http.get(f"/status/{new_id()}") as response:
        assert await refused(response, 404, "not_found") == document  # nothing tells them apart
    for session in (ada.http, served.admin):
        async with session.get(job["statusUrl"]) as response:
            assert (await response.json())["owner"] == ada.key.owner


# --- waiting -----------------------------------------------------------------------------


async def watched(served: Served, job_id: str) -> None:
    """Return once somebody waits for a change of this job."""
    topics = services_of(served).coordination._subscriptions  # type: ignore[attr-defined]
    await until(lambda: topics.get(f"job:{job_id}"))


async def test_a_wait_ends_with_the_next_status(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    url = f"{job['statusUrl']}?wait=30"
    for move, status in ((claim, "PROCESSING"), (complete, "COMPLETED")):
        waiting = asyncio.create_task(served.json("GET", url))
        await watched(served, job["jobId"])
        assert not waiting.done()
        await move(served, job["jobId"])
        async with asyncio.timeout(1):
            assert (await waiting)["status"] == status


async def test_progress_alone_does_not_end_a_wait(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    waiting = asyncio.create_task(served.json("GET", f"{job['statusUrl']}?wait=30"))
    await watched(served, job["jobId"])
    await progress(served, job["jobId"], 0.5)
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await complete(served, job["jobId"])
    assert (await waiting)["status"] == "COMPLETED"


async def test_a_wait_for_nothing_ends_in_time(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    began = time.monotonic()
    assert (await served.json("GET", f"{job['statusUrl']}?wait=0.2"))["status"] == "PENDING"
    assert 0.2 <= time.monotonic() - began < 3


async def test_a_final_job_is_not_waited_for(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    async with asyncio.timeout(2):
        await served.json("GET", f"{job['statusUrl']}?wait=60")


async def test_who_knows_less_is_told_at_once(serve: Serve) -> None:
    """An ETag of an earlier state: the change came before the question."""
    served = await serve()
    job = await upload(served)
    async with served.admin.get(job["statusUrl"]) as response:
        stale = {"If-None-Match": response.headers["ETag"]}
    await claim(served, job["jobId"])
    async with asyncio.timeout(2):
        found = await served.json("GET", f"{job['statusUrl']}?wait=60", headers=stale)
    assert found["status"] == "PROCESSING"


async def test_who_knows_as_much_waits_and_hears_nothing_new(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    async with served.admin.get(job["statusUrl"]) as response:
        known = {"If-None-Match": response.headers["ETag"]}
    url = f"{job['statusUrl']}?wait=0.1"
    async with served.admin.get(url, headers=known) as response:
        assert response.status == 304


async def test_a_wait_is_a_number_of_seconds(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    for wait in ("", "x", "-1", "1e3", "nan", "inf", "1" * 400, "0x1", " 1", "1,5"):
        async with served.admin.get(job["statusUrl"], params={"wait": wait}) as response:
            await refused(response, 400, "bad_request")


async def test_a_stopping_server_ends_every_wait(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    waiting = asyncio.create_task(served.json("GET", f"{job['statusUrl']}?wait=60"))
    await watched(served, job["jobId"])
    services_of(served).stopping.set()
    async with asyncio.timeout(3):
        assert (await waiting)["status"] == "PENDING"
