"""What becomes of files with age: moved to the cold place, deleted, or pinned."""

from __future__ import annotations

import errno
import io
import random
import zipfile
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
import pytest

from appliance.acts import Acts
from appliance.database import ages, figures, job_reads, jobs, lifecycle, stored_files
from appliance.database.ages import KINDS, Age, Ages
from appliance.database.protocol import Transaction
from appliance.errors import ConfigurationError, StorageRefused, StorageUnavailable
from appliance.ids import new_id, time_of
from appliance.jobs import Job, ResultFile
from appliance.maintenance.cooler import Cooler
from appliance.maintenance.pruner import Pruner
from appliance.storage.own_rules import Cooling, OwnRules, Rules
from appliance.storage.tiered import TieredStorage
from appliance.web import files as files_page
from tests import buckets, media
from tests.clocks import MovedClock
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import page
from tests.web.wire import claim, complete, metrics, refused, services_of, upload

DAY_S = 24 * 3600.0
YEAR = Ages(Age(365))


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
    originals: str = "raw/"

    def wanted(self, cold_after_days: int) -> Rules:
        raise NotImplementedError

    async def installed(self) -> Rules:
        if self.rules is None:
            raise StorageRefused("The key may not do that.")
        return self.rules

    async def deleting(self) -> list[str]:
        return []

    async def install(self, rules: Rules) -> None:
        raise NotImplementedError


def pruner(served: Served, days: float, file_ages: Ages = YEAR) -> Pruner:
    shared = services_of(served)
    return Pruner(
        database=shared.database,
        storage=shared.storage,
        acts=shared.acts,
        clock=clock_of(served, days),
        file_ages=file_ages,
        counted=shared.metrics.deleted_bytes.inc,
    )


async def done(
    served: Served,
    name: str,
    content: bytes = b"words\n" * 100,
    *,
    by: aiohttp.ClientSession | None = None,
    result_size: int = 0,
) -> str:
    job_id = (await upload(served, content, name, by=by))["jobId"]
    await finish(served, job_id, now=services_of(served).clock.now(), result_size=result_size)
    return str(job_id)


async def finish(served: Served, job_id: str, *, now: float, result_size: int = 0) -> None:
    """Complete a job, with a result of that size, if of any."""
    shared, made = services_of(served), []
    if result_size:
        content = b"r" * result_size
        key = f"processed/{job_id}/1/page.txt"
        async with await shared.storage.receive(key) as incoming:
            await incoming.write(content)
            await incoming.commit()
        digest = sha256(content).hexdigest()
        made = [ResultFile("page.txt", "text/plain", result_size, digest, key)]

    def working() -> Transaction[Job | None]:
        """In one step: the rescuer knows no worker `w`."""
        claim = yield from jobs.claim(job_id, worker="w", now=now)
        assert claim is not None
        return (yield from jobs.complete(job_id, attempt=1, now=now, result={}, files=made))

    assert await shared.database.write(working()) is not None


async def fails(key: str) -> Any:
    raise StorageUnavailable(f"The disk failed: {errno.errorcode[errno.EIO]}.")


class Killed(BaseException):
    """No fault of the surroundings: the process is gone."""


async def cut(self: Acts, expired: Any) -> None:
    raise Killed


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def results(served: Served) -> dict[str, int]:
    """Sizes by the id of their job."""
    found = (served.data_dir / "files/processed").rglob("*/*/*")
    return {path.parent.parent.name: path.stat().st_size for path in found if path.is_file()}


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
        "650 bytes in all, 600 bytes of it in the cold place; $0.00 a month, at $0.023 for a GB, "
        "and $0.0125 there." in shown
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


@dataclass
class Modelled:
    """A job as the model has it; days since the start."""

    born: float
    upload_id: str
    size: int
    result_size: int
    days: dict[str, int]
    """By kind; 0: for ever."""
    pinned: bool = False

    def is_due(self, kind: str, day: int) -> bool:
        return bool(self.days[kind]) and self.born + self.days[kind] < day and not self.pinned


class Model:
    """What must lie where."""

    def __init__(self) -> None:
        self.jobs: dict[str, Modelled] = {}
        self.expired: set[str] = set()
        """Uploads whose originals went by their age."""
        self.cold: set[str] = set()
        self.files = self.bytes = 0
        """That went by their age."""

    def jobs_of(self, upload_id: str) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job.upload_id == upload_id]

    @property
    def originals(self) -> dict[str, int]:
        found = {job.upload_id: job.size for job in self.jobs.values()}
        return {one: size for one, size in found.items() if one not in self.expired}

    @property
    def results(self) -> dict[str, int]:
        return {one: job.result_size for one, job in self.jobs.items() if job.result_size}

    def due_originals(self, day: int) -> dict[str, int]:
        return {
            upload_id: size
            for upload_id, size in self.originals.items()
            if all(self.jobs[one].is_due("originals", day) for one in self.jobs_of(upload_id))
        }

    def due_results(self, day: int) -> dict[str, int]:
        return {
            one: size for one, size in self.results.items() if self.jobs[one].is_due("results", day)
        }

    def pass_to(self, day: int) -> None:
        for upload_id, size in self.due_originals(day).items():
            self._count(size)
            self.expired.add(upload_id)
            self.cold.discard(upload_id)
            self._drop_empty(upload_id)
        for job_id, size in self.due_results(day).items():
            self._count(size)
            self.jobs[job_id].result_size = 0
            self._drop_empty(self.jobs[job_id].upload_id)

    def _count(self, size: int) -> None:
        self.files, self.bytes = self.files + 1, self.bytes + size

    def _drop_empty(self, upload_id: str) -> None:
        if upload_id in self.expired:
            for job_id in self.jobs_of(upload_id):
                if not self.jobs[job_id].result_size:
                    del self.jobs[job_id]


async def test_two_years(
    served: Served,
    join: Join,
    tmp_path: Path,
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model beside it: what must lie where after every week, while files of several owners and
    presets come, some are worked on again, pins come and go, the cold place fails now and then,
    and passes are cut."""
    shared = services_of(served)
    database, storage = shared.database, shared.storage
    assert isinstance(storage, TieredStorage)
    owner = await join(served)
    await database.write(ages.set_owner_age(owner.key.owner, "originals", 200))
    await database.write(ages.set_owner_age(owner.key.owner, "results", 500))
    kept = Ages(
        originals=Age(365, {"thumbnail": 100, "hls": 0}),
        results=Age(200, {"thumbnail": 150, "hls": 0}),
    )
    model, outlived = Model(), set[str]()
    start, today = shared.clock.now(), 0.0
    clock = SimpleNamespace(time_ns=lambda: int((start + today * DAY_S) * 1e9))
    monkeypatch.setattr("appliance.ids.time", clock)
    for day in range(7, 735, 7):
        if chance.random() < 0.6:
            today = day - chance.randrange(1, 7) + 0.5
            preset = chance.choice(["default", "thumbnail", "hls"])
            by = chance.choice([None, owner])
            size, result_size = chance.randrange(1, 2000), chance.choice([0, 70, 300])
            now = clock.time_ns() / 1e9
            again = chance.choice(sorted(model.originals)) if model.originals else None
            if again is not None and chance.random() < 0.3:
                (first, *_) = model.jobs_of(again)
                job_id = new_id()
                await database.write(
                    jobs.create_again(
                        job_id,
                        of=first,
                        preset=preset,
                        priority=5,
                        max_retries=3,
                        now=now,
                        actor="x",
                    )
                )
                upload_id, size = again, model.jobs[first].size
                is_owners = model.jobs[first].days["results"] == 500
            else:
                job = await upload(served, b"x" * size, "a.txt", by=by and by.http, preset=preset)
                job_id = upload_id = job["jobId"]
                is_owners = by is not None
            await finish(served, job_id, now=now, result_size=result_size)
            model.jobs[job_id] = Modelled(
                born=today,
                upload_id=upload_id,
                size=size,
                result_size=result_size,
                days={"originals": 200, "results": 500}
                if is_owners
                else {
                    kind: kept.of(kind).presets.get(preset, kept.of(kind).days) for kind in KINDS
                },
            )
        today = day
        if chance.random() < 0.2 and model.jobs:
            pin_or_unpin = chance.choice(sorted(model.jobs))
            one = model.jobs[pin_or_unpin]
            one.pinned = not one.pinned
            if one.pinned:
                await shared.acts.pin(pin_or_unpin, reason="Keep.", actor="key:admin")
            else:
                await shared.acts.unpin(pin_or_unpin, actor="key:admin")
        born = {one: time_of(one) for one in model.originals}
        due = {one for one in born if born[one] < start + (day - 30) * DAY_S} - model.cold
        if chance.random() < 0.2 and due:
            with monkeypatch.context() as patched:
                patched.setattr(storage._cold, "receive", fails)
                with pytest.raises(StorageUnavailable):
                    await cooler(served, day).run_once()
        assert await cooler(served, day).run_once() == {"moved": len(due)}
        model.cold |= due
        now = start + day * DAY_S
        told = await database.read(ages.due_for_deletion(kept, now=now))
        of = {kind: [one for one in told if one.kind == kind] for kind in KINDS}
        for kind, expected in (
            ("originals", model.due_originals(day)),
            ("results", model.due_results(day)),
        ):
            assert sum(one.files for one in of[kind]) == len(expected)
            assert sum(one.size_bytes for one in of[kind]) == sum(expected.values())
        model.pass_to(day)
        if chance.random() < 0.2 and any(of.values()):
            with monkeypatch.context() as patched:
                patched.setattr(Acts, "delete_expired", cut)
                with pytest.raises(Killed):
                    await pruner(served, day, kept).run_once()
        await pruner(served, day, kept).run_once()
        outlived |= model.expired & {job.upload_id for job in model.jobs.values()}
        shown = await database.read(job_reads.page(limit=1000))
        assert {job.id for job in shown} == set(model.jobs)
        totals = await database.read(lifecycle.cold())
        assert totals == (len(model.cold), sum(model.originals[one] for one in model.cold))
        stored = (await database.read(figures.stored())).values()
        assert sum(one.originals.files for one in stored) == len(model.originals)
        assert sum(one.originals.size_bytes for one in stored) == sum(model.originals.values())
        assert sum(one.results.size_bytes for one in stored) == sum(model.results.values())
        assert (
            files(tmp_path / "cold").items()
            >= {one: model.originals[one] for one in model.cold}.items()
        )
    model.pass_to(735)
    await pruner(served, 735, kept).run_once()  # and what cut passes have left
    assert files(tmp_path / "cold") == {one: model.originals[one] for one in model.cold}
    hot = {one: size for one, size in model.originals.items() if one not in model.cold}
    assert files(served.data_dir / "files/raw") == hot
    assert results(served) == model.results
    assert outlived, "no job had results longer than its original"
    acts = (await served.json("GET", "/audit?action=storage.delete&limit=100"))["acts"]
    assert sum(act["detail"]["originals"] + act["detail"]["results"] for act in acts) == model.files
    assert sum(act["detail"]["bytes"] for act in acts) == model.bytes


async def test_files_left_by_a_pass_that_was_cut_go_with_the_next(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_ids = {await done(served, f"{number}.txt", b"x" * (65 + number)) for number in range(3)}
    assert await cooler(served, 31).run_once() == {"moved": 3}
    with monkeypatch.context() as patched:
        patched.setattr(Acts, "delete_expired", cut)
        with pytest.raises(Killed):
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
    await pruner(served, 400).run_once()
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
    [
        (Rules(Cooling(30, "STANDARD_IA", "raw/"), 7), True),
        (Rules(Cooling(20, "STANDARD_IA", "raw/"), 7), True),
        (Rules(Cooling(31, "STANDARD_IA", "raw/"), 7), False),
        (Rules(Cooling(30, "GLACIER_IR", "raw/"), 7), False),
        (Rules(Cooling(30, "STANDARD_IA", "other/raw/"), 7), False),
        (Rules(None, 7), False),
        (None, False),
    ],
)
async def test_rules_of_the_store_are_given_time(
    served: Served, rules: Rules | None, waits: bool
) -> None:
    await done(served, "a.txt")
    own_rules = RulesSet(rules)
    assert await cooler(served, 32, own_rules).run_once() == {"moved": 0 if waits else 1}
    assert await cooler(served, 34, own_rules).run_once() == {"moved": 1 if waits else 0}


async def test_what_is_too_small_for_a_storage_class_stays(serve: Serve, tmp_path: Path) -> None:
    await (await buckets.bucket("moto", prefix="any")).close()
    url = buckets.url("moto", prefix=tmp_path.name, cold_class="STANDARD_IA")
    served = await serve(storage_url=url, variables=buckets.environ("moto"))
    shared, kib = services_of(served), 1024
    small = await done(served, "small.txt", b"x" * (128 * kib - 1))
    large = await done(served, "large.txt", b"x" * 128 * kib)
    before = clock_of(served, 1).now()
    due = lifecycle.due_for_cold(before=before, least_bytes=shared.storage.least_cold_bytes)
    assert await shared.database.read(due) == (1, 128 * kib)

    async def outlook(job_id: str) -> Any:
        return (await served.json("GET", f"/jobs/{job_id}"))["lifecycle"]

    assert (await outlook(small))["coldAt"] is None
    assert (await outlook(large))["coldAt"] is not None
    assert await cooler(served, 31).run_once() == {"moved": 1}
    assert [(await outlook(one))["place"] for one in (small, large)] == ["hot", "cold"]


async def test_what_is_due_is_counted_in_pieces(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "COUNTED", 2)
    for size in (10, 200, 30, 400, 50):
        await done(served, "a.txt", b"x" * size)
    before, read = clock_of(served, 1).now(), services_of(served).database.read
    assert await read(lifecycle.due_for_cold(before=before, least_bytes=0)) == (5, 690)
    assert await read(lifecycle.due_for_cold(before=before, least_bytes=50)) == (3, 650)


async def test_an_original_goes_before_its_results(served: Served) -> None:
    job_id = await done(served, "a.txt", result_size=70)
    bare = await done(served, "b.txt")
    counted = await pruner(served, 366).run_once()
    assert (counted["expired_originals"], counted["expired_results"]) == (2, 0)
    assert (await metrics(served))["appliance_lifecycle_deleted_bytes_total"] == 2 * 600
    assert files(served.data_dir / "files/raw") == {}
    job = await served.json("GET", f"/jobs/{job_id}")
    assert (job["status"], job["filesLeft"]) == ("COMPLETED", "results")
    told = job["lifecycle"]
    assert (told["place"], told["deleteOriginalAt"], told["coldAt"]) == ("deleted", None, None)
    async with served.admin.get(f"/jobs/{job_id}/files/original") as response:
        problem = await refused(response, 410, "file_expired")
        assert "Its results are still here." in problem["detail"]
    async with served.admin.get(f"/jobs/{job_id}/files/page.txt") as response:
        assert await response.read() == b"r" * 70
    async with served.admin.get(f"/jobs/{job_id}/archive") as response:
        with zipfile.ZipFile(io.BytesIO(await response.read())) as found:
            assert found.namelist() == ["page.txt"]
    async with served.admin.get(f"/archive?job={job_id}") as response:
        assert "The original of a.txt" in (await refused(response, 410, "file_expired"))["detail"]
    async with served.admin.post(f"/jobs/{job_id}/process", json={"preset": "default"}) as response:
        assert "by its age" in (await refused(response, 409, "original_gone"))["detail"]
    async with served.admin.post(f"/jobs/{job_id}/links", json={}) as response:
        await refused(response, 410, "file_expired")
    async with served.admin.get(f"/jobs/{bare}") as response:
        await refused(response, 404, "not_found")  # nothing was left of it
    limits = await served.json("GET", "/usage")
    assert (limits["bytes"], limits["files"]) == (70, 0)
    shown = (await page(served, f"/dashboard/jobs/{job_id}")).words()
    assert "by its age." in shown
    assert "Process again" not in shown
    assert "its original was deleted by its age" in (await page(served, "/")).words()

    again = await upload(served, b"words\n" * 100, "a.txt", dedupe="1")
    assert again["jobId"] != job_id, "what has no original is not taken for the same"
    async with served.admin.delete(f"/jobs/{job_id}") as response:
        assert response.status == 204
    assert results(served) == {}
    limits = await served.json("GET", "/usage")
    assert (limits["bytes"], limits["files"]) == (600, 1)


async def test_results_go_before_their_original(served: Served) -> None:
    job_id = await done(served, "a.txt", result_size=70)
    week = Ages(Age(365), Age(7))
    counted = await pruner(served, 8, week).run_once()
    assert (counted["expired_originals"], counted["expired_results"]) == (0, 1)
    assert results(served) == {}
    job = await served.json("GET", f"/jobs/{job_id}")
    assert (job["filesLeft"], job["files"]) == ("original", [])
    async with served.admin.get(f"/jobs/{job_id}/files/page.txt") as response:
        assert "process it again" in (await refused(response, 410, "file_expired"))["detail"]
    again = await served.json("POST", f"/jobs/{job_id}/process", json={"preset": "default"})
    await finish(served, again["jobId"], now=services_of(served).clock.now(), result_size=70)
    assert (await pruner(served, 5, week).run_once())["expired_results"] == 0
    # The upload has a second job: the original stays for the longest of them.
    counted = await pruner(served, 366, week).run_once()
    assert (counted["expired_originals"], counted["expired_results"]) == (1, 1)
    for one in (job_id, again["jobId"]):
        async with served.admin.get(f"/jobs/{one}") as response:
            await refused(response, 404, "not_found")


async def test_an_original_that_is_needed_again_stays(served: Served) -> None:
    """One that is asked for between the look and the act."""
    job_id = await done(served, "a.txt", result_size=70)
    shared = services_of(served)
    now = shared.clock.now() + 366 * DAY_S
    ids = await shared.database.read(ages.due("originals", YEAR.originals, now=now))
    assert ids == [job_id]
    await served.json("POST", f"/jobs/{job_id}/process", json={"preset": "default"})
    assert (
        await shared.database.write(ages.expire("originals", job_id, YEAR.originals, now=now))
        is None
    )
    assert await shared.database.read(ages.due("originals", YEAR.originals, now=now)) == []
    await shared.acts.pin(job_id, reason="Keep.", actor="key:admin")
    assert await shared.database.write(ages.expire("results", job_id, Age(1), now=now)) is None


async def test_the_job_tells_what_becomes_of_its_files(served: Served) -> None:
    job_id = await done(served, "a.txt", result_size=70)
    job = await served.json("GET", f"/jobs/{job_id}")
    told = job["lifecycle"]
    assert told["place"] == "hot"
    assert (told["deleteResultsAt"], told["originalDeletedAt"], told["keptBy"]) == (None,) * 3
    finished = moment(job["finishedAt"])
    assert moment(told["deleteOriginalAt"]) - finished == pytest.approx(365 * DAY_S, abs=1)
    assert moment(told["coldAt"]) - finished == pytest.approx(30 * DAY_S, abs=60)
    words = (await page(served, f"/dashboard/jobs/{job_id}")).words()
    assert "The original goes to the cold place on" in words
    assert "The original is deleted on" in words
    await cooler(served, 31).run_once()
    await services_of(served).acts.pin(job_id, reason="Keep.", actor="key:admin")
    told = (await served.json("GET", f"/jobs/{job_id}"))["lifecycle"]
    assert (told["place"], told["keptBy"], told["deleteOriginalAt"]) == ("cold", "pin", None)
    assert (
        "The original is in the cold place."
        in (await page(served, f"/dashboard/jobs/{job_id}")).words()
    )


async def test_what_is_found_out_late_of_an_expired_original_counts_for_nothing(
    served: Served,
) -> None:
    """The scrubber, the inspector and the cooler read their list a while before they write."""
    database = services_of(served).database
    job_id = await done(served, "a.txt", result_size=70)
    assert (await pruner(served, 366).run_once())["expired_originals"] == 1
    await database.write(stored_files.mark(missing=[job_id], found=[], now=1.0))
    assert await database.read(stored_files.count_missing()) == 0
    assert not await database.write(lifecycle.mark_cold(job_id, now=1.0))
    assert await database.read(lifecycle.cold()) == (0, 0)


async def test_an_age_that_was_changed_meanwhile_holds(served: Served, join: Join) -> None:
    owner = await join(served)
    job_id = await done(served, "a.txt", by=owner.http, result_size=70)
    database = services_of(served).database
    now = services_of(served).clock.now() + 366 * DAY_S
    year = Age(365)
    for kind in KINDS:
        assert await database.read(ages.due(kind, year, now=now)) == [job_id]
        await database.write(ages.set_owner_age(owner.key.owner, kind, 0))
        assert await database.write(ages.expire(kind, job_id, year, now=now)) is None
    assert (await served.json("GET", f"/jobs/{job_id}"))["filesLeft"] == "all"


async def test_a_job_that_never_had_results_lost_none(served: Served) -> None:
    job_id = await done(served, "a.txt")
    counted = await pruner(served, 8, Ages(Age(365), Age(7))).run_once()
    assert counted["expired_results"] == 0
    assert (await served.json("GET", f"/jobs/{job_id}"))["filesLeft"] == "all"
    async with served.admin.get(f"/jobs/{job_id}/files/page.txt") as response:
        await refused(response, 404, "not_found")


async def test_an_original_that_goes_while_it_is_asked_for_has_expired(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await done(served, "a.txt", result_size=70)
    looked = files_page.check_sound

    async def slow(*arguments: Any) -> None:
        await looked(*arguments)
        await pruner(served, 366).run_once()

    monkeypatch.setattr(files_page, "check_sound", slow)
    async with served.admin.get(f"/jobs/{job_id}/files/original") as response:
        await refused(response, 410, "file_expired")


async def test_one_file_that_stays_keeps_no_others_from_going(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = await done(served, "a.txt"), await done(served, "b.txt")
    storage, swept = services_of(served).storage, []
    delete, tidy = storage.delete, storage.tidy

    async def sick(prefix: str) -> int:
        if stuck in prefix:
            raise StorageUnavailable("The disk failed.")
        return await delete(prefix)

    async def tidied() -> int:
        swept.append(True)
        return await tidy()

    monkeypatch.setattr(storage, "delete", sick)
    monkeypatch.setattr(storage, "tidy", tidied)
    with pytest.raises(StorageUnavailable):
        await pruner(served, 366).run_once()
    assert set(files(served.data_dir / "files/raw")) == {stuck}
    assert other != stuck
    assert swept, "the other steps had their turn"


async def test_a_pin_beside_it_is_told(served: Served) -> None:
    job_id = await done(served, "a.txt", result_size=70)
    again = await served.json("POST", f"/jobs/{job_id}/process", json={"preset": "default"})
    await finish(served, again["jobId"], now=services_of(served).clock.now())
    await services_of(served).acts.pin(again["jobId"], reason="Keep.", actor="key:admin")
    told = (await served.json("GET", f"/jobs/{job_id}"))["lifecycle"]
    assert (told["keptBy"], told["deleteOriginalAt"]) == ("pin", None)


async def test_those_that_have_expired_are_named(served: Served) -> None:
    expired = [await done(served, f"{number}.txt", result_size=70) for number in range(2)]
    await pruner(served, 366).run_once()
    there = await done(served, "c.txt")
    query = "&".join(f"job={job_id}" for job_id in [*expired, there])
    async with served.admin.get(f"/archive?{query}") as response:
        assert (await refused(response, 410, "file_expired"))["expired"] == expired
    body = {"jobs": [*expired, there]}
    async with served.admin.post("/jobs/links", json=body) as response:
        assert (await refused(response, 410, "file_expired"))["expired"] == expired
