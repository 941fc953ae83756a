"""GET /usage and /usage/all: what one has here, what is left, and what everybody has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from appliance.database import lifecycle, ownership
from appliance.database.protocol import Transaction
from appliance.permissions import Role
from appliance.web import used_by_owner
from appliance.web.used_by_owner import UsedByOwner
from tests import media
from tests.clocks import MovedClock
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import HTML, page
from tests.web.wire import refused, services_of, upload


async def made_cold(served: Served, job_id: str) -> None:
    """As the cooler records it."""
    await services_of(served).database.write(lifecycle.mark_cold(job_id, now=1.0))


async def test_what_there_is_of_what_and_where(serve: Serve, join: Join) -> None:
    served = await serve(workers=True, quota_bytes="100000", quota_files="3")
    one, other = await join(served), await join(served)
    picture = media.jpeg(64, 48)
    async with one.http.put("/upload/a.jpg", data=picture) as response:
        job = await served.finished((await response.json())["jobId"])
    cold = await upload(served, b"word " * 100, "a.txt", by=one.http)
    await served.finished(cold["jobId"])
    await made_cold(served, cold["jobId"])
    await upload(served, b"others", "b.txt", by=other.http)

    async with one.http.get("/usage") as response:
        told = await response.json()
    used = {(u["type"], u["kind"], u["place"]): (u["files"], u["bytes"]) for u in told["used"]}
    results = (len(job["files"]), sum(file["sizeBytes"] for file in job["files"]))
    assert used["IMAGE", "originals", "hot"] == (1, len(picture))
    assert used["IMAGE", "results", "hot"] == results
    assert used["ANY", "originals", "cold"] == (1, 500)
    assert sum(size for _, size in used.values()) == told["bytes"]
    assert told["leftBytes"] == 100_000 - told["bytes"]
    assert told["leftFiles"] == 1


async def test_nothing_is_left_beyond_a_quota_and_null_without(serve: Serve) -> None:
    served = await serve(quota_files="1")
    await upload(served)
    told = await served.json("GET", "/usage")
    assert (told["leftFiles"], told["leftBytes"]) == (0, None)


async def test_everybody_s(serve: Serve, join: Join) -> None:
    served = await serve()
    small, large = await join(served), await join(served)
    for person, size, count in ((small, 100, 1), (large, 1000, 2)):
        for number in range(count):
            await upload(served, b"x" * size, f"{number}.txt", by=person.http)
    told = await served.json("GET", "/usage/all")
    assert (told["owners"], told["files"], told["bytes"]) == (2, 3, 2100)
    assert [one["owner"] for one in told["largest"]] == [large.key.owner, small.key.owner]
    assert told["largest"][0]["name"] == large.key.name
    assert told["largest"][0]["used"] == [
        {"type": "ANY", "kind": "originals", "place": "hot", "files": 2, "bytes": 2000}
    ]
    assert len((await served.json("GET", "/usage/all?limit=1"))["largest"]) == 1
    shown = (await page(served, "/dashboard/access")).words()
    assert "Has 2.0 KB here, of 2 files" in shown
    assert "Has 100 bytes here, of 1 file" in shown
    viewer = await join(served, Role.VIEWER)
    async with viewer.http.get("/usage/all") as response:
        await refused(response, 403, "forbidden")
    async with viewer.http.get("/dashboard/access", headers=HTML) as response:
        assert "2.0 KB" not in await response.text()


async def test_those_who_have_most_are_not_counted_anew_for_each_who_asks(
    serve: Serve, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    for person in (await join(served), await join(served)):
        await upload(served, b"x" * 100, by=person.http)
    counted = []
    used_by = ownership.used_by

    def counting(owners: Iterable[str]) -> Transaction[list[lifecycle.Used]]:
        counted.extend(owners)
        return used_by(owners)

    monkeypatch.setattr(ownership, "used_by", counting)
    monkeypatch.setattr(used_by_owner, "TIMES", 1e9)  # a count of so little takes next to no time
    first = await served.json("GET", "/usage/all")
    assert await served.json("GET", "/usage/all") == first
    assert sorted(counted) == sorted(one["owner"] for one in first["largest"])


async def test_a_long_count_is_shared_and_given_for_a_while(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    await upload(served)
    shared, clock = services_of(served), MovedClock()
    counts = UsedByOwner(shared.database, clock)
    owner = (await served.json("GET", "/usage/all"))["largest"][0]["owner"]
    begun, let_go = 0, asyncio.Event()

    async def slowly(transaction: Transaction[Any]) -> Any:
        nonlocal begun
        begun += 1
        await let_go.wait()
        clock.pass_time(2.0)
        return await read(transaction)

    read = shared.database.read
    monkeypatch.setattr(shared.database, "read", slowly)
    asking = [asyncio.create_task(counts.of(owner)) for _ in range(5)]
    left = asking.pop()
    await asyncio.wait([left], timeout=0)
    left.cancel()
    let_go.set()
    (first, *others) = await asyncio.gather(*asking)
    assert begun == 1
    assert all(found is first for found in others)
    clock.pass_time(39.0)
    assert await counts.of(owner) is first
    clock.pass_time(2.0)
    assert await counts.of(owner) == first
    assert begun == 2
