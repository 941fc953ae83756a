"""Cancel, retry and delete of one job: by whom, in which state, as JSON and as a form."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.database import jobs
from appliance.ids import new_id
from appliance.jobs import JobStatus
from tests import media
from tests.conftest import Serve, Served
from tests.records import FAULT
from tests.web.browser import signed_in
from tests.web.conftest import Join
from tests.web.test_status import MALFORMED
from tests.web.wire import claim, complete, failed, files_of, refused, services_of, upload


async def in_state(served: Served, status: JobStatus, *, by: Any = None) -> str:
    """The id of a job in that state."""
    job_id: str
    if status is JobStatus.FAILED:
        return await failed(served, by=by)
    job_id = (await upload(served, by=by))["jobId"]
    if status in (JobStatus.PROCESSING, JobStatus.COMPLETED, JobStatus.RETRYING):
        await claim(served, job_id)
    if status is JobStatus.COMPLETED:
        await complete(served, job_id)
    if status is JobStatus.RETRYING:
        await put_off(served, job_id)
    if status is JobStatus.CANCELLED:
        await served.json("POST", f"/jobs/{job_id}/cancel")
    return job_id


async def acts_of(served: Served) -> list[tuple[str, str, str, int | None]]:
    acts = (await served.json("GET", "/audit"))["acts"]
    return [(act["actor"], act["action"], act["subject"], act["jobs"]) for act in acts]


ACTS = {"cancel": ("POST", "/cancel"), "retry": ("POST", "/retry"), "delete": ("DELETE", "")}
POSSIBLE = {
    JobStatus.PENDING: {"cancel"},
    JobStatus.PROCESSING: {"cancel"},
    JobStatus.RETRYING: {"cancel", "retry"},
    JobStatus.COMPLETED: {"delete"},
    JobStatus.FAILED: {"retry", "delete"},
    JobStatus.CANCELLED: {"retry", "delete"},
}
"""As docs/http.md says it."""


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("status", JobStatus)
async def test_every_act_in_every_state(serve: Serve, status: JobStatus, act: str) -> None:
    served = await serve()
    job_id = await in_state(served, status)
    method, path = ACTS[act]
    async with served.admin.request(method, f"/jobs/{job_id}{path}") as response:
        if act not in POSSIBLE[status]:
            document = await refused(response, 409, "illegal_move")
            assert document["jobStatus"] == status
            assert set(document["possible"]) == POSSIBLE[status]
            assert all(one in document["detail"] for one in (status, *POSSIBLE[status]))
            assert (await served.json("GET", f"/status/{job_id}"))["status"] == status
        elif act == "delete":
            assert (response.status, await response.read()) == (204, b"")
        else:
            assert response.status == 200
            job = await response.json()
            assert job["jobId"] == job_id
            assert job["status"] == ("CANCELLED" if act == "cancel" else "PENDING")
            assert await served.json("GET", f"/status/{job_id}") == job


async def test_a_job_that_runs_is_deleted_after_it_was_cancelled(serve: Serve) -> None:
    served = await serve()
    job_id = await in_state(served, JobStatus.PROCESSING)
    async with served.admin.delete(f"/jobs/{job_id}") as response:
        assert "Cancel it first" in (await refused(response, 409, "illegal_move"))["detail"]
    await served.json("POST", f"/jobs/{job_id}/cancel")
    async with served.admin.delete(f"/jobs/{job_id}") as response:
        assert response.status == 204
    for path in (f"/jobs/{job_id}", f"/status/{job_id}", f"/jobs/{job_id}/files/original"):
        async with served.admin.get(path) as response:
            await refused(response, 404, "not_found")
    assert files_of(served) == set()
    for _ in range(2):
        async with served.admin.delete(f"/jobs/{job_id}") as response:
            await refused(response, 404, "not_found")


async def test_a_running_child_is_stopped_within_a_second(serve: Serve) -> None:
    """And what it had made is not kept."""
    served = await serve(workers=True)
    job = await upload(served, media.slow_pdf(30_000), "long.pdf")
    while (await served.json("GET", job["statusUrl"]))["status"] == "PENDING":
        await asyncio.sleep(0.005)
    async with asyncio.timeout(1):
        cancelled = await served.json("POST", f"/jobs/{job['jobId']}/cancel")
        assert cancelled["status"] == "CANCELLED"
        while list((served.data_dir / "scratch").iterdir()):
            await asyncio.sleep(0.005)
    found = await served.json("GET", f"/jobs/{job['jobId']}")
    assert found["attempts"][0]["outcome"] == "cancelled"
    assert found["files"] == []


async def test_the_history_says_who_did_what(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    job_id = (await upload(served, by=ada.http))["jobId"]
    for act in ("cancel", "retry"):
        async with ada.http.post(f"/jobs/{job_id}/{act}") as response:
            assert response.status == 200
    found = await served.json("GET", f"/jobs/{job_id}")
    assert [(entry["status"], entry["detail"]) for entry in found["history"]] == [
        ("PENDING", "received"),
        ("CANCELLED", f"cancelled by {ada.key.owner}"),
        ("PENDING", f"tried again by {ada.key.owner}"),
    ]


async def test_another_try_has_all_its_retries_and_no_dead_letter(serve: Serve) -> None:
    served = await serve()
    job_id = await failed(served)
    assert (await served.json("GET", "/dead-letters"))["matching"] == 1
    job = await served.json("POST", f"/jobs/{job_id}/retry")
    assert (job["attempt"], job["error"], job["finishedAt"]) == (0, None, None)
    assert (await served.json("GET", "/dead-letters"))["matching"] == 0
    await claim(served, job_id)


# --- who ---------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS)
async def test_the_jobs_of_others_are_not_there(serve: Serve, join: Join, act: str) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    job_id = await in_state(served, JobStatus.RETRYING, by=ada.http)
    method, path = ACTS[act]
    async with bob.http.request(method, f"/jobs/{job_id}{path}") as response:
        document = await refused(response, 404, "not_found")
    for there_is_none in (new_id(), *MALFORMED):
        async with bob.http.request(method, f"/jobs/{there_is_none}{path}") as response:
            assert await refused(response, 404, "not_found") == document
    async with served.anonymous.request(method, f"/jobs/{job_id}{path}") as response:
        await refused(response, 401, "not_signed_in")
    assert (await served.json("GET", f"/status/{job_id}"))["status"] == "RETRYING"


async def test_an_admin_s_acts_are_audited_and_an_owner_s_are_not(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    admin = (await upload(served))["owner"]
    for person, expected in ((ada.http, False), (served.admin, True)):
        job_id = await in_state(served, JobStatus.PENDING, by=ada.http)
        for act in ("cancel", "retry", "cancel", "delete"):
            method, path = ACTS[act]
            async with person.request(method, f"/jobs/{job_id}{path}") as response:
                assert response.status < 300
        wanted = [
            (admin, f"job.{act}", job_id, 1) for act in ("delete", "cancel", "retry", "cancel")
        ]
        assert await acts_of(served) == (wanted if expected else [])


async def test_what_was_refused_is_not_audited(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    job_id = await in_state(served, JobStatus.COMPLETED, by=ada.http)
    async with served.admin.post(f"/jobs/{job_id}/retry") as response:
        await refused(response, 409, "illegal_move")
    assert await acts_of(served) == []


async def test_of_many_at_once_one_acts(serve: Serve) -> None:
    served = await serve()
    job_id = await in_state(served, JobStatus.FAILED)

    async def retry() -> int:
        async with served.admin.post(f"/jobs/{job_id}/retry") as response:
            return response.status

    assert sorted(await asyncio.gather(*(retry() for _ in range(10)))) == [200] + [409] * 9


# --- forms -------------------------------------------------------------------------------


async def test_a_form_is_sent_on_to_its_page(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    job_id = await in_state(served, JobStatus.PENDING)
    for act, target, expected in (
        ("cancel", f"/jobs/{job_id}", f"/jobs/{job_id}"),
        ("retry", "/dashboard?status=FAILED&q=a%20b", "/dashboard?status=FAILED&q=a%20b"),
        ("cancel", "//elsewhere.example", "/"),
        ("retry", "https://elsewhere.example/", "/"),
        ("cancel", "/\\elsewhere.example", "/"),
        ("delete", "", "/"),
    ):
        sent = await browser.send(f"/jobs/{job_id}/{act}", {"next": target})
        assert (sent.status, sent.location) == (303, expected), act
    async with served.admin.get(f"/jobs/{job_id}") as response:
        assert response.status == 404


async def test_a_form_that_is_sent_twice_acts_once(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    job_id = await in_state(served, JobStatus.PENDING)
    sent = [await browser.send(f"/jobs/{job_id}/cancel", {"next": "/"}) for _ in range(2)]
    assert [one.status for one in sent] == [303, 409]
    assert "The job is CANCELLED" in sent[1].text
    assert "<html" in sent[1].text


async def test_a_form_of_another_site_does_nothing(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    browser.headers["Origin"] = "https://elsewhere.example"
    job_id = await in_state(served, JobStatus.PENDING)
    assert (await browser.send(f"/jobs/{job_id}/cancel", {})).status == 403
    assert (await served.json("GET", f"/status/{job_id}"))["status"] == "PENDING"


async def test_a_program_that_sends_a_form_is_answered_with_the_job(serve: Serve) -> None:
    served = await serve()
    job_id = await in_state(served, JobStatus.PENDING)
    job = await served.json("POST", f"/jobs/{job_id}/cancel", data={"next": "/dashboard"})
    assert job["status"] == "CANCELLED"
    async with served.admin.post(f"/jobs/{job_id}/delete", data={"next": "/"}) as response:
        assert response.status == 204


async def put_off(served: Served, job_id: str) -> None:
    """RETRYING, due in an hour."""
    shared = services_of(served)
    now = shared.clock.now()
    move = jobs.retry(
        job_id,
        attempt=1,
        now=now,
        next_attempt_at=now + 3600,
        error=FAULT,
        error_class="ChildCrashed",
        stderr_tail=None,
    )
    assert await shared.database.write(move)
