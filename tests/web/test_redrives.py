"""GET /redrives and GET /redrives/{redriveId}."""

from __future__ import annotations

import pytest

from appliance.database import redrives
from appliance.ids import new_id
from tests.conftest import Serve
from tests.web.pages import page
from tests.web.test_status import MALFORMED
from tests.web.wire import claim, complete, fail, failed, redrive_when, refused, services_of


async def test_newest_first(serve: Serve) -> None:
    served = await serve()
    assert await served.json("GET", "/redrives") == {"redrives": [], "nextCursor": None}
    made = []
    for staged in (False, True, False):
        body = {"filter": {}, "staged": staged}
        made.append((await served.json("POST", "/dead-letters/retry", json=body))["redrive"])
    assert await served.json("GET", "/redrives") == {"redrives": made[::-1], "nextCursor": None}
    seen, cursor = [], ""
    while cursor is not None:
        some = await served.json("GET", f"/redrives?limit=2&cursor={cursor}")
        seen.append([one["redriveId"] for one in some["redrives"]])
        cursor = some["nextCursor"]
    ids = [one["redriveId"] for one in made[::-1]]
    assert seen == [ids[:2], ids[2:]]
    assert {redrive["state"] for redrive in made} == {"completed"}  # there was nothing to do


async def test_what_became_of_the_jobs(serve: Serve) -> None:
    served = await serve()
    ids = [await failed(served) for _ in range(5)]
    answer = await served.json("POST", "/dead-letters/retry", json={"filter": {}})
    redrive_id = answer["redrive"]["redriveId"]
    for job_id in ids[:4]:
        await claim(served, job_id)
    await complete(served, ids[0], attempt=2)
    await fail(served, ids[1], attempt=2)
    await served.json("POST", f"/jobs/{ids[2]}/cancel")
    await served.json("POST", f"/jobs/{ids[3]}/cancel")
    async with served.admin.delete(f"/jobs/{ids[3]}") as response:
        assert response.status == 204
    await services_of(served).acts.advance(redrive_id)
    redrive = await served.json("GET", f"/redrives/{redrive_id}")
    assert redrive["counts"] == {
        "total": 5, "waiting": 0, "running": 1, "completed": 1, "failed": 1, "other": 2,
    }  # fmt: skip
    assert (redrive["state"], redrive["endedAt"]) == ("running", None)


async def test_one_that_stopped_still_tells_what_became_of_its_last_wave(serve: Serve) -> None:
    served = await serve()
    ids = sorted([await failed(served) for _ in range(4)])
    answer = await served.json("POST", "/dead-letters/retry", json={"filter": {}, "staged": True})
    redrive_id = answer["redrive"]["redriveId"]
    acts = services_of(served).acts
    await claim(served, ids[0])
    await complete(served, ids[0], attempt=2)
    await acts.advance(redrive_id)
    for job_id in ids[1:]:
        await claim(served, job_id)
    await fail(served, ids[1], attempt=2)
    stopped = await acts.advance(redrive_id)
    assert stopped is not None
    assert (stopped.state, stopped.counts.running) == ("stopped", 2)
    for job_id in ids[2:]:
        await complete(served, job_id, attempt=2)
    redrive = await redrive_when(served, redrive_id, lambda one: one["counts"]["running"] == 0)
    assert (redrive["counts"]["completed"], redrive["counts"]["failed"]) == (3, 1)
    assert redrive["state"] == "stopped"


async def test_one_that_is_stopped_begins_nothing_more(serve: Serve) -> None:
    served = await serve()
    ids = sorted([await failed(served) for _ in range(4)])
    answer = await served.json("POST", "/dead-letters/retry", json={"filter": {}, "staged": True})
    redrive_id = answer["redrive"]["redriveId"]
    stopped = [await served.json("POST", f"/redrives/{redrive_id}/stop") for _ in range(2)]
    assert stopped[0] == stopped[1]  # the second one changes nothing
    assert stopped[0]["state"] == "stopped"
    assert stopped[0]["stoppedBy"] == answer["redrive"]["actor"]
    assert (stopped[0]["counts"]["running"], stopped[0]["counts"]["waiting"]) == (1, 3)
    await claim(served, ids[0])
    await complete(served, ids[0], attempt=2)
    await services_of(served).acts.advance(redrive_id)
    waiting = (await served.json("GET", "/dead-letters"))["deadLetters"]
    assert sorted(letter["jobId"] for letter in waiting) == ids[1:]
    acts = (await served.json("GET", "/audit"))["acts"]
    assert [(act["action"], act["jobs"]) for act in acts if "stop" in act["action"]] == [
        ("dead_letters.stop", 3)
    ]
    shown = await page(served, "/dashboard/dead-letters")
    assert "Stopped by hand" in shown.words()
    assert not shown.posting(f"/redrives/{redrive_id}/stop")
    # Nothing has gone wrong, so operators are not told.
    assert await services_of(served).database.read(redrives.stopped(after=0)) == []


async def test_redrives_that_there_are_not(serve: Serve) -> None:
    served = await serve()
    for redrive_id in (new_id(), *MALFORMED):
        async with served.admin.get(f"/redrives/{redrive_id}") as response:
            await refused(response, 404, "not_found")
        async with served.admin.post(f"/redrives/{redrive_id}/stop") as response:
            await refused(response, 404, "not_found")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=201"])
async def test_queries_that_make_no_sense(serve: Serve, query: str) -> None:
    served = await serve()
    async with served.admin.get(f"/redrives?{query}") as response:
        await refused(response, 400, "bad_request")
