"""What becomes of files with age: moved to the cold place, deleted, or pinned."""

from __future__ import annotations

import errno
import random
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
import pytest

from appliance.acts import Acts
from appliance.database import figures, jobs, lifecycle
from appliance.database.stored_files import Ages
from appliance.errors import ConfigurationError, StorageRefused, StorageUnavailable
from appliance.maintenance.cooler import Cooler
from appliance.maintenance.pruner import Pruner
from appliance.storage.own_rules import OwnRules, Rules
from appliance.storage.tiered import TieredStorage
from tests import media
from tests.clocks import MovedClock
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import page
from tests.web.wire import claim, complete, metrics, refused, services_of, upload

DAY_S = 24 * 3600.0
YEAR = Ages(365)


@pytest.fixture
async def served(serve: Serve, tmp_path: Path) -> Served:
    return await serve(cold_storage_url=f"file://{tmp_path}/cold")


def clock_of(served: Served, days: float) -> MovedClock:
    clock = MovedClock()
    clock.moved_to(services_of(served).clock.now() + days * DAY_S)
    return clock


def cooler(served: Served, days: float, own_rules: OwnRules | None = None) -> Cooler:
    shared = services_of(served)
    return Cooler(
        database=shared.database,
        storage=shared.storage,
        clock=clock_of(served, days),
        after_s=30 * DAY_S,
        own_rules=own_rules,
        counted=shared.metrics.cooled_bytes.inc,
    )


class RulesSet(NamedTuple):
    """Own rules of a store, as somebody has set them."""

    rules: Rules | None
    """None: it does not tell."""
    subject: str = "s3://files"
    cold_class: str | None = "STANDARD_IA"

    def wanted(self, cold_after_days: int) -> Rules:
        return Rules(cold_after_days, 7)

    async def installed(self) -> Rules:
        if self.rules is None:
            raise StorageRefused("The key may not do that.")
        return self.rules

    async def deleting(self) -> list[str]:
        return []

    async def install(self, rules: Rules) -> None:
        raise NotImplementedError


def pruner(served: Served, days: float, ages: Ages = YEAR) -> Pruner:
    shared = services_of(served)
    return Pruner(
        database=shared.database,
        storage=shared.storage,
        acts=shared.acts,
        clock=clock_of(served, days),
        ages=ages,
        counted=shared.metrics.deleted_bytes.inc,
    )


async def done(
    served: Served,
    name: str,
    content: bytes = b"words\n" * 100,
    *,
    by: aiohttp.ClientSession | None = None,
    preset: str = "default",
    now: float | None = None,
) -> str:
    job_id = (await upload(served, content, name, by=by, preset=preset))["jobId"]
    await claim(served, job_id)
    shared = services_of(served)
    at = shared.clock.now() if now is None else now
    await shared.database.write(jobs.complete(job_id, attempt=1, now=at, result={}, files=[]))
    return str(job_id)


async def fails(key: str) -> Any:
    raise StorageUnavailable(f"The disk failed: {errno.errorcode[errno.EIO]}.")


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
    measured = await metrics(served)
    assert measured["appliance_cold_files"] == 1
    assert measured["appliance_cold_bytes"] == 600
    assert measured["appliance_lifecycle_moved_bytes_total"] == 600
    passed_at = measured["appliance_lifecycle_timestamp_seconds"]
    assert passed_at == pytest.approx(clock_of(served, 31).now(), abs=60)
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

    with monkeypatch.context() as patched:
        patched.setattr(storage._cold, "receive", fails)
        with pytest.raises(StorageUnavailable):
            await cooler(served, 31).run_once()
    part = (await served.json("GET", "/readyz"))["parts"]["cold storage"]
    assert not part["ok"]
    assert part["detail"] == "nothing is moved there: The disk failed: EIO."
    assert (await metrics(served))["appliance_lifecycle_failed"] == 1
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


async def test_two_years(
    served: Served,
    join: Join,
    tmp_path: Path,
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model beside it: what must lie where after every week, while files of several owners and
    presets come, pins come and go, and the cold place fails now and then."""
    shared = services_of(served)
    database = shared.database
    owner = await join(served)
    await database.write(lifecycle.set_owner_age(owner.key.owner, 500))
    storage = shared.storage
    assert isinstance(storage, TieredStorage)
    ages = Ages(365, {"thumbnail": 100, "hls": 0})
    kept: dict[str, float] = {}  # until which day
    born: dict[str, float] = {}
    sizes: dict[str, int] = {}
    cold: set[str] = set()
    pinned: set[str] = set()
    deleted: set[str] = set()
    start, today = shared.clock.now(), 0.0
    clock = SimpleNamespace(time_ns=lambda: int((start + today * DAY_S) * 1e9))
    monkeypatch.setattr("appliance.ids.time", clock)
    for day in range(7, 735, 7):
        if chance.random() < 0.5:
            today = day - chance.randrange(1, 7) + 0.5
            content = b"x" * chance.randrange(1, 2000)
            preset = chance.choice(["default", "thumbnail", "hls"])
            by = chance.choice([None, owner])
            job_id = await done(
                served,
                "a.txt",
                content,
                by=by and by.http,
                preset=preset,
                now=clock.time_ns() / 1e9,
            )
            days = 500 if by else ages.presets.get(preset, ages.days)
            kept[job_id], born[job_id] = today + days if days else inf, today
            sizes[job_id] = len(content)
        today = day
        if chance.random() < 0.2 and kept:
            job_id = chance.choice(sorted(kept))
            if job_id in pinned:
                pinned.remove(job_id)
                await shared.acts.unpin(job_id, actor="key:admin")
            else:
                pinned.add(job_id)
                await shared.acts.pin(job_id, reason="Keep.", actor="key:admin")
        due = {job_id for job_id in kept if born[job_id] + 30 < day} - cold
        if chance.random() < 0.2 and due:
            with monkeypatch.context() as patched:
                patched.setattr(storage._cold, "receive", fails)
                with pytest.raises(StorageUnavailable):
                    await cooler(served, day).run_once()
        assert await cooler(served, day).run_once() == {"moved": len(due)}
        cold |= due
        gone = {job_id for job_id, until in kept.items() if until < day} - pinned
        now = start + day * DAY_S
        told = await database.read(lifecycle.due_for_deletion(ages, now=now))
        assert sum(share.files for share in told) == len(gone)
        assert sum(share.size_bytes for share in told) == sum(sizes[job_id] for job_id in gone)
        before = (await metrics(served))["appliance_lifecycle_deleted_bytes_total"]
        assert (await pruner(served, day, ages)._prune_jobs()) == len(gone)
        after = (await metrics(served))["appliance_lifecycle_deleted_bytes_total"]
        assert (after > before) == bool(gone)
        kept = {job_id: until for job_id, until in kept.items() if job_id not in gone}
        cold -= gone
        deleted |= gone
        assert set(files(tmp_path / "cold")) == cold
        assert set(files(served.data_dir / "files/raw")) == set(kept) - cold
        totals = await database.read(lifecycle.cold())
        assert totals == (len(cold), sum(sizes[job_id] for job_id in cold))
    assert deleted
    stored = (await database.read(figures.stored())).values()
    assert sum(one.originals.size_bytes for one in stored) == sum(sizes[one] for one in kept)
    acts = (await served.json("GET", "/audit?action=storage.delete&limit=100"))["acts"]
    assert {job_id for act in acts for job_id in act["detail"]["jobIds"]} == deleted
    assert sum(act["detail"]["bytes"] for act in acts) == sum(sizes[one] for one in deleted)


async def test_files_left_by_a_pass_that_was_cut_go_with_the_next(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_ids = {await done(served, f"{number}.txt", b"x" * (65 + number)) for number in range(3)}
    assert await cooler(served, 31).run_once() == {"moved": 3}

    async def cut(self: Acts, deleted: Any) -> None:
        raise StorageUnavailable("The disk failed.")

    with monkeypatch.context() as patched:
        patched.setattr(Acts, "delete_files", cut)
        with pytest.raises(StorageUnavailable):
            await pruner(served, 400).run_once()
    assert set(files(tmp_path / "cold")) == job_ids
    assert (await served.json("GET", "/jobs"))["jobs"] == []
    (act,) = (await served.json("GET", "/audit?action=storage.delete"))["acts"]
    assert (act["jobs"], act["detail"]["bytes"]) == (3, 65 + 66 + 67)
    assert (await pruner(served, 400).run_once())["orphan_originals"] == 3
    assert files(tmp_path / "cold") == {}


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


@pytest.mark.parametrize(
    ("rules", "waits"),
    [(Rules(30, 7), True), (Rules(20, 7), True), (Rules(31, 7), False), (Rules(0, 7), False),
     (None, False)],
)  # fmt: skip
async def test_rules_of_the_store_are_given_time(
    served: Served, rules: Rules | None, waits: bool
) -> None:
    await done(served, "a.txt")
    own_rules = RulesSet(rules)
    assert await cooler(served, 32, own_rules).run_once() == {"moved": 0 if waits else 1}
    assert await cooler(served, 34, own_rules).run_once() == {"moved": 1 if waits else 0}
