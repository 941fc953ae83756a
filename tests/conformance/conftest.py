"""One suite per seam, run on every backend: a new backend is added to the parameters here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.coordination.memory import MemoryCoordination
from appliance.coordination.protocol import Coordination
from appliance.coordination.redis import RedisCoordination
from appliance.database.postgres import PostgresDatabase
from appliance.database.protocol import Database
from appliance.database.sqlite import SqliteDatabase
from appliance.ids import new_id
from appliance.queue.protocol import Queue
from appliance.queue.table import TableQueue
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import open_keyring
from appliance.storage.local import LocalStorage
from appliance.storage.protocol import Storage
from appliance.storage.tiered import TieredStorage
from tests import brokers, buckets, databases
from tests.clocks import MovedClock
from tests.services import needed

OpenDatabase = Callable[[], Awaitable[Database]]
OpenStorage = Callable[[], Awaitable[Storage]]


@pytest.fixture(params=["sqlite", "postgres"])
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> OpenDatabase:
    """Opens the same database each time, as several servers do. Whoever opens one closes it."""

    async def opened() -> Database:
        if request.param == "sqlite":
            return await SqliteDatabase.open(tmp_path / "test.db")
        return await PostgresDatabase.open(databases.postgres_at(tmp_path))

    return opened


@pytest.fixture
async def database(open_database: OpenDatabase) -> AsyncIterator[Database]:
    opened = await open_database()
    yield opened
    await opened.close()


@pytest.fixture(params=["table", "rabbitmq"])
async def queue(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Queue]:
    if request.param == "table":
        yield TableQueue(database, SystemClock())
        return
    async with brokers.opened(database) as opened:
        yield opened
        assert opened.fault is None


@pytest.fixture(
    params=[
        "local",
        "encrypted",
        "tiered",
        "encrypted tiered",
        "swift",
        "moto",
        "gcs",
        "encrypted moto",
    ]
)
async def open_storage(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[OpenStorage]:
    """Opens the same store again, as a restarted server does."""
    *encrypted, kind = request.param.split()
    async with AsyncExitStack() as stack:

        async def opened() -> Storage:
            if kind in ("local", "encrypted"):
                store: Storage = LocalStorage.open(tmp_path / "files")
            elif kind == "tiered":
                store = TieredStorage(
                    LocalStorage.open(tmp_path / "files"),
                    LocalStorage.open(tmp_path / "cold", folders=("raw",)),
                )
            else:
                store = await buckets.opened(kind, tmp_path, prefix=tmp_path.name)
                stack.push_async_callback(store.close)
            if not encrypted and kind != "encrypted":
                return store
            return EncryptedStorage(store, await open_keyring(store, [bytes(32)]))

        yield opened


@pytest.fixture
async def storage(open_storage: OpenStorage) -> Storage:
    return await open_storage()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=["memory", "redis"])
async def coordination(
    request: pytest.FixtureRequest, clock: MovedClock
) -> AsyncIterator[Coordination]:
    if request.param == "memory":
        yield MemoryCoordination(clock)
        return
    url = f"{needed('REDIS_URL', 'redis')}?namespace={new_id()}"
    opened = await RedisCoordination.open(url, clock, ask_time=False)
    yield opened
    assert opened.fault is None
    await opened.close()
