"""ZIP files that are made while they are sent, as Python's own reader and `unzip` see them."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.web import zips
from appliance.web.zips import Entry, SizeDiffers, archive, length_of, safe_names


def entry(name: str, content: bytes, *, size: int | None = None) -> Entry:
    async def read() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    return Entry(name, len(content) if size is None else size, 1_764_000_000.0, read)


async def made(*entries: Entry) -> bytes:
    return b"".join([piece async for piece in archive(entries)])


CONTENTS = {"a.txt": b"words\n", "日本 été.bin": bytes(range(256)) * 20, "empty": b""}


async def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    entries = [entry(name, content) for name, content in CONTENTS.items()]
    data = await made(*entries)
    assert len(data) == length_of(entries)
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == CONTENTS
        assert found.infolist()[0].date_time == (2025, 11, 24, 16, 0, 0)
    if shutil.which("unzip"):
        (tmp_path / "a.zip").write_bytes(data)
        subprocess.run(["unzip", "-tq", tmp_path / "a.zip"], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(("most_32", "most_16"), [(5000, 0xFFFF), (100, 0xFFFF), (0xFFFF_FFFF, 2)])
async def test_large_ones_are_zip64(
    monkeypatch: pytest.MonkeyPatch, most_32: int, most_16: int
) -> None:
    """With the limits moved to where a test can reach them; what is written there is checked
    field by field, as readers know only the real limits."""
    monkeypatch.setattr(zips, "_MOST_16", most_16)
    entries = [entry(name, content) for name, content in CONTENTS.items()]
    if most_32 == 0xFFFF_FFFF:
        data = await made(*entries)
        assert len(data) == length_of(entries)
        assert b"PK\6\6" in data
        assert b"PK\6\7" in data
    else:
        large = entry("large", b"", size=most_32 + 2**32)
        assert length_of([large, *entries]) > 2**32
        local = zips._local(large)
        assert local[18:26] == b"\xff" * 8
        assert local[-20:-16] == b"\1\0\x10\0"
        central = zips._central(large, 1, 2**33)
        assert central[-24:] == b"".join(
            number.to_bytes(8, "little") for number in (most_32 + 2**32, most_32 + 2**32, 2**33)
        )
        assert central[42:46] == b"\xff" * 4


async def test_one_beyond_four_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory is read by Python, its content is not kept, nor summed up."""
    monkeypatch.setattr("zlib.crc32", lambda data, before=0: 0)
    size = 2**32 + 5
    block = bytes(1024 * 1024)

    async def read() -> AsyncGenerator[bytes, None]:
        for _ in range(size // len(block)):
            yield block
        yield block[: size % len(block)]

    entries = [Entry("large.bin", size, 0.0, read), entry("behind.txt", b"words")]
    tail, sent = bytearray(), 0
    async for piece in archive(entries):
        sent += len(piece)
        tail = (tail + piece)[-4096:]
    assert sent == length_of(entries)

    class Tail(io.BytesIO):
        """A file of zeros of which the end is there."""

        def seek(self, offset: int, whence: int = 0) -> int:
            if whence == 2:
                offset += sent
            return super().seek(max(0, offset - (sent - len(tail)))) + (sent - len(tail))

        def tell(self) -> int:
            return super().tell() + (sent - len(tail))

    with zipfile.ZipFile(Tail(bytes(tail))) as found:
        assert [(one.filename, one.file_size) for one in found.infolist()] == [
            ("large.bin", size),
            ("behind.txt", 5),
        ]
        assert found.infolist()[1].header_offset == entries[0].sent_bytes


async def test_a_file_of_another_size_ends_it() -> None:
    with pytest.raises(SizeDiffers):
        await made(entry("a", b"words", size=6))


def test_names_are_told_apart_and_are_no_paths() -> None:
    names = ["a.txt", "A.TXT", "a.txt", "../../etc/passwd", "", "con/..", ".x", ".x"]
    assert safe_names(names) == [
        "a.txt", "A (2).TXT", "a (3).txt", ".._.._etc_passwd", "file", "con_", ".x", ".x (2)",
    ]  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_names_are_safe(names: list[str]) -> None:
    found = safe_names(names)
    assert len({name.casefold() for name in found}) == len(names)
    assert not any("/" in name or "\\" in name or name in ("", ".", "..") for name in found)
