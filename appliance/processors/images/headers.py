"""What the header of a picture claims, held against the limits before a decoder sees the file.

Decoders look at their own format's bombs late or not at all: they unpack texts, allocate a
canvas or make an object of each number while they open the file. So the structure is walked here
first, without unpacking pixels. Where it makes no sense the walk just ends: whether a file is
damaged is the decoder's verdict, and a file that decoders forgive must not be refused here.

Formats: PNG (ISO/IEC 15948, with APNG), GIF89a, RFC 9649 (WebP), TIFF 6.0 and BigTIFF,
ISO/IEC 23008-12 (HEIF), ISO/IEC 10918-1 (JPEG).
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from appliance.errors import LimitExceeded
from appliance.processors import limits


def hold_claims(file: BinaryIO, format: str) -> None:
    """Raise LimitExceeded for a file whose structure asks for too much. `format` is Pillow's
    name for it. The file is left at its start."""
    check = CHECKS.get(format)
    if check is None or file.seek(0, 2) == 0:
        return
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        contextlib.suppress(IndexError, struct.error),  # the end of a truncated file
    ):
        check(data)


def tiff_pages(file: BinaryIO) -> int:
    """The number of pages in the chain of a TIFF, at least 1; see `hold_claims` for its bound."""
    pages = 0
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        contextlib.suppress(IndexError, struct.error),
    ):
        for _ in _tiff_directories(data):
            pages += 1
    return max(1, pages)


def _unpack(layout: str, data: mmap.mmap, at: int) -> tuple[int, ...]:
    return struct.unpack_from(layout, data, at)


# --- JPEG --------------------------------------------------------------------------------

_SCAN = re.compile(rb"\xff\xda")
"""Start of scan. Coded data has no 0xFF that a 0x00 or a restart marker does not follow."""


def _jpeg(data: mmap.mmap) -> None:
    for number, _ in enumerate(_SCAN.finditer(data), start=1):
        limits.hold("JPEG", number, limits.MAX_JPEG_SCANS, "scans")


# --- PNG ---------------------------------------------------------------------------------


def _png(data: mmap.mmap) -> None:
    at = 8
    text_bytes = frames = 0
    for number in range(len(data)):
        limits.hold("PNG", number, limits.MAX_PNG_CHUNKS, "chunks")
        length, kind = _unpack(">I", data, at)[0], data[at + 4 : at + 8]
        body = at + 8
        if kind == b"IHDR":
            width, height = _unpack(">II", data, body)
            limits.hold("picture", width * height, limits.MAX_IMAGE_PIXELS, "pixels")
        elif kind == b"acTL":
            limits.hold("PNG", _unpack(">I", data, body)[0], limits.MAX_IMAGE_FRAMES, "frames")
        elif kind == b"fcTL":
            frames += 1
            limits.hold("PNG", frames, limits.MAX_IMAGE_FRAMES, "frames")
        elif kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            limits.hold(f"{kind.decode()} chunk", length, limits.MAX_PNG_TEXT_BYTES, "bytes")
            text_bytes += _unpacked_bytes(kind, data[body : body + length])
            limits.hold("PNG's text", text_bytes, limits.MAX_PNG_TEXT_TOTAL_BYTES, "bytes")
        elif kind == b"IEND":
            return
        at = body + length + 4


def _unpacked_bytes(kind: bytes, chunk: bytes) -> int:
    _, _, rest = chunk.partition(b"\0")
    if kind == b"tEXt":
        return len(chunk)
    if kind == b"iTXt":
        if rest[:1] != b"\1":
            return len(chunk)
        packed = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        packed = rest[1:]
    try:
        text = zlib.decompressobj().decompress(packed, limits.MAX_PNG_TEXT_BYTES + 1)
    except zlib.error:
        return len(chunk)
    if len(text) > limits.MAX_PNG_TEXT_BYTES:
        raise LimitExceeded(
            f"A text or profile in this PNG unpacks to more than {limits.MAX_PNG_TEXT_BYTES:,}"
            " bytes. Save the picture without its metadata, and upload it again."
        )
    return len(text)


# --- GIF ---------------------------------------------------------------------------------


def _gif(data: mmap.mmap) -> None:
    screen = _unpack("<HH", data, 6)
    at = 13 + _colour_table_bytes(data[10])
    frames = blocks = 0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C:
            left, top, width, height = _unpack("<HHHH", data, at + 1)
            frames += 1
            limits.hold("GIF", frames, limits.MAX_IMAGE_FRAMES, "frames")
            canvas = max(screen[0], left + width) * max(screen[1], top + height)
            limits.hold("picture", canvas, limits.MAX_IMAGE_PIXELS, "pixels")
            at += 11 + _colour_table_bytes(data[at + 9])
        elif data[at] == 0x21:
            at += 2
        else:  # Pillow and browsers look for the next one they know
            at += 1
            blocks += 1
            continue
        while data[at]:
            at += data[at] + 1
            blocks += 1
        at += 1
        blocks += 1
        limits.hold("GIF", blocks, limits.MAX_GIF_BLOCKS, "blocks")


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


# --- WebP --------------------------------------------------------------------------------


def _webp(data: mmap.mmap) -> None:
    at = 12
    frames = 0
    while at + 8 <= len(data):
        kind, (length,) = data[at : at + 4], _unpack("<I", data, at + 4)
        size = (0, 0)
        if kind == b"VP8X":
            packed = int.from_bytes(data[at + 12 : at + 18], "little")
            size = (packed & 0xFFFFFF) + 1, (packed >> 24) + 1
        elif kind == b"ANMF":
            frames += 1
            limits.hold("WebP", frames, limits.MAX_IMAGE_FRAMES, "frames")
        elif kind == b"VP8 ":
            width, height = _unpack("<HH", data, at + 14)
            size = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L":
            packed = _unpack("<I", data, at + 9)[0]
            size = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        pixels = size[0] * size[1]
        limits.hold("picture", pixels, limits.MAX_DECODED_PIXELS, "pixels")
        at += 8 + length + (length & 1)


# --- TIFF --------------------------------------------------------------------------------


def _tiff(data: mmap.mmap) -> None:
    for pages, tags in enumerate(_tiff_directories(data), start=1):
        if pages > limits.MAX_IMAGE_FRAMES:
            raise LimitExceeded(f"The TIFF has more than {limits.MAX_IMAGE_FRAMES:,} pages.")
        for values in tags:
            limits.hold("TIFF", values, limits.MAX_TIFF_VALUES, "strips or tiles")


def _tiff_directories(data: mmap.mmap) -> Iterator[list[int]]:
    """For each page, how many values each tag that is numbers claims. A chain that comes back to
    a page ends there."""
    order = ">" if data[:2] == b"MM" else "<"
    big = _unpack(f"{order}H", data, 2)[0] == 43
    pointer, count, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    at = _unpack(f"{order}{pointer}", data, 8 if big else 4)[0]
    seen: set[int] = set()
    while at and at not in seen and len(seen) <= limits.MAX_IMAGE_FRAMES:
        seen.add(at)
        entries = _unpack(f"{order}{count}", data, at)[0]
        limits.hold("TIFF", entries, limits.MAX_TIFF_TAGS, "tags on a page")
        first = at + (8 if big else 2)
        values = []
        for number in range(entries):
            tag = _unpack(f"{order}HH{pointer}", data, first + number * entry_bytes)
            if tag[1] not in (1, 2, 6, 7):  # bytes, text and the like stay one object
                values.append(tag[2])
        yield values
        at = _unpack(f"{order}{pointer}", data, first + entries * entry_bytes)[0]


# --- HEIF and AVIF -----------------------------------------------------------------------


def _heif(data: mmap.mmap) -> None:
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            _heif_meta(data, start + 4, end)


def _heif_meta(data: mmap.mmap, start: int, end: int) -> None:
    for kind, body, after in _boxes(data, start, end):
        if kind == b"iinf":
            items = _unpack(">I" if data[body] else ">H", data, body + 4)[0]
            limits.hold("picture", items, limits.MAX_HEIF_ITEMS, "parts")
        elif kind == b"iprp":
            for _, ipco, ipco_end in _boxes(data, body, after):
                for prop, at, _ in _boxes(data, ipco, ipco_end):
                    if prop == b"ispe":
                        width, height = _unpack(">II", data, at + 4)
                        pixels = width * height
                        limits.hold("picture", pixels, limits.MAX_DECODED_PIXELS, "pixels")
                        limits.hold("picture", max(width, height), 65_535, "pixels on one side")


def _boxes(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the body and end of each box between two offsets."""
    most = 4 * limits.MAX_HEIF_ITEMS  # an item has a few properties
    for _ in range(most):
        if start + 8 > end:
            return
        size, kind, body = _unpack(">I", data, start)[0], data[start + 4 : start + 8], start + 8
        if size == 1:
            size, body = _unpack(">Q", data, start + 8)[0], start + 16
        elif size == 0:
            size = end - start
        if size < body - start:
            return
        yield kind, body, min(start + size, end)
        start += size
    raise LimitExceeded(f"The picture has more than {most:,} parts.")


CHECKS: dict[str, Callable[[mmap.mmap], None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WEBP": _webp,
    "TIFF": _tiff,
    "HEIF": _heif,
    "AVIF": _heif,
}
