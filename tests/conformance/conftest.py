"""One suite per seam, run on every backend: a new backend is added to the parameters here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.coordination.memory import MemoryCoordination
from appliance.coordination.protocol import Coordination
from appliance.database.protocol import Database
from appliance.database.sqlite import SqliteDatabase
from appliance.queue.protocol import Queue
from appliance.queue.table import TableQueue
from appliance.storage.local import LocalStorage
from appliance.storage.protocol import Storage
from tests.clocks import MovedClock


@pytest.fixture(params=["sqlite"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    opened = await SqliteDatabase.open(tmp_path / "test.db")
    yield opened
    await opened.close()


@pytest.fixture(params=["table"])
def queue(request: pytest.FixtureRequest, database: Database) -> Queue:
    return TableQueue(database, SystemClock())


@pytest.fixture(params=["local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage.open(tmp_path / "files")


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=["memory"])
def coordination(request: pytest.FixtureRequest, clock: MovedClock) -> Coordination:
    return MemoryCoordination(clock)
