"""ZIP files that are made while they are sent: stored, not compressed, of a length known before.

Pictures, films and PDFs are compressed already. CRCs are known only when a file has gone by, so
they follow it (data descriptors) and stand in the directory at the end, where every program looks.
Files and archives beyond 4 GiB are ZIP64. Pure: bytes come from whoever is asked for them.
Source: PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

_LOCAL, _DESCRIPTOR, _CENTRAL = 0x04034B50, 0x08074B50, 0x02014B50
_END_64, _LOCATOR_64, _END = 0x06064B50, 0x07064B50, 0x06054B50
_FLAGS = 1 << 3 | 1 << 11
"""A data descriptor follows; the name is in UTF-8."""
_MOST_32, _MOST_16 = 0xFFFF_FFFF, 0xFFFF
_PLAIN, _ZIP64 = 20, 45
"""The version of the format that a reader must know."""
_UNIX = 3 << 8
_MODE = 0o100644 << 16


@dataclass(frozen=True)
class Entry:
    name: str
    """A path within the archive; see `safe_names`."""
    size_bytes: int
    modified_at: float
    read: Callable[[], AsyncGenerator[bytes, None]]

    @property
    def encoded(self) -> bytes:
        return self.name.encode()

    @property
    def is_large(self) -> bool:
        return self.size_bytes >= _MOST_32

    @property
    def sent_bytes(self) -> int:
        """Of header, content and descriptor."""
        extra, descriptor = (20, 24) if self.is_large else (0, 16)
        return 30 + len(self.encoded) + extra + self.size_bytes + descriptor


class SizeDiffers(Exception):
    """A file has not as many bytes as was said; the archive cannot be completed."""


def length_of(entries: Sequence[Entry]) -> int:
    """Of the whole archive, in bytes."""
    directory, offset = 0, 0
    for entry in entries:
        directory += len(_central(entry, 0, offset))
        offset += entry.sent_bytes
    return offset + directory + len(_ending(len(entries), directory, offset))


async def archive(entries: Sequence[Entry]) -> AsyncIterator[bytes]:
    """The bytes of the archive. Raises SizeDiffers, and whatever reading raises."""
    directory, offset = bytearray(), 0
    for entry in entries:
        yield _local(entry)
        crc, seen = 0, 0
        async with aclosing(entry.read()) as pieces:
            async for piece in pieces:
                crc, seen = zlib.crc32(piece, crc), seen + len(piece)
                yield piece
        if seen != entry.size_bytes:
            raise SizeDiffers(f"{entry.name}: {seen} of {entry.size_bytes} bytes")
        sizes = "<IIQQ" if entry.is_large else "<IIII"
        yield struct.pack(sizes, _DESCRIPTOR, crc, seen, seen)
        directory += _central(entry, crc, offset)
        offset += entry.sent_bytes
    yield bytes(directory) + _ending(len(entries), len(directory), offset)


def safe_names(names: Sequence[str]) -> list[str]:
    """Each as a single name without a path, none of them twice, as every system takes it.

    The letter case does not tell two apart: it does not on Windows and macOS.
    """
    seen: set[str] = set()
    found = []
    for name in names:
        clean = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", name).rstrip(". ").lstrip() or "file"
        stem, dot, extension = clean.rpartition(".")
        if not stem:
            stem, dot, extension = clean, "", ""
        chosen, number = clean, 1
        while chosen.casefold() in seen:
            number += 1
            chosen = f"{stem} ({number}){dot}{extension}"
        seen.add(chosen.casefold())
        found.append(chosen)
    return found


def _local(entry: Entry) -> bytes:
    name, large = entry.encoded, entry.is_large
    extra = struct.pack("<HHQQ", 1, 16, 0, 0) if large else b""
    size = _MOST_32 if large else 0
    return (
        struct.pack(
            "<IHHHHHIIIHH",
            _LOCAL,
            _ZIP64 if large else _PLAIN,
            _FLAGS,
            0,
            *_dos_time(entry.modified_at),
            0,
            size,
            size,
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def _central(entry: Entry, crc: int, offset: int) -> bytes:
    name, large, far = entry.encoded, entry.is_large, offset >= _MOST_32
    extra = b"".join(
        [struct.pack("<QQ", entry.size_bytes, entry.size_bytes)] * large
        + [struct.pack("<Q", offset)] * far
    )
    if extra:
        extra = struct.pack("<HH", 1, len(extra)) + extra
    size = _MOST_32 if large else entry.size_bytes
    version = _ZIP64 if extra else _PLAIN
    return (
        struct.pack(
            "<IHHHHHHIIIHHHHHII",
            _CENTRAL,
            _UNIX | version,
            version,
            _FLAGS,
            0,
            *_dos_time(entry.modified_at),
            crc,
            size,
            size,
            len(name),
            len(extra),
            0,
            0,
            0,
            _MODE,
            _MOST_32 if far else offset,
        )
        + name
        + extra
    )


def _ending(count: int, directory_bytes: int, offset: int) -> bytes:
    large = count >= _MOST_16 or directory_bytes >= _MOST_32 or offset >= _MOST_32
    ending = b""
    if large:
        ending = struct.pack(
            "<IQHHIIQQQQ", _END_64, 44, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count,
            directory_bytes, offset,
        ) + struct.pack("<IIQI", _LOCATOR_64, 0, offset + directory_bytes, 1)  # fmt: skip
    counted = min(count, _MOST_16)
    return ending + struct.pack(
        "<IHHHHIIH", _END, 0, 0, counted, counted, min(directory_bytes, _MOST_32),
        min(offset, _MOST_32), 0,
    )  # fmt: skip


def _dos_time(at: float) -> tuple[int, int]:
    """Time and date, UTC, as MS-DOS wrote them: to two seconds, from 1980 on."""
    moment = time.gmtime(min(max(at, 315532800.0), 4354819198.0))
    return (
        moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
        (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
    )
