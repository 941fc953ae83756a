"""The gate of a pool: shut by a fault, opened by a probe of what failed, and never by a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.database.protocol import Database
from appliance.errors import DatabaseUnavailable, NurseryUnavailable, StorageFull
from appliance.storage.local import LocalStorage
from appliance.storage.protocol import Space
from appliance.workers import surroundings
from appliance.workers.surroundings import Gate, Surroundings
from tests import databases

MIB = 1024**2


class ShrinkingStorage(LocalStorage):
    free_bytes = 10**12

    async def space(self) -> Space:
        return Space(free_bytes=self.free_bytes, total_bytes=10**12)


class Scene:
    def __init__(self, database: Database, storage: ShrinkingStorage, scratch: Path) -> None:
        self.database = database
        self.storage = storage
        self.nursery_is_up = True
        self.surroundings = Surroundings(
            scanner=None,
            database=database,
            storage=storage,
            scratch_dir=scratch,
            reserve_bytes=400 * MIB,
        )
        self.gate = Gate("IMAGE", self.surroundings, SystemClock(), probe=self._check_nursery)

    async def _check_nursery(self) -> None:
        if not self.nursery_is_up:
            raise NurseryUnavailable("The nursery is down.")

    async def passed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.gate.passed()
        except TimeoutError:
            return False
        return True


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(surroundings, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(surroundings, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(surroundings, "LOOK_EVERY_S", 0.0)
    database = await databases.opened(tmp_path)
    storage = ShrinkingStorage(LocalStorage.open(tmp_path / "files")._root)
    yield Scene(database, storage, tmp_path)
    await database.close()


async def test_an_open_gate_is_passed_at_once(scene: Scene) -> None:
    assert await scene.passed_within(5)
    assert scene.gate.outage is None


async def test_a_nursery_that_is_down_shuts_the_gate_until_it_is_up(scene: Scene) -> None:
    scene.nursery_is_up = False
    assert not await scene.passed_within(0.2)
    assert scene.gate.outage is not None
    assert scene.gate.outage.code == "nursery_unavailable"
    scene.nursery_is_up = True
    assert await scene.passed_within(5)
    assert scene.gate.outage is None


async def test_after_a_full_disk_work_goes_on_only_with_some_room_more(scene: Scene) -> None:
    scene.storage.free_bytes = 99 * MIB  # a quarter of the reserve is the mark
    assert not await scene.passed_within(0.2)
    assert scene.gate.outage is not None
    assert "99 MiB are free" in scene.gate.outage.reason
    scene.storage.free_bytes = 101 * MIB
    assert not await scene.passed_within(0.2)
    scene.storage.free_bytes = 151 * MIB
    assert await scene.passed_within(5)


async def test_a_database_that_takes_no_writes_is_probed_by_a_write(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.gate.close(DatabaseUnavailable("It is locked."))

    async def refuse(transaction: object) -> None:
        raise DatabaseUnavailable("It is locked still.")

    with monkeypatch.context() as down:
        down.setattr(scene.database, "write", refuse)
        assert not await scene.passed_within(0.2)
    assert await scene.passed_within(5)


async def test_the_outage_tells_when_it_began_not_when_it_was_seen_again(scene: Scene) -> None:
    scene.gate.close(StorageFull("Full."))
    first = scene.gate.outage
    assert first is not None
    scene.gate.close(StorageFull("Full still."))
    assert scene.gate.outage is first
    scene.gate.close(DatabaseUnavailable("And the database."))
    assert scene.gate.outage is not None
    assert scene.gate.outage.since == first.since
    assert scene.gate.outage.code == "database_unavailable"


async def test_a_hint_when_to_come_back_is_waited_for(scene: Scene) -> None:
    scene.gate.close(DatabaseUnavailable("Busy.", retry_after_s=30.0))
    assert not await scene.passed_within(0.2)


async def test_looking_says_what_is_wrong_and_changes_nothing(scene: Scene) -> None:
    assert await scene.gate.look() is None
    scene.storage.free_bytes = 0
    fault = await scene.gate.look()
    assert isinstance(fault, StorageFull)
    assert scene.gate.outage is None
    scene.gate.close(fault)
    assert await scene.gate.look() is None  # whoever waits at the gate probes
