"""The format of encrypted objects: nothing but what was sealed comes out, or an error."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import ObjectDamaged
from appliance.storage import sealed
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import open_keyring
from appliance.storage.local import LocalStorage
from appliance.storage.sealed import FRAME_BYTES, HEADER_BYTES, OVERHEAD_BYTES, Layout

KEY = "raw/A/data.bin"
SECRET = bytes(range(32))


@pytest.fixture
async def store(tmp_path: Path) -> EncryptedStorage:
    local = LocalStorage.open(tmp_path / "files")
    return EncryptedStorage(local, await open_keyring(local, [SECRET]))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return tmp_path / "files" / KEY


async def put(store: EncryptedStorage, content: bytes, key: str = KEY) -> None:
    async with await store.receive(key) as incoming:
        await incoming.write(content)
        await incoming.commit()


async def get(store: EncryptedStorage, **part: int) -> bytes:
    return b"".join([piece async for piece in store.read(KEY, **part)])


SIZES = [0, 1, 1000, FRAME_BYTES, 2 * FRAME_BYTES + 5]


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(size=st.sampled_from(SIZES), where=st.floats(0, 1, exclude_max=True), change=st.data())
def test_no_change_goes_unnoticed(tmp_path: Path, size: int, where: float, change: st.DataObject):  # type: ignore[no-untyped-def]
    """Whatever bit is changed, wherever it is cut, whatever is added."""

    async def tried() -> None:
        local = LocalStorage.open(tmp_path / "files")
        store = EncryptedStorage(local, await open_keyring(local, [SECRET]))
        content = os.urandom(size)
        await put(store, content)
        path = tmp_path / "files" / KEY
        whole = path.read_bytes()
        assert await get(store) == content
        at = int(where * len(whole))
        path.write_bytes(
            change.draw(
                st.sampled_from(
                    [
                        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :],
                        whole[:at],
                        whole + whole[at:],
                        whole[:at] + whole[at + 1 :],
                    ]
                )
            )
        )
        with pytest.raises(ObjectDamaged):
            await get(store)

    asyncio.run(tried())


async def test_frames_keep_their_places(store: EncryptedStorage, stored: Path) -> None:
    await put(store, bytes(FRAME_BYTES) + b"\1" * FRAME_BYTES)
    whole, size = stored.read_bytes(), FRAME_BYTES + OVERHEAD_BYTES
    header, first = whole[:HEADER_BYTES], whole[HEADER_BYTES:][:size]
    second, end = whole[HEADER_BYTES + size :][:size], whole[HEADER_BYTES + 2 * size :]
    for frames in ((second, first), (first, first), (second, second)):
        stored.write_bytes(header + b"".join(frames) + end)
        with pytest.raises(ObjectDamaged):
            await get(store)


async def test_frames_of_another_file_do_not_fit(store: EncryptedStorage, tmp_path: Path) -> None:
    await put(store, b"a" * 1000)
    await put(store, b"b" * 1000, "raw/B/data.bin")
    one, other = (tmp_path / "files" / key for key in (KEY, "raw/B/data.bin"))
    one.write_bytes(one.read_bytes()[:HEADER_BYTES] + other.read_bytes()[HEADER_BYTES:])
    with pytest.raises(ObjectDamaged):
        await get(store)


async def test_what_is_not_encrypted_is_refused(store: EncryptedStorage, stored: Path) -> None:
    await put(store, b"secret")
    stored.write_bytes(b"planted")
    with pytest.raises(ObjectDamaged, match="not a file that this server has encrypted"):
        await get(store)


async def test_the_same_content_looks_different_each_time(
    store: EncryptedStorage, stored: Path
) -> None:
    found = set()
    for _ in range(2):
        await put(store, b"the same" * 100)
        found.add(stored.read_bytes()[HEADER_BYTES:])
    assert len(found) == 2
    assert not any(b"the same" in content for content in found)


@settings(max_examples=200)
@given(st.lists(st.integers(1, 5), max_size=30), st.integers(0, 150))
def test_where_frames_lie(lengths: list[int], offset: int) -> None:
    layout = sealed.EMPTY.grown(lengths)
    place = HEADER_BYTES
    for frame, length in enumerate(lengths):
        assert layout.length(frame) == length
        assert layout.place(frame) == place
        place += length + OVERHEAD_BYTES
    assert layout.sealed_bytes == place
    assert layout.size_bytes == sum(lengths)
    if offset < layout.size_bytes:
        frame = layout.frame_at(offset)
        assert layout.starts[frame] <= offset < layout.starts[frame] + lengths[frame]
        cut = layout.cut(frame)
        assert (cut.size_bytes, cut.sealed_bytes) == (layout.starts[frame], layout.place(frame))
    assert layout.is_regular == (len(lengths) <= 1)


def test_full_frames_need_no_index() -> None:
    grown = sealed.EMPTY.grown([FRAME_BYTES, FRAME_BYTES, 7])
    assert grown.is_regular
    regular = Layout.regular(2 * FRAME_BYTES + 7)
    assert list(grown.starts) == list(regular.starts)
    assert grown.sealed_bytes == regular.sealed_bytes
    assert not sealed.EMPTY.grown([7, FRAME_BYTES]).is_regular


@pytest.mark.parametrize("prefix", [b"", b"\0\0\0", b"\0\0\0\0", b"\xff" * 4, b"\0\x20\0\0"])
def test_what_is_no_frame(prefix: bytes) -> None:
    assert sealed.frame_length(prefix) is None


async def test_a_read_that_is_given_up_leaves_nothing_open(store: EncryptedStorage) -> None:
    await put(store, bytes(3 * FRAME_BYTES))
    before = len(os.listdir("/proc/self/fd"))
    async with contextlib.aclosing(store.read(KEY)) as pieces:
        assert await anext(pieces)
    assert len(os.listdir("/proc/self/fd")) == before
