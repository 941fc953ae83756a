"""The history of figures: what is noted, put together into slots, as a page and as JSON."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.clock import rfc3339
from appliance.database import history, jobs
from appliance.database.history import BUCKET_RATIO
from appliance.database.protocol import Statement, Transaction
from appliance.jobs import JobType
from appliance.maintenance.sampler import Sampler
from tests.clocks import MovedClock
from tests.conftest import Serve, Served
from tests.records import FAULT, a_job
from tests.web.pages import links, page
from tests.web.wire import claim, complete, refused, services_of, upload

DAY_S = 24 * 3600.0


async def ended(
    served: Served,
    *,
    at: float,
    took_s: float,
    good: bool = True,
    job_type: JobType = JobType.IMAGE,
) -> str:
    """A job that arrived at `at`, was begun then, and ended `took_s` later."""
    database = services_of(served).database
    job = a_job(type=job_type, created_at=at, size_bytes=1000)
    await database.write(jobs.create([job]))
    assert await database.write(jobs.claim(job.id, worker="w", now=at)) is not None
    lease: dict[str, Any] = {"attempt": 1, "now": at + took_s}
    move = (
        jobs.complete(job.id, **lease, result={}, files=[])
        if good
        else jobs.fail(job.id, **lease, error=FAULT, error_class="Crash", stderr_tail=None)
    )
    assert await database.write(move) is not None
    return job.id


async def known(served: Served, query: str) -> dict[str, Any]:
    """The slots that have figures, by their number."""
    document = await served.json("GET", f"/metrics/history?{query}")
    return {number: slot for number, slot in enumerate(document["slots"]) if slot is not None}


async def slot_at(served: Served, at: float, query: str) -> Any:
    found = (await known(served, query)).values()
    return next(slot for slot in found if slot["at"] == rfc3339(at))


def durations_since(at: float) -> Transaction[int]:
    """How many jobs are counted in buckets, whether or not anything else is known of that time."""
    asked = {"first": int(at // 60), "end": int(at // 60) + 30_000, "step": 60, "type": None}
    rows = yield Statement("history_of_durations", asked)
    return sum(row["jobs"] for row in rows)


async def test_figures_of_an_hour_are_those_of_the_jobs(serve: Serve) -> None:
    served = await serve()
    shared = services_of(served)
    begun = (shared.clock.now() // 60 - 30) * 60.0
    for took_s in (*[1.0] * 20, 20.0):
        await ended(served, at=begun, took_s=took_s)
    await ended(served, at=begun, took_s=5.0, good=False)
    await ended(served, at=begun, took_s=7.0, job_type=JobType.PDF)
    slot = await slot_at(served, begun, "range=hour")
    assert (slot["received"], slot["receivedBytes"]) == (23, 23000)
    assert (slot["completed"], slot["failed"]) == (22, 1)
    assert slot["successRate"] == pytest.approx(22 / 23)
    assert slot["averageS"] == pytest.approx(47 / 22)
    assert slot["p95S"] == pytest.approx(7, rel=BUCKET_RATIO**0.5 - 1 + 1e-6)
    only = await slot_at(served, begun, "range=hour&type=pdf")
    assert (only["received"], only["averageS"]) == (1, pytest.approx(7))
    again = await served.json("GET", "/metrics/history")
    assert (again["range"], again["type"], again["stepS"], len(again["slots"])) == (
        "hour", None, 60, 60,
    )  # fmt: skip


async def test_eight_days_pass(serve: Serve) -> None:
    """The sampler on a clock that is moved to the present: what is old goes, what it did not see
    is a gap."""
    served = await serve()
    shared = services_of(served)
    now = shared.clock.now()
    clock = MovedClock()
    sampler = Sampler(database=shared.database, clock=clock)
    waiting = a_job(created_at=now - 8.5 * DAY_S)
    await shared.database.write(jobs.create([waiting]))
    for days in (8.2, 6.0, 5.0, 0.5):
        clock.wall = now - days * DAY_S
        await ended(served, at=clock.wall, took_s=days)
        await sampler.run_once()
    clock.wall = now
    await sampler.run_once()
    week = await known(served, "range=week")
    assert sum(slot["completed"] for slot in week.values()) == 3
    ages = [slot["oldestS"] / DAY_S for slot in week.values() if slot["completed"]]
    assert ages == pytest.approx([2.5, 3.5, 8.0], abs=0.001)
    assert {slot["queued"] for slot in week.values() if slot["completed"]} == {1}
    assert len(week) <= 5  # all others are gaps
    day = await known(served, "range=day")
    assert sum(slot["completed"] for slot in day.values()) == 1
    kept = await shared.database.read(history.read(history.Span(12 * 24, 60), now=now))
    assert sum(slot.completed for slot in kept if slot is not None) == 3
    counted = await shared.database.read(durations_since(now - 12 * DAY_S))
    assert counted == 3


async def test_a_job_again_brings_no_bytes(serve: Serve) -> None:
    served = await serve()
    job_id = (await upload(served, b"x" * 1000))["jobId"]
    await claim(served, job_id)
    await complete(served, job_id)
    await served.json("POST", f"/jobs/{job_id}/process", json={"preset": "thumbnail"})
    slots = (await known(served, "range=hour")).values()
    assert sum(slot["received"] for slot in slots) == 2
    assert sum(slot["receivedBytes"] for slot in slots) == 1000


async def test_the_page_has_charts_and_the_same_as_a_table(serve: Serve) -> None:
    served = await serve()
    empty = await page(served, "/dashboard/metrics")
    assert "No figures in the last hour." in empty.words()
    now = services_of(served).clock.now()
    await ended(served, at=now - 1800, took_s=2.0)
    await ended(served, at=now - 1740, took_s=2.0, good=False)
    for span in ("hour", "day", "week"):
        shown = await page(served, f"/dashboard/metrics?range={span}&fragment=panels")
        assert f"Uploads per minute over the last {span}" in shown.words()
        assert "Completed: lowest " in shown.words()
        assert [row for row in shown.named("tr") if row.get("data-key")]
        words = shown.words()
        assert "1.0 KB10100%2.0 s2.2 s" in words or "2.0 KB1150%2.0 s2.2 s" in words
        assert f"/dashboard/metrics?range={span}&type=pdf" in links(shown, "/dashboard/metrics")
    assert (
        "No figures in the last hour."
        in (await page(served, "/dashboard/metrics?type=video")).words()
    )


@pytest.mark.parametrize("query", ["range=year", "type=mp3"])
async def test_what_there_is_no_history_of_is_refused(serve: Serve, query: str) -> None:
    served = await serve()
    async with served.admin.get(f"/metrics/history?{query}") as response:
        await refused(response, 400, "bad_request")
    await page(served, f"/dashboard/metrics?{query}", status=400)


async def test_tiles_tell_the_change(serve: Serve) -> None:
    served = await serve()
    now = services_of(served).clock.now()
    await ended(served, at=now - 600, took_s=6.0)
    first = (await page(served, "/dashboard")).words()
    assert "Avg processing 6 s p95 6.5 s no figure for the hour before" in first
    await ended(served, at=now - 5400, took_s=2.0)
    second = (await page(served, "/dashboard")).words()
    assert "Avg processing 6 s p95 6.5 s +4 s on the hour before" in second
    assert "Success rate 100.0% as in the hour before" in second
