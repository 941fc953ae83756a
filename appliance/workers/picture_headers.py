"""How large a picture or a video says it is, read from its header.

For checking what a child reports of its results, so nothing here decodes, and every read and every
walk is bounded: the file is the work of a process that has read hostile bytes. What a decoder makes
of the file may still differ from its header; browsers refuse such a file.

Limits: the size of an AVIF is that of its largest image item, which is the picture in all that
libavif writes; the turn of an AVIF (`irot`) is not looked at.

Sources: RFC 9649 (WebP), RFC 2083 (PNG), ITU-T T.81 (JPEG), ISO/IEC 14496-12 (boxes, `tkhd`),
ISO/IEC 23008-12 (`ispe`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

ReadAt = Callable[[int, int], bytes]
"""Offset and length to the bytes there; fewer at the end of the file."""

MAX_JPEG_SEGMENTS = 1000
"""Before the frame's: a colour profile of 4 MiB takes 65 of them."""

MAX_BOXES = 1000
"""Looked at in one file. A meta box has some 20, each track of a video another 20."""


class NoSize(ValueError):
    """The header says no size, or is none of that format."""


class Size(NamedTuple):
    width_px: int
    height_px: int


def size_of(content_type: str, read_at: ReadAt) -> Size | None:
    """What the header says; None for a type that has no size. Raises NoSize."""
    reader = _READERS.get(content_type)
    if reader is None:
        return None
    try:
        size = reader(read_at)
    except (struct.error, IndexError) as error:
        raise NoSize("The file ends in its header") from error
    if min(size) < 1:
        raise NoSize("The header says a size of nothing")
    return size


def _webp(read_at: ReadAt) -> Size:
    head = read_at(0, 30)
    match head[12:16]:
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", head, 26)
            return Size(width & 0x3FFF, height & 0x3FFF)
        case b"VP8L" if head[20:21] == b"\x2f":
            (bits,) = struct.unpack_from("<I", head, 21)
            return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        case b"VP8X":
            canvas = struct.unpack_from("<6B", head, 24)
            return Size(
                int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1
            )
    raise NoSize("No WebP that is known")


def _png(read_at: ReadAt) -> Size:
    head = read_at(0, 24)
    if head[12:16] != b"IHDR":
        raise NoSize("A PNG without IHDR")
    return Size(*struct.unpack_from(">II", head, 16))


def _jpeg(read_at: ReadAt) -> Size:
    at = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        head = read_at(at, 9)
        if head[0] != 0xFF:
            break
        marker = head[1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", head, 5)
            return Size(width, height)
        elif marker in (0xD9, 0xDA):  # the end, or the picture's data
            break
        else:
            at += 2 + struct.unpack_from(">H", head, 2)[0]
    raise NoSize("A JPEG without a frame")


def _avif(read_at: ReadAt) -> Size:
    boxes = _Boxes(read_at)
    sizes = [
        Size(*struct.unpack(">II", read_at(ispe.start + 4, 8)))
        for meta in boxes.within(boxes.whole(), b"meta")
        for iprp in boxes.within(_Box(meta.start + 4, meta.end), b"iprp")
        for ipco in boxes.within(iprp, b"ipco")
        for ispe in boxes.within(ipco, b"ispe")
    ]
    return _largest(sizes)


def _mp4(read_at: ReadAt) -> Size:
    boxes = _Boxes(read_at)
    sizes = []
    for moov in boxes.within(boxes.whole(), b"moov"):
        for trak in boxes.within(moov, b"trak"):
            for tkhd in boxes.within(trak, b"tkhd"):
                has_long_times = read_at(tkhd.start, 1) == b"\x01"
                at = tkhd.start + (88 if has_long_times else 76)
                width, height = struct.unpack(">II", read_at(at, 8))  # 16.16 fixed point
                sizes.append(Size(round(width / 65_536), round(height / 65_536)))
    return _largest(sizes)  # a track of sound has no size


def _largest(sizes: list[Size]) -> Size:
    if not sizes:
        raise NoSize("No size in the boxes")
    return max(sizes, key=lambda size: size.width_px * size.height_px)


class _Box(NamedTuple):
    start: int
    """Of what is in it."""
    end: int


class _Boxes:
    """The boxes of one file; all walks together look at MAX_BOXES of them."""

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._left = MAX_BOXES

    def whole(self) -> _Box:
        return _Box(0, 1 << 62)

    def within(self, outer: _Box, kind: bytes) -> Iterator[_Box]:
        at = outer.start
        while at + 8 <= outer.end:
            head = self._read_at(at, 16)
            if len(head) < 8:
                return  # the end of the file
            self._left -= 1
            if self._left < 0:
                raise NoSize("Too many boxes")
            length, header = struct.unpack_from(">I", head)[0], 8
            if length == 1:
                length, header = struct.unpack_from(">Q", head, 8)[0], 16
            end = outer.end if length == 0 else min(at + length, outer.end)
            if end < at + header:
                raise NoSize("A box that is shorter than its head")
            if head[4:8] == kind:
                yield _Box(at + header, end)
            at = end


def _gif(read_at: ReadAt) -> Size:
    """Of the whole screen, on which every frame has to lie (GIF89a, section 18)."""
    return Size(*struct.unpack_from("<HH3x", read_at(0, 13), 6))


_READERS: dict[str, Callable[[ReadAt], Size]] = {
    "image/webp": _webp,
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/avif": _avif,
    "image/gif": _gif,
    "video/mp4": _mp4,
}
