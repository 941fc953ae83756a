"""What becomes of files with age: moved to the cold place, deleted, or pinned."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import Any

import pytest

from appliance.database import lifecycle
from appliance.errors import ConfigurationError, StorageUnavailable
from appliance.maintenance.cooler import Cooler
from appliance.maintenance.pruner import Pruner
from appliance.storage.tiered import TieredStorage
from tests import media
from tests.clocks import MovedClock
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import page
from tests.web.wire import claim, complete, refused, services_of, upload

DAY_S = 24 * 3600.0


@pytest.fixture
async def served(serve: Serve, tmp_path: Path) -> Served:
    return await serve(cold_storage_url=f"file://{tmp_path}/cold")


def clock_of(served: Served, days: float) -> MovedClock:
    clock = MovedClock()
    clock.moved_to(services_of(served).clock.now() + days * DAY_S)
    return clock


def cooler(served: Served, days: float) -> Cooler:
    shared = services_of(served)
    return Cooler(
        database=shared.database,
        storage=shared.storage,
        clock=clock_of(served, days),
        after_s=30 * DAY_S,
    )


def pruner(served: Served, days: float) -> Pruner:
    shared = services_of(served)
    return Pruner(
        database=shared.database,
        storage=shared.storage,
        acts=shared.acts,
        clock=clock_of(served, days),
        delete_after_s=365 * DAY_S,
    )


async def done(served: Served, name: str, content: bytes = b"words\n" * 100) -> str:
    job = await upload(served, content, name)
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    return str(job["jobId"])


def files(folder: Path) -> dict[str, int]:
    """Sizes by the id of their job."""
    found = [path for path in folder.rglob("raw/*/*") if path.is_file()]
    found += [path for path in folder.glob("*/*") if path.is_file() and folder.name == "raw"]
    return {path.parent.name: path.stat().st_size for path in found}


async def test_an_old_original_goes_to_the_cold_place_and_is_read_as_before(
    served: Served, tmp_path: Path
) -> None:
    job_id = await done(served, "a.txt")
    waits = (await upload(served, b"x" * 50, "b.txt"))["jobId"]
    assert await cooler(served, 29).run_once() == {"moved": 0}
    assert await cooler(served, 31).run_once() == {"moved": 1}
    assert set(files(tmp_path / "cold")) == {job_id}
    assert set(files(served.data_dir / "files/raw")) == {waits}, "a job that waits keeps its file"

    async with served.admin.get(f"/jobs/{job_id}/files/original") as response:
        assert await response.read() == b"words\n" * 100
    headers = {"Range": "bytes=6-10"}
    async with served.admin.get(f"/jobs/{job_id}/files/original", headers=headers) as response:
        assert (response.status, await response.read()) == (206, b"words")
    shown = (await page(served, "/dashboard")).words()
    assert (
        "650 bytes in all, 600 bytes of it in the cold place; at the prices of AWS $0.00" in shown
    )
    acts = (await served.json("GET", "/audit?action=storage.cool"))["acts"]
    assert [act["detail"] for act in acts] == [{"files": 1, "bytes": 600}]
    assert await cooler(served, 32).run_once() == {"moved": 0}
    async with served.admin.delete(f"/jobs/{job_id}") as response:
        assert response.status == 204
    assert files(tmp_path / "cold") == {}


async def test_a_cold_place_that_fails_is_told_and_loses_nothing(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await done(served, "a.txt")
    storage = services_of(served).storage
    assert isinstance(storage, TieredStorage)

    async def fails(key: str) -> Any:
        raise StorageUnavailable(f"The disk failed: {errno.errorcode[errno.EIO]}.")

    with monkeypatch.context() as patched:
        patched.setattr(storage._cold, "receive", fails)
        with pytest.raises(StorageUnavailable):
            await cooler(served, 31).run_once()
    part = (await served.json("GET", "/readyz"))["parts"]["cold storage"]
    assert not part["ok"]
    assert part["detail"] == "nothing is moved there: The disk failed: EIO."
    assert "cold storage needs a look" in (await page(served, "/dashboard")).words()
    assert set(files(served.data_dir / "files/raw")) == {job_id}
    assert await cooler(served, 31).run_once() == {"moved": 1}
    assert "cold storage" not in (await served.json("GET", "/readyz"))["parts"]


async def test_what_arrives_otherwise_in_the_cold_place_stays_where_it_was(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await done(served, "a.txt")
    storage = services_of(served).storage
    assert isinstance(storage, TieredStorage)
    whole = storage._cold.read

    async def rotten(key: str, **options: Any) -> Any:
        async for piece in whole(key, **options):
            yield piece[:-1] + b"?"

    with monkeypatch.context() as patched:
        patched.setattr(storage._cold, "read", rotten)
        with pytest.raises(StorageUnavailable):
            await cooler(served, 31).run_once()
    assert set(files(served.data_dir / "files/raw")) == {job_id}
    assert await cooler(served, 31).run_once() == {"moved": 1}


async def test_two_years(served: Served, tmp_path: Path, chance: random.Random) -> None:
    """A model beside it: what must lie where after every week, with pins that come and go."""
    shared = services_of(served)
    age: dict[str, float] = {}
    cold: set[str] = set()
    pinned: set[str] = set()
    sizes: dict[str, int] = {}
    start = shared.clock.now()
    for number in range(12):
        size = chance.randrange(1, 2000)
        job_id = await done(served, f"{number}.txt", bytes(65 + number % 26 for _ in range(size)))
        age[job_id], sizes[job_id] = shared.clock.now() - start, size
    for week in range(1, 105):
        days = week * 7.0
        if chance.random() < 0.1 and age:
            job_id = chance.choice(sorted(age))
            if job_id in pinned:
                pinned.remove(job_id)
                await shared.acts.unpin(job_id, actor="key:admin")
            else:
                pinned.add(job_id)
                await shared.acts.pin(job_id, reason="Keep.", actor="key:admin")
        await cooler(served, days).run_once()
        if days > 30:
            cold |= set(age)
        await pruner(served, days)._prune_jobs()
        if days > 365:
            age = {job_id: at for job_id, at in age.items() if job_id in pinned}
            cold &= set(age)
        assert set(files(tmp_path / "cold")) == cold
        assert set(files(served.data_dir / "files/raw")) == set(age) - cold
        totals = await shared.database.read(lifecycle.cold())
        assert totals == (len(cold), sum(sizes[job_id] for job_id in cold))
    assert set(age) == pinned


async def test_a_pin_keeps_a_job(served: Served, join: Join) -> None:
    owner = await join(served)
    job = await upload(served, by=owner.http)
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    path = f"/jobs/{job['jobId']}"
    pin = await served.json("POST", f"{path}/pin", json={"reason": "Wanted by the court."})
    assert pin["reason"] == "Wanted by the court."
    assert (await served.json("GET", path))["pin"] == pin
    shown = (await page(served, f"/dashboard{path}")).words()
    assert "Wanted by the court." in shown
    assert "Delete for good" not in shown
    for http in (owner.http, served.admin):
        async with http.delete(path) as response:
            told = await refused(response, 409, "illegal_move")
            assert "Wanted by the court." in told["detail"]
    async with owner.http.post("/jobs/delete", json={"jobs": [job["jobId"]]}) as response:
        await refused(response, 409, "illegal_move")
    await pruner(served, 400)._prune_jobs()
    assert (await served.json("GET", path))["jobId"] == job["jobId"]

    async with served.admin.post(f"{path}/unpin") as response:
        assert response.status == 204
    async with served.admin.post(f"{path}/unpin") as response:
        await refused(response, 409, "illegal_move")
    assert (await served.json("GET", path))["pin"] is None
    async with owner.http.delete(path) as response:
        assert response.status == 204


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 501}, {"why": "x"}])
async def test_a_pin_needs_its_reason(served: Served, body: dict[str, str]) -> None:
    job_id = await done(served, "a.txt")
    async with served.admin.post(f"/jobs/{job_id}/pin", json=body) as response:
        await refused(response, 400, "bad_request")
    async with served.admin.post("/jobs/01J0000000000000000000000/pin", json={"reason": "x"}) as r:
        await refused(r, 404, "not_found")


async def test_a_cold_picture_is_worked_on_again(serve: Serve, tmp_path: Path) -> None:
    served = await serve(workers=True, cold_storage_url=f"file://{tmp_path}/cold")
    job = await served.json("PUT", "/upload/cat.jpg", data=media.jpeg(300, 200))
    await served.finished(job["jobId"])
    assert await cooler(served, 31).run_once() == {"moved": 1}
    again = await served.json("POST", f"/jobs/{job['jobId']}/process", json={"preset": "thumbnail"})
    assert (await served.finished(again["jobId"]))["status"] == "COMPLETED"


async def test_a_disk_that_is_not_mounted_stops_the_start(serve: Serve, tmp_path: Path) -> None:
    served = await serve(cold_storage_url=f"file://{tmp_path}/cold")
    await served.stop()
    (tmp_path / "cold").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="Mount its disk"):
        await serve(cold_storage_url=f"file://{tmp_path}/cold")
    assert not (tmp_path / "cold").exists(), "nothing is written at its mount point"
    (tmp_path / "elsewhere").rename(tmp_path / "cold")
    await serve(cold_storage_url=f"file://{tmp_path}/cold")
