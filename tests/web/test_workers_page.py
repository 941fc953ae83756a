"""GET /dashboard/workers: who works on what, why so many, and on which server."""

from __future__ import annotations

import os

import appliance
from appliance.database import workers
from appliance.database.workers import (
    KEPT_SCALINGS,
    About,
    Kind,
    PoolState,
    ProcessorState,
    Scaling,
)
from appliance.jobs import JobType
from appliance.permissions import Role
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import HTML, Page, links, page
from tests.web.wire import claim, services_of, upload

WORKERS = "/dashboard/workers"


async def scaled(served: Served, number: int, job_type: JobType = JobType.IMAGE) -> None:
    shared = services_of(served)
    reason = f"up to {number + 1}: {number} queued, more than 10 for each of {number}"
    scaling = Scaling(shared.clock.now(), job_type, "n", number, number + 1, reason)
    await shared.database.write(workers.add_scaling(scaling))


async def test_with_no_worker_at_all(serve: Serve) -> None:
    words = (await page(await serve(), WORKERS)).words()
    assert words.count("No process takes these.") == 4
    assert f"Serves HTTP. Process {os.getpid()}, version {appliance.__version__}." in words
    assert "No pool had to grow yet." in words


async def test_who_works_on_what(serve: Serve) -> None:
    served = await serve()
    shared = services_of(served)
    job_id = (await upload(served, name="busy <b>.txt"))["jobId"]
    await claim(served, job_id)
    walls = {"landlock": "", "network": "No user namespaces here"}
    own = ProcessorState("any", "1.2", ("text/plain",), ready=True, layers=walls)
    broken = ProcessorState("cad", None, (), ready=False, fault="It could not be imported.")
    pool = PoolState(JobType.ANY, 1, 4, 2, True, processors=(own, broken))
    await shared.database.write(
        workers.beat("w1", node="kitchen", running={}, now=shared.clock.now() - 120, pools=[pool])
    )
    shown = await page(served, WORKERS)
    words = shown.words()
    assert f"/dashboard/jobs/{job_id}" in links(shown, "/dashboard/jobs/")
    assert "1 of 2 busy, from 1 to 4" in words
    assert "kitchen Serves HTTP and works on jobs. Process 0. 0 jobs under way" in words
    assert "last heartbeat 2 min ago" in words
    for told in ("any 1.2", "text/plain", "cad", "It could not be imported.", "landlock",
                 "No user namespaces here"):  # fmt: skip
        assert told in words
    assert {form.action for form in shown.acts()} == {"/pauses"}


async def test_the_last_decisions_of_each_pool_are_kept(serve: Serve) -> None:
    served = await serve()
    shared = services_of(served)
    await scaled(served, 7, JobType.VIDEO)
    for number in range(1, KEPT_SCALINGS + 6):
        await scaled(served, number)
    kept = await shared.database.read(workers.scalings(limit=1000))
    images = [one.workers_before for one in kept if one.type is JobType.IMAGE]
    assert images == list(range(KEPT_SCALINGS + 5, 5, -1))
    assert [one.workers_before for one in kept if one.type is JobType.VIDEO] == [7]
    words = (await page(served, WORKERS)).words()
    assert f"{KEPT_SCALINGS + 5} → {KEPT_SCALINGS + 6}" in words
    assert "55 queued, more than 10 for each of 55." in words


async def test_one_that_is_gone_is_named(serve: Serve) -> None:
    served = await serve()
    shared = services_of(served)
    now = shared.clock.now()
    about = About(Kind.API, "cellar", 12, "0.0.9")
    await shared.database.write(
        workers.beat("w1", node="n", about=about, running={}, now=now - 90, pools=[])
    )
    assert "cellar Serves HTTP. Process 12, version 0.0.9." in (await page(served, WORKERS)).words()
    known = await shared.database.read(workers.servers())
    lost = [one for one in known if one.id == "w1"]
    assert await shared.database.write(workers.mark_gone(lost, now=now)) == 1
    words = (await page(served, f"{WORKERS}?fragment=panels&fresh=1")).words()
    assert "cellar, gone Serves HTTP." in words
    assert "last heartbeat 1 min ago" in words


async def test_a_viewer_sees_it_and_changes_nothing(serve: Serve, join: Join) -> None:
    served = await serve()
    await served.json("PUT", "/pauses/type/PDF", json={"reason": "Holiday"})
    for role, actions in (
        (Role.VIEWER, set()),
        (Role.OPERATOR, {"/pauses", "/pauses/end"}),
    ):
        person = await join(served, role)
        async with person.http.get(WORKERS, headers=HTML) as response:
            assert response.status == 200
            shown = Page(await response.text())
        assert "Holiday" in shown.words()
        assert {form.action for form in shown.acts()} == actions
