"""What every store must do: whole or not at all, durable, and only by the names it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ObjectMissing
from appliance.storage.protocol import Storage

KEY = "raw/01JD/猫 photo.jpg"


async def put(storage: Storage, key: str, *pieces: bytes) -> None:
    async with await storage.receive(key) as incoming:
        for piece in pieces:
            await incoming.write(piece)
        await incoming.commit()


async def get(storage: Storage, key: str, **part: int) -> bytes:
    return b"".join([piece async for piece in storage.read(key, **part)])


async def names(storage: Storage, prefix: str) -> set[str]:
    return {name async for name in storage.list(prefix)}


async def test_what_was_committed_is_read_back(storage: Storage) -> None:
    await put(storage, KEY, b"first ", b"", b"second")
    assert await get(storage, KEY) == b"first second"
    assert await storage.size(KEY) == 12
    assert await names(storage, "raw/01JD") == {"猫 photo.jpg"}


async def test_nothing_is_visible_before_the_commit(storage: Storage) -> None:
    async with await storage.receive(KEY) as incoming:
        await incoming.write(b"half")
        assert await names(storage, "raw") == set()
        with pytest.raises(ObjectMissing):
            await storage.size(KEY)
        await incoming.commit()
    assert await storage.size(KEY) == 4


@pytest.mark.parametrize("pieces", [1, 3, 40])
async def test_what_is_not_committed_is_gone(storage: Storage, tmp_path: Path, pieces: int) -> None:
    before = [path for path in tmp_path.rglob("*") if path.is_file()]
    async with await storage.receive(KEY) as incoming:
        for _ in range(pieces):
            await incoming.write(bytes(200_000))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == before


async def test_ranges(storage: Storage) -> None:
    await put(storage, KEY, b"0123456789")
    assert await get(storage, KEY, start=3) == b"3456789"
    assert await get(storage, KEY, start=3, length=2) == b"34"
    assert await get(storage, KEY, start=8, length=50) == b"89"
    assert await get(storage, KEY, start=0, length=0) == b""


async def test_large_objects_come_in_bounded_pieces(storage: Storage) -> None:
    block = bytes(range(256)) * 4096
    await put(storage, KEY, block, block, block)
    pieces = [len(piece) async for piece in storage.read(KEY)]
    assert sum(pieces) == 3 * len(block)
    assert max(pieces) <= 4 * 1024 * 1024


async def test_a_local_file_becomes_an_object(storage: Storage, tmp_path: Path) -> None:
    result = tmp_path / "thumbnail.webp"
    result.write_bytes(b"webp")
    await storage.store_file(result, "processed/01JD/1/thumbnail.webp")
    assert await get(storage, "processed/01JD/1/thumbnail.webp") == b"webp"


async def test_a_local_path_where_there_is_one_holds_the_bytes(storage: Storage) -> None:
    await put(storage, KEY, b"bytes")
    path = storage.local_path(KEY)
    assert path is None or path.read_bytes() == b"bytes"


async def test_deleting_one_and_deleting_all_below(storage: Storage) -> None:
    for key in ("raw/A/one", "processed/A/1/x", "processed/A/1/y", "processed/A/2/x"):
        await put(storage, key, b"data")
    assert await storage.delete("processed/A/1") == 2
    assert await names(storage, "processed/A") == {"2"}
    assert await storage.delete("raw/A/one") == 1
    assert await names(storage, "raw") == set()
    assert await storage.delete("raw/A/one") == 0


async def test_a_missing_object_is_told(storage: Storage) -> None:
    with pytest.raises(ObjectMissing):
        await get(storage, "raw/none/none")
    with pytest.raises(ObjectMissing):
        await storage.size("raw/none/none")


@pytest.mark.parametrize("key", ["", "../x", "raw/../../x", "raw//x", "/etc/passwd", "raw/a\0b"])
async def test_no_key_leads_outside(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        await put(storage, key, b"escaped")


async def test_its_own_check_leaves_nothing(storage: Storage) -> None:
    await storage.check()
    assert await names(storage, "raw") == set()


async def test_space_is_told_or_has_no_limit(storage: Storage) -> None:
    space = await storage.space()
    assert space is None or 0 <= space.free_bytes <= space.total_bytes
