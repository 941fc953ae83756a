"""Parts on their way to an object store: whole, hashed, and within the memory that there is."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

import pytest

from appliance.errors import StorageFull
from appliance.storage.in_flight import InFlight
from appliance.storage.spool import HELD_BYTES, FileSlice, Given, Memory, Spool

NOISE = random.Random(3).randbytes(HELD_BYTES * 3)
CHUNK = 50_000


async def filled(folder: Path, memory: Memory, data: bytes = NOISE) -> Spool:
    spool = Spool(folder, memory)
    for at in range(0, len(data), CHUNK):
        await spool.write(data[at : at + CHUNK])
    return spool


async def content(spool: Spool | FileSlice) -> bytes:
    return b"".join([bytes(piece) async for piece in spool.pieces()])


@pytest.mark.parametrize("free_bytes", [0, CHUNK, HELD_BYTES, 10 * len(NOISE)])
async def test_what_finds_no_room_in_memory_goes_to_the_disk(
    tmp_path: Path, free_bytes: int
) -> None:
    memory = Memory(free_bytes)
    spool = await filled(tmp_path, memory)
    assert bool(list(tmp_path.iterdir())) == (free_bytes < len(NOISE) - HELD_BYTES)
    for _ in range(2):  # a request that failed is made again
        assert await content(spool) == NOISE
        assert await spool.sha256() == hashlib.sha256(NOISE).hexdigest()
    assert spool.size_bytes == len(NOISE)
    spool.discard()
    assert not list(tmp_path.iterdir())
    assert memory.take(free_bytes)
    assert not memory.take(1)


async def test_what_waits_for_other_files_holds_no_memory(tmp_path: Path) -> None:
    memory = Memory(len(NOISE))
    spool = await filled(tmp_path, memory)
    await spool.park()
    assert memory.take(len(NOISE))
    assert await content(spool) == NOISE
    spool.discard()


async def test_what_is_small_never_touches_the_disk(tmp_path: Path) -> None:
    spool = await filled(tmp_path, Memory(0), NOISE[:HELD_BYTES])
    assert await content(spool) == NOISE[:HELD_BYTES]
    assert await spool.sha256() == hashlib.sha256(NOISE[:HELD_BYTES]).hexdigest()
    assert not list(tmp_path.iterdir())


async def test_a_slice_is_a_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(NOISE)
    part = FileSlice(tmp_path / "file", 10, 600_000)
    assert await content(part) == NOISE[10:600_010]
    assert await part.sha256() == hashlib.sha256(NOISE[10:600_010]).hexdigest()


class Part(Given):
    discarded = False

    def discard(self) -> None:
        self.discarded = True


async def test_requests_have_turns_and_a_failed_one_ends_the_others() -> None:
    turns, most, now, seen = asyncio.Semaphore(3), 2, 0, 0
    go_on = asyncio.Event()

    async def work() -> None:
        nonlocal now, seen
        now, seen = now + 1, max(seen, now + 1)
        await go_on.wait()
        now -= 1

    async def fail() -> None:
        raise StorageFull("no room")

    uploads = [InFlight(turns, most) for _ in range(3)]
    parts = [Part(b"") for _ in range(6)]
    for number, part in enumerate(parts):
        await uploads[number % 3].begin(work(), part)
    third = asyncio.ensure_future(uploads[0].begin(work(), Part(b"")))
    await asyncio.sleep(0)
    assert not third.done()  # two of its own are under way
    go_on.set()
    await third
    for upload in uploads:
        await upload.finish()
    assert seen == 3
    assert all(part.discarded for part in parts)

    await uploads[0].begin(fail())
    with pytest.raises(StorageFull):
        await uploads[0].finish()
    refused = Part(b"")
    with pytest.raises(StorageFull):
        await uploads[0].begin(work(), refused)
    assert refused.discarded


async def test_giving_up_discards_what_never_had_its_turn() -> None:
    turns = asyncio.Semaphore(0)
    upload, part = InFlight(turns, 2), Part(b"")

    async def work() -> None:
        raise AssertionError("it had no turn")

    await upload.begin(work(), part)
    await upload.cancel()
    assert part.discarded
