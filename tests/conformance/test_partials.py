"""What every store that offers partials must do: what was synced outlives the server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.errors import ObjectMissing
from appliance.storage import local_partials
from appliance.storage.partials import Partials
from appliance.storage.protocol import Storage
from tests.conformance.conftest import OpenStorage

NAME = "01JDUPLOAD"
DATA = bytes(range(256)) * 12_000  # three megabytes: several blocks


def of(storage: Storage) -> Partials:
    assert storage.partials is not None
    return storage.partials


async def append(partials: Partials, offset: int, *pieces: bytes, name: str = NAME) -> None:
    async with await partials.append_at(name, offset) as appending:
        for piece in pieces:
            await appending.write(piece)
        await appending.sync()


async def get(source: Partials | Storage, name: str, **part: int) -> bytes:
    return b"".join([piece async for piece in source.read(name, **part)])


@pytest.mark.parametrize("steps", [[0], [1], [5, 700_000, 1_048_576, 1_048_577], [2_999_999]])
async def test_it_grows_over_several_requests(storage: Storage, steps: list[int]) -> None:
    partials = of(storage)
    await partials.create(NAME)
    assert await partials.size(NAME) == 0
    for start, end in zip([0, *steps], [*steps, len(DATA)], strict=True):
        await append(
            partials, start, DATA[start : (start + end) // 2], DATA[(start + end) // 2 : end]
        )
        assert await partials.size(NAME) == end
    assert await get(partials, NAME) == DATA
    for start, length in ((0, 10), (4, 2), (699_990, 20), (1_048_570, 20), (2_999_990, 10**6)):
        assert await get(partials, NAME, start=start, length=length) == DATA[start:][:length]
    await partials.commit(NAME, "raw/A/data.bin")
    assert not await partials.exists(NAME)
    assert await storage.size("raw/A/data.bin") == len(DATA)
    assert await get(storage, "raw/A/data.bin") == DATA
    for start, length in ((3, 5), (1_048_000, 1000), (2_999_990, 10**6)):
        found = await get(storage, "raw/A/data.bin", start=start, length=length)
        assert found == DATA[start:][:length]
    await partials.commit(NAME, "raw/A/data.bin")  # done already: nothing happens


@pytest.mark.parametrize("offset", [0, 1, 500_000, 1_048_576, 1_500_000, 2_000_000])
async def test_what_lies_beyond_is_cut_off(storage: Storage, offset: int) -> None:
    partials = of(storage)
    await partials.create(NAME)
    await append(partials, 0, DATA[:1_500_000])
    await append(partials, 1_500_000, DATA[1_500_000:2_000_000])
    await append(partials, offset, b"other")
    assert await get(partials, NAME) == DATA[:offset] + b"other"


async def test_what_is_missing_cannot_be_appended_to(storage: Storage) -> None:
    partials = of(storage)
    with pytest.raises(ObjectMissing):
        await partials.append_at(NAME, 0)
    await partials.create(NAME)
    await append(partials, 0, b"12345")
    with pytest.raises(ObjectMissing):
        await partials.append_at(NAME, 6)


@pytest.mark.parametrize("cancelled", ["a write", "a sync"])
async def test_what_was_written_before_a_cancellation_is_kept(
    storage: Storage, cancelled: str
) -> None:
    """As when a newer request takes over, and the older one keeps what it got."""
    partials = of(storage)
    await partials.create(NAME)
    async with await partials.append_at(NAME, 0) as appending:
        await appending.write(DATA[:1_200_000])
        step = appending.sync() if cancelled == "a sync" else appending.write(DATA[1_200_000:])
        task: asyncio.Task[None] = asyncio.create_task(step)
        await asyncio.sleep(0)  # it has begun
        task.cancel()
        await asyncio.wait((task,))
        await appending.sync()
    found = await get(partials, NAME)
    assert found[:1_200_000] == DATA[:1_200_000]
    assert found == DATA[: len(found)]


async def test_a_restart_keeps_all_that_was_written(open_storage: OpenStorage) -> None:
    partials = of(await open_storage())
    for name in (NAME, "OTHER", "UNKNOWN"):
        await partials.create(name)
        await append(partials, 0, DATA[:1_200_000], name=name)
    async with await partials.append_at(NAME, 1_200_000) as appending:
        await appending.write(DATA[1_200_000:])  # not synced, and the server is killed

    partials = of(await open_storage())
    await partials.recover({NAME: 1_200_000, "OTHER": 1_200_000})
    assert set(await partials.names()) == {NAME, "OTHER"}
    size_bytes = await partials.size(NAME)
    assert size_bytes >= 1_200_000
    assert await get(partials, NAME) == DATA[:size_bytes]
    await append(partials, size_bytes, DATA[size_bytes:])
    assert await get(partials, NAME) == DATA


@pytest.mark.parametrize("open_storage", ["local", "encrypted"], indirect=True)
async def test_a_power_cut_takes_what_was_not_recorded(
    open_storage: OpenStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    partials = of(await open_storage())
    await partials.recover({})
    await partials.create(NAME)
    await append(partials, 0, DATA[:1_200_000])
    await append(partials, 1_200_000, DATA[1_200_000:])
    boot = tmp_path / "another boot"
    boot.write_text("another")
    monkeypatch.setattr(local_partials, "BOOT_ID", boot)

    partials = of(await open_storage())
    assert await partials.recover({NAME: 1_200_000}) >= len(DATA) - 1_200_000
    assert await get(partials, NAME) == DATA[:1_200_000]
    await append(partials, 1_200_000, b"the rest")
    assert await get(partials, NAME) == DATA[:1_200_000] + b"the rest"


async def test_several_are_joined(storage: Storage) -> None:
    partials = of(storage)
    for name, part in (("A", DATA[:1_100_000]), ("B", b""), ("C", DATA[1_100_000:]), ("ALL", b"")):
        await partials.create(name)
        await append(partials, 0, part, name=name)
    assert await partials.join(["A", "B", "C"], "ALL") == len(DATA)
    assert await get(partials, "ALL") == DATA
    assert await get(partials, "A") == DATA[:1_100_000]
    await partials.commit("ALL", "raw/ALL/x")
    assert await get(storage, "raw/ALL/x") == DATA


async def test_a_deleted_one_gives_its_room_back(storage: Storage) -> None:
    partials = of(storage)
    await partials.create(NAME)
    await append(partials, 0, DATA)
    assert await partials.delete(NAME) >= len(DATA)
    assert await partials.delete(NAME) == 0
    assert not await partials.exists(NAME)
