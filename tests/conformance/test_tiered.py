"""Moving objects to the cold store: none is lost, none lies in both for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from appliance.errors import ObjectMissing, StorageFull, StorageUnavailable
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import open_keyring
from appliance.storage.local import LocalStorage
from appliance.storage.protocol import Space, Storage
from appliance.storage.tiered import TieredStorage
from tests.conformance.test_storage import KEY, get, names, put

NOISE = bytes(range(256)) * 9000


class Dies(Exception):
    """The process, in the middle of a move."""


@pytest.fixture
def hot(tmp_path: Path) -> LocalStorage:
    return LocalStorage.open(tmp_path / "hot")


@pytest.fixture
def cold(tmp_path: Path) -> LocalStorage:
    return LocalStorage.open(tmp_path / "cold")


@pytest.fixture
def storage(hot: LocalStorage, cold: LocalStorage) -> TieredStorage:
    return TieredStorage(hot, cold)


async def places(*stores: Storage) -> list[bool]:
    async def has(store: Storage) -> bool:
        try:
            await store.size(KEY)
        except ObjectMissing:
            return False
        return True

    return [await has(store) for store in stores]


async def test_what_is_cold_is_read_listed_and_deleted_as_before(
    storage: TieredStorage, hot: LocalStorage, cold: LocalStorage
) -> None:
    await put(storage, KEY, NOISE)
    assert not await storage.is_cold(KEY)
    for _ in range(2):  # again is harmless
        await storage.make_cold(KEY)
        assert await storage.is_cold(KEY)
        assert await places(hot, cold) == [False, True]
    assert await get(storage, KEY) == NOISE
    assert await get(storage, KEY, start=300_000, length=7) == NOISE[300_000:300_007]
    assert await storage.size(KEY) == len(NOISE)
    path = storage.local_path(KEY)
    assert path is not None
    assert path.read_bytes() == NOISE
    assert await names(storage, "raw") == {"01JD"}
    assert await storage.delete("raw/01JD") == 1
    assert await names(storage, "raw") == set()


async def test_what_is_nowhere_cannot_be_moved(storage: TieredStorage) -> None:
    with pytest.raises(ObjectMissing):
        await storage.make_cold(KEY)
    with pytest.raises(ObjectMissing):
        await storage.is_cold(KEY)


async def test_a_reader_is_not_disturbed_by_the_move(storage: TieredStorage) -> None:
    await put(storage, KEY, NOISE)
    async with aclosing(storage.read(KEY)) as pieces:
        read = await anext(pieces)
        await storage.make_cold(KEY)
        async for piece in pieces:
            read += piece
    assert read == NOISE


async def test_sealed_objects_are_moved_as_they_lie(
    storage: TieredStorage, hot: LocalStorage, cold: LocalStorage
) -> None:
    encrypted = EncryptedStorage(storage, await open_keyring(storage, [bytes(32)]))
    await put(encrypted, KEY, NOISE)
    sealed = await get(hot, KEY)
    await encrypted.make_cold(KEY)
    assert await get(cold, KEY) == sealed
    assert await get(encrypted, KEY) == NOISE


def dying(call: Callable[..., Awaitable[object]], *, done: bool) -> Callable[..., Awaitable[None]]:
    """The process dies there: before it was done, or just after."""

    async def dies(*arguments: object) -> None:
        if done:
            await call(*arguments)
        raise Dies

    return dies


@pytest.mark.parametrize("at", ["before the copy", "after the copy", "before the end", "after it"])
async def test_killed_at_any_point_nothing_is_lost_and_nothing_stays_double(
    storage: TieredStorage,
    hot: LocalStorage,
    cold: LocalStorage,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    await put(storage, KEY, NOISE)
    subject, name = {
        "before the copy": (cold, "receive"),
        "after the copy": (storage, "_cold_digest"),
        "before the end": (hot, "delete"),
        "after it": (hot, "delete"),
    }[at]
    with monkeypatch.context() as patched:
        patched.setattr(subject, name, dying(getattr(subject, name), done=at == "after it"))
        with pytest.raises(Dies):
            await storage.make_cold(KEY)
    assert await get(storage, KEY) == NOISE
    assert await names(storage, "raw/01JD") == {KEY.rsplit("/", 1)[1]}
    await storage.make_cold(KEY)
    assert await places(hot, cold) == [False, True]
    assert await get(storage, KEY) == NOISE


async def test_one_that_lies_in_both_is_deleted_in_both(
    storage: TieredStorage, hot: LocalStorage, cold: LocalStorage
) -> None:
    for store in (hot, cold):
        await put(store, KEY, NOISE)
    await storage.delete(KEY)
    assert await places(hot, cold) == [False, False]


async def test_a_cold_place_that_gives_back_something_else_gets_nothing(
    storage: TieredStorage, hot: LocalStorage, cold: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rotten(key: str, *, size_bytes: int) -> AsyncIterator[bytes]:
        yield bytes(size_bytes)

    await put(storage, KEY, NOISE)
    with monkeypatch.context() as patched:
        patched.setattr(cold, "read", rotten)
        with pytest.raises(StorageUnavailable, match="stays where it is"):
            await storage.make_cold(KEY)
    assert (await places(hot, cold))[0]
    assert await get(storage, KEY) == NOISE


async def test_both_places_are_checked_and_the_cold_one_is_named(
    storage: TieredStorage, hot: LocalStorage, tmp_path: Path
) -> None:
    await storage.check()
    (tmp_path / "cold").rename(tmp_path / "unmounted")
    encrypted = EncryptedStorage(storage, await open_keyring(hot, [bytes(32)]))
    for store in (storage, encrypted):
        with pytest.raises(StorageUnavailable, match=r"^The cold place: .* Mount its disk"):
            await store.check()
        await store.check(hot_only=True)  # work goes on
    await put(storage, KEY, NOISE)
    with pytest.raises(StorageUnavailable, match="Mount its disk"):
        await storage.make_cold(KEY)


async def test_a_cold_place_without_room_keeps_its_reserve(
    hot: LocalStorage, cold: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = TieredStorage(hot, cold, reserve_bytes=1000)
    await put(storage, KEY, b"0123456789")

    async def space() -> Space:
        return Space(free_bytes=free, total_bytes=5000)

    monkeypatch.setattr(cold, "space", space)
    free = 1009
    with pytest.raises(StorageFull, match="cold place"):
        await storage.make_cold(KEY)
    assert await places(hot, cold) == [True, False]
    free = 1010
    await storage.make_cold(KEY)
    assert await places(hot, cold) == [False, True]
