"""POST /jobs/{jobId}/process and GET /presets: a stored file once more, with another preset."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.database import jobs, ownership, stored_files
from appliance.ids import new_id
from appliance.jobs import JobStatus, Scan
from tests.conftest import Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join
from tests.web.pages import page
from tests.web.test_job_acts import acts_of, in_state
from tests.web.test_status import MALFORMED
from tests.web.wire import claim, complete, files_of, refused, services_of, upload

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A preset of the user's, for servers that start afterwards."""

    def make(name: str, text: str) -> Path:
        folder = tmp_path / "my presets"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        return folder

    return make


async def process(served: Served, job_id: str, *, by: Any = None, **asked: Any) -> Any:
    headers = {"Idempotency-Key": asked.pop("key")} if "key" in asked else {}
    async with (by or served.admin).post(
        f"/jobs/{job_id}/process", json={"preset": "default", **asked}, headers=headers
    ) as response:
        assert response.status == 202, await response.text()
        document = await response.json()
        assert response.headers["Location"] == document["statusUrl"]
        return document


# --- presets ------------------------------------------------------------------------------


async def test_the_presets_are_listed(serve: Serve, join: Join, write: Write) -> None:
    folder = write("mine.toml", 'version = 4\ndescription = "Mine"\n[pdf]\n[any]\n')
    served = await serve(presets_dir=str(folder))
    ada = await join(served)
    async with ada.http.get("/presets") as response:
        presets = (await response.json())["presets"]
    assert presets[0]["name"] == "default"
    assert presets[0]["processors"] == ["any", "image", "pdf", "video"]
    mine = next(preset for preset in presets if preset["name"] == "mine")
    assert mine == {
        "name": "mine",
        "version": 4,
        "description": "Mine",
        "processors": ["any", "pdf"],
    }


@pytest.mark.parametrize("how", ["upload", "process"])
async def test_an_unknown_preset_is_refused_with_those_there_are(serve: Serve, how: str) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    there_are = [one["name"] for one in (await served.json("GET", "/presets"))["presets"]]
    request = (
        served.admin.post("/upload?filename=a.txt&preset=nosuch", data=b"words")
        if how == "upload"
        else served.admin.post(f"/jobs/{job_id}/process", json={"preset": "nosuch"})
    )
    async with request as response:
        document = await refused(response, 400, "bad_request")
    assert document["presets"] == there_are
    assert all(name in document["detail"] for name in ("'nosuch'", *there_are))
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1


async def test_an_upload_s_preset_is_its_job_s(serve: Serve) -> None:
    served = await serve()
    job = await upload(served, preset="thumbnail")
    assert (job["preset"], job["presetVersion"]) == ("thumbnail", None)


# --- once more ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", JobStatus)
async def test_a_new_job_in_whatever_state_the_old_one_is(serve: Serve, status: JobStatus) -> None:
    served = await serve()
    job_id = await in_state(served, status)
    before = await served.json("GET", f"/jobs/{job_id}")
    job = await process(served, job_id, preset="thumbnail", priority=9)
    assert job["jobId"] != job_id
    same = ("type", "filename", "contentType", "sizeBytes", "sha256", "owner", "metadata", "scan")
    assert {name: job[name] for name in same} == {name: before[name] for name in same}
    assert (job["status"], job["preset"], job["priority"]) == ("PENDING", "thumbnail", 9)
    assert (job["attempt"], job["presetVersion"], job["files"]) == (0, None, [])
    after = await served.json("GET", f"/jobs/{job_id}")
    assert after.pop("lifecycle")["deleteOriginalAt"] is None, "the new job needs the original"
    del before["lifecycle"]
    assert after == before
    found = await served.json("GET", f"/jobs/{job['jobId']}")
    (received,) = found["history"]
    assert received["detail"] == f"from the original of {job_id}, asked for by {before['owner']}"
    async with served.admin.get(f"/jobs/{job['jobId']}/files/original") as response:
        assert await response.read() == b"words"


async def test_it_is_worked_on_and_knows_the_version(serve: Serve, write: Write) -> None:
    folder = write("mine.toml", "version = 4\n[any]\n")
    served = await serve(workers=True, presets_dir=str(folder))
    first = await served.finished((await upload(served))["jobId"])
    assert (first["status"], first["preset"], first["presetVersion"]) == ("COMPLETED", "default", 1)
    again = await served.finished((await process(served, first["jobId"], preset="mine"))["jobId"])
    assert (again["status"], again["preset"], again["presetVersion"]) == ("COMPLETED", "mine", 4)
    assert again["files"]
    stored = {file["url"] for job in (first, again) for file in job["files"]}
    assert len(stored) == len(first["files"]) + len(again["files"])
    listed = (await served.json("GET", "/jobs"))["jobs"]
    assert [one["presetVersion"] for one in listed] == [4, 1]


async def test_the_same_preset_may_be_asked_for_again(serve: Serve) -> None:
    served = await serve()
    job_id = (await upload(served, metadata='{"album": "Rome"}'))["jobId"]
    second = await process(served, job_id)
    third = await process(served, second["jobId"])
    assert len({job_id, second["jobId"], third["jobId"]}) == 3
    assert third["metadata"] == {"album": "Rome"}
    assert third["priority"] == 5


async def test_the_original_stays_as_long_as_one_job_does(serve: Serve) -> None:
    served = await serve()
    first = await in_state(served, JobStatus.COMPLETED)
    second = (await process(served, first))["jobId"]
    await claim(served, second)
    await complete(served, second)
    original = files_of(served)
    assert len(original) == 1
    async with served.admin.delete(f"/jobs/{first}") as response:
        assert response.status == 204
    assert files_of(served) == original
    assert (await served.json("GET", f"/jobs/{second}"))["sizeBytes"] == 5
    third = (await process(served, second))["jobId"]
    for job_id in (second, third):
        if job_id == third:
            await served.json("POST", f"/jobs/{third}/cancel")
        async with served.admin.delete(f"/jobs/{job_id}") as response:
            assert response.status == 204
    assert files_of(served) == set()
    shared = services_of(served)
    assert await shared.database.read(stored_files.known_uploads([first])) == set()


async def test_the_original_counts_once(serve: Serve) -> None:
    served = await serve(quota_bytes="12")
    job = await upload(served)
    for _ in range(3):
        await process(served, job["jobId"])
    shared = services_of(served)
    usage = await shared.database.read(ownership.usage(job["owner"]))
    assert (usage.total_bytes, usage.originals) == (5, 1)


async def test_above_the_quota_nothing_more_is_made(serve: Serve, tmp_path: Path) -> None:
    served = await serve(quota_bytes="12", workers=True)
    job = await upload(served, b"x" * 10)
    await served.finished(job["jobId"])  # its preview takes 10 more
    async with served.admin.post(
        f"/jobs/{job['jobId']}/process", json={"preset": "default"}
    ) as response:
        await refused(response, 413, "quota_exceeded")


async def test_of_what_is_locked_away_nothing_is_made(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    job_id = (await upload(served, by=ada.http))["jobId"]
    await claim(served, job_id)
    shared = services_of(served)
    infected = Scan(verdict="infected", reason="Eicar-Test")
    assert await shared.database.write(jobs.record_scan(job_id, attempt=1, scan=infected))
    for person in (ada.http, served.admin):
        async with person.post(f"/jobs/{job_id}/process", json={"preset": "default"}) as response:
            document = await refused(response, 403, "quarantined")
        assert "Eicar-Test" in document["detail"]
    assert await shared.database.write(jobs.release_scan(job_id, actor="key:B"))
    job = await process(served, job_id)
    assert job["scan"]["releasedBy"] == "key:B"


async def test_without_its_original_nothing_can_be_made(serve: Serve) -> None:
    served = await serve()
    job_id = await in_state(served, JobStatus.COMPLETED)
    (key,) = files_of(served)
    (served.data_dir / "files" / key).unlink()
    async with served.admin.post(f"/jobs/{job_id}/process", json={"preset": "default"}) as response:
        document = await refused(response, 409, "original_gone")
    assert "Upload the file again" in document["detail"]
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1


# --- who ----------------------------------------------------------------------------------


async def test_the_jobs_of_others_are_not_there(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    job_id = (await upload(served, by=ada.http))["jobId"]
    asked = {"preset": "default"}
    for unseen in (job_id, new_id(), *MALFORMED):
        async with bob.http.post(f"/jobs/{unseen}/process", json=asked) as response:
            await refused(response, 404, "not_found")
    async with served.anonymous.post(f"/jobs/{job_id}/process", json=asked) as response:
        await refused(response, 401, "not_signed_in")
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1


async def test_an_admin_s_is_its_owner_s_and_is_audited(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    admin = (await upload(served))["owner"]
    job_id = (await upload(served, by=ada.http))["jobId"]
    await process(served, job_id, by=ada.http)
    assert await acts_of(served) == []
    job = await process(served, job_id, preset="thumbnail", key="k")
    assert await process(served, job_id, preset="thumbnail", key="k") == job
    assert job["owner"] == ada.key.owner
    assert await acts_of(served) == [(admin, "job.process", job_id, 1)]
    (act,) = (await served.json("GET", "/audit"))["acts"]
    assert act["detail"] == {"preset": "thumbnail", "newJobId": job["jobId"]}


# --- repeats, bodies ------------------------------------------------------------------------


async def test_with_a_key_one_job_is_made(serve: Serve) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    made = await asyncio.gather(*(process(served, job_id, key='"once"') for _ in range(10)))
    assert len({job["jobId"] for job in made}) == 1
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 2
    for asked in ({"preset": "thumbnail"}, {"preset": "default", "priority": 6}):
        async with served.admin.post(
            f"/jobs/{job_id}/process", json=asked, headers={"Idempotency-Key": "once"}
        ) as response:
            document = await refused(response, 409, "idempotency_conflict")
            assert document["jobIds"] == [made[0]["jobId"]]
    # An upload's key is no other's: the key is its owner's, whatever it was for.
    async with served.admin.post(
        "/upload?filename=a.txt", data=b"words", headers={"Idempotency-Key": "once"}
    ) as response:
        await refused(response, 409, "idempotency_conflict")


async def test_a_repeat_is_answered_though_the_original_is_gone(serve: Serve) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    made = await process(served, job_id, key="once")
    (key,) = files_of(served)
    (served.data_dir / "files" / key).unlink()
    assert await process(served, job_id, key="once") == made


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "preset is missing"),
        ({"preset": 1}, "preset: expected `str`"),
        ({"preset": "default", "prioritty": 1}, "prioritty is not known. Known here: preset"),
        ({"preset": "default", "priority": 10}, "priority: expected `int` <= 9"),
        ({"preset": "default", "priority": -1}, "priority: expected `int` >= 0"),
        (["default"], "expected `object`"),
    ],
)
async def test_what_is_not_asked_well_is_refused(serve: Serve, body: Any, told: str) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    async with served.admin.post(f"/jobs/{job_id}/process", json=body) as response:
        assert told in (await refused(response, 400, "bad_request"))["detail"]


async def test_a_form_is_sent_on_to_its_page(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    job_id = (await upload(served))["jobId"]
    sent = await browser.send(
        f"/jobs/{job_id}/process", {"preset": "thumbnail", "priority": "7", "next": "/dashboard"}
    )
    assert (sent.status, sent.location) == (303, "/dashboard")
    newest = (await served.json("GET", "/jobs"))["jobs"][0]
    assert (newest["preset"], newest["priority"]) == ("thumbnail", 7)


async def test_the_page_of_the_new_job_says_where_it_is_from(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    job_id = (await upload(served, by=ada.http))["jobId"]
    job = await process(served, job_id, by=ada.http, preset="thumbnail")
    shown = await page(served, f"/dashboard/jobs/{job['jobId']}")
    assert f"from the original of {job_id}, asked for by somebody" in shown.words()
    chosen = [option for option in shown.named("option") if "selected" in option]
    assert chosen[0]["title"] == "Only a thumbnail, fast"
