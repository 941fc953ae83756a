"""A whole appliance with a real clamd: what the scanner finds goes nowhere, by whatever way it
came; a scanner that is down holds jobs back and loses none."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.permissions import Role
from tests import media
from tests.clamd import EICAR, SIGNATURE, Clamd
from tests.conftest import Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join
from tests.web.test_job_acts import acts_of
from tests.web.wire import exchange, file_part, form, post_form, refused, services_of, upload

TUS = "Tus-Resumable: 1.0.0"
PARTIAL = "Content-Type: application/partial-upload"


@pytest.fixture
async def clamd(tmp_path: Path) -> AsyncIterator[Clamd]:
    made = Clamd(tmp_path / "clamd")
    await made.start()
    yield made
    await made.kill()


ServeScanned = Callable[..., Awaitable[Served]]


@pytest.fixture
def serve_scanned(serve: Serve, clamd: Clamd) -> ServeScanned:
    async def start(**settings: str) -> Served:
        return await serve(workers=True, clamd_url=clamd.url, **settings)

    return start


def infected_picture() -> bytes:
    """A good JPEG, with the test file in a comment."""
    jpeg = media.jpeg(64, 48)
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(EICAR) + 2) + EICAR + jpeg[2:]


# --- every way in --------------------------------------------------------------------------


async def by_raw_body(served: Served, data: bytes) -> str:
    return str((await upload(served, data, name="a.jpg"))["jobId"])


async def by_form(served: Served, data: bytes) -> str:
    answer = await post_form(served, form(file_part("a.jpg", data)))
    return str(answer.json()["jobId"])


async def by_put(served: Served, data: bytes) -> str:
    return str((await served.json("PUT", "/upload/a.jpg", data=data))["jobId"])


async def by_tus(served: Served, data: bytes) -> str:
    """In two PATCHes, the signature across their border."""
    name = base64.b64encode(b"a.jpg").decode()
    made = await exchange(
        served, "POST /files", TUS, f"Upload-Length: {len(data)}",
        f"Upload-Metadata: filename {name}", "Content-Length: 0",
    )  # fmt: skip
    border = data.index(EICAR) + 20 if EICAR in data else len(data) // 2
    location = made.headers["Location"].removeprefix(served.url)
    for start, piece in ((0, data[:border]), (border, data[border:])):
        answer = await exchange(
            served, f"PATCH {location}", TUS, f"Upload-Offset: {start}",
            "Content-Type: application/offset+octet-stream", f"Content-Length: {len(piece)}",
            body=piece,
        )  # fmt: skip
        assert answer.status == 204, answer.body
    return str(answer.headers["Upload-Job-Id"])


async def by_ietf(served: Served, data: bytes) -> str:
    border = data.index(EICAR) + 20 if EICAR in data else len(data) // 2
    made = await exchange(
        served, "POST /files?filename=a.jpg", "Upload-Complete: ?0", f"Content-Length: {border}",
        body=data[:border],
    )  # fmt: skip
    answer = await exchange(
        served, f"PATCH {made.headers['Location'].removeprefix(served.url)}", PARTIAL,
        f"Upload-Offset: {border}", "Upload-Complete: ?1",
        f"Content-Length: {len(data) - border}", body=data[border:],
    )  # fmt: skip
    return str(answer.json()["jobId"])


async def by_link(served: Served, data: bytes) -> str:
    """By somebody without an account."""
    link = await served.json("POST", "/upload-links", json={})
    path = link["url"].removeprefix(services_of(served).public_url)
    async with served.anonymous.post(path, params={"filename": "a.jpg"}, data=data) as response:
        assert response.status == 202
    return str((await served.json("GET", "/jobs"))["jobs"][0]["jobId"])


WAYS = (by_raw_body, by_form, by_put, by_tus, by_ietf, by_link)


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_infected_goes_no_further(
    serve_scanned: ServeScanned, way: Callable[[Served, bytes], Awaitable[str]]
) -> None:
    served = await serve_scanned()
    job = await served.finished(await way(served, infected_picture()))
    assert (job["status"], job["error"]["code"]) == ("FAILED", "infected_file")
    assert job["error"]["step"] == "scanning for viruses"
    assert SIGNATURE in job["error"]["message"]
    assert job["attempt"] == 1, "a verdict burns no retries"
    assert (job["scan"]["verdict"], job["files"]) == ("infected", [])
    assert job["scan"]["engine"].startswith("ClamAV")


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_clean_is_worked_on(
    serve_scanned: ServeScanned, way: Callable[[Served, bytes], Awaitable[str]]
) -> None:
    served = await serve_scanned()
    job = await served.finished(await way(served, media.jpeg(64, 48)))
    assert (job["status"], job["scan"]["verdict"]) == ("COMPLETED", "clean")


async def test_until_the_verdict_only_its_owner_has_it(serve: Serve, join: Join) -> None:
    served = await serve(clamd_url="unix:///nowhere/clamd.sock")
    ada, viewer, operator = (
        await join(served), await join(served, Role.VIEWER), await join(served, Role.OPERATOR)
    )  # fmt: skip
    job = await upload(served, by=ada.http)
    async with ada.http.post(f"/jobs/{job['jobId']}/links", json={}) as response:
        shared = (await response.json())["url"].removeprefix(services_of(served).public_url)
    paths = (f"/jobs/{job['jobId']}/files/original", f"/jobs/{job['jobId']}/archive")
    for path in (*paths, f"/archive?job={job['jobId']}"):
        for other in (viewer, operator):
            async with other.http.get(path) as response:
                document = await refused(response, 403, "quarantined")
                assert "still to be scanned" in document["detail"]
        for may in (ada.http, served.admin):
            async with may.get(path) as response:
                assert response.status == 200
    async with served.anonymous.get(shared) as response:
        await refused(response, 403, "quarantined")


# --- quarantine ----------------------------------------------------------------------------


async def infected(served: Served, by: Any = None) -> str:
    job_id = (await upload(served, infected_picture(), name="a.jpg", by=by))["jobId"]
    assert (await served.finished(job_id))["status"] == "FAILED"
    return str(job_id)


async def test_what_is_infected_is_locked_away(serve_scanned: ServeScanned, join: Join) -> None:
    served = await serve_scanned()
    ada, bob = await join(served), await join(served)
    job_id = await infected(served, by=ada.http)
    path = f"/jobs/{job_id}/files/original"
    async with ada.http.get(path) as response:
        assert SIGNATURE in (await refused(response, 403, "quarantined"))["detail"]
    async with bob.http.get(path) as response:
        await refused(response, 404, "not_found")
    async with served.admin.get(path) as response:
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert await response.read() == infected_picture()


async def test_an_owner_s_retry_finds_it_again(serve_scanned: ServeScanned, join: Join) -> None:
    served = await serve_scanned()
    ada = await join(served)
    job_id = await infected(served, by=ada.http)
    async with ada.http.post(f"/jobs/{job_id}/retry") as response:
        assert response.status == 200
    assert (await served.finished(job_id))["error"]["code"] == "infected_file"


async def test_an_admin_releases_it(serve_scanned: ServeScanned, join: Join) -> None:
    served = await serve_scanned()
    ada = await join(served)
    job_id = await infected(served, by=ada.http)
    async with ada.http.post(f"/jobs/{job_id}/release") as response:
        await refused(response, 403, "forbidden")
    await served.json("POST", f"/jobs/{job_id}/release")
    job = await served.finished(job_id)
    assert job["status"] == "COMPLETED"
    assert job["scan"]["verdict"] == "infected", "what was found is not forgotten"
    assert job["scan"]["releasedBy"].startswith("key:")
    async with ada.http.get(f"/jobs/{job_id}/files/original") as response:
        assert response.status == 200
    assert ("job.release", job_id, 1) in [act[1:] for act in await acts_of(served)]
    async with served.admin.post(f"/jobs/{job_id}/release") as response:
        await refused(response, 409, "illegal_move")


async def test_an_admin_purges_it(serve_scanned: ServeScanned, join: Join) -> None:
    served = await serve_scanned()
    job_id = await infected(served, by=(await join(served)).http)
    async with served.admin.delete(f"/jobs/{job_id}") as response:
        assert response.status == 204
    assert not (served.data_dir / "files/raw" / job_id).exists()


async def test_only_what_is_locked_away_is_released(serve_scanned: ServeScanned) -> None:
    served = await serve_scanned()
    job_id = (await upload(served, media.jpeg(64, 48), name="a.jpg"))["jobId"]
    await served.finished(job_id)
    async with served.admin.post(f"/jobs/{job_id}/release") as response:
        await refused(response, 409, "illegal_move")
    async with served.admin.post("/jobs/01JD0000000000000000000000/release") as response:
        await refused(response, 404, "not_found")


async def test_the_job_s_page_offers_the_release(serve_scanned: ServeScanned) -> None:
    served = await serve_scanned()
    job_id = await infected(served)
    async with served.admin.get(f"/dashboard/jobs/{job_id}") as page:
        assert f'action="/jobs/{job_id}/release"' in await page.text()
    browser = await signed_in(served)
    assert (await browser.send(f"/jobs/{job_id}/release", {})).status == 303
    assert (await served.finished(job_id))["status"] == "COMPLETED"


# --- what cannot be scanned ----------------------------------------------------------------


async def test_larger_than_the_scanner_takes_is_said_to_be_so(serve_scanned: ServeScanned) -> None:
    served = await serve_scanned(scan_max_bytes="1000")
    job_id = (await upload(served, media.jpeg(64, 48), name="a.jpg"))["jobId"]
    job = await served.finished(job_id)
    assert (job["status"], job["scan"]["verdict"]) == ("COMPLETED", "not_scanned")
    assert "larger than 1,000 bytes" in job["scan"]["reason"]


async def test_where_a_scan_is_required_it_is_refused(serve_scanned: ServeScanned) -> None:
    served = await serve_scanned(scan="require", scan_max_bytes="1000")
    job_id = (await upload(served, media.jpeg(64, 48), name="a.jpg"))["jobId"]
    job = await served.finished(job_id)
    assert (job["status"], job["error"]["code"]) == ("FAILED", "not_scanned")


async def test_switched_off(serve_scanned: ServeScanned) -> None:
    served = await serve_scanned(scan="off")
    job = await served.finished((await upload(served, infected_picture(), name="a.jpg"))["jobId"])
    assert job["status"] == "COMPLETED"
    assert job["scan"] == {"verdict": "not_scanned", "reason": "no scanner is set"}


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_a_scanner_that_is_down_holds_jobs_back_and_burns_none(
    serve_scanned: ServeScanned, clamd: Clamd, policy: str
) -> None:
    served = await serve_scanned(scan=policy)
    await clamd.kill()
    job_id = (await upload(served, media.jpeg(64, 48), name="a.jpg"))["jobId"]
    version = None
    while True:  # the test's own timeout is the deadline
        headers = {"If-None-Match": version} if version else {}
        async with served.admin.get(f"/status/{job_id}?wait=5", headers=headers) as response:
            version = response.headers["ETag"]
            if response.status == 304:
                continue
            job = await response.json()
        if job["scan"]["verdict"] == "scanner_unavailable" and job["status"] == "PENDING":
            break
    assert "cannot be reached" in job["scan"]["reason"]
    while (workers := (await served.json("GET", "/readyz"))["parts"]["workers"])["ok"]:
        await asyncio.sleep(0.05)  # until the pools have told how they are
    assert "scanner" in workers["detail"]
    async with served.admin.get("/dashboard") as page:
        assert "jobs wait until it answers" in await page.text()
    await clamd.start()
    job = await served.finished(job_id)
    assert (job["status"], job["scan"]["verdict"]) == ("COMPLETED", "clean")
    assert job["attempt"] == 1, "no attempt was burnt"
