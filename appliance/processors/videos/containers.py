"""Whether a video file holds as many bytes as its container says, told from a few headers.

The decoder plays what is there and stops: half of an upload would look like a shorter film.
MP4 and QuickTime, Matroska and WebM, and AVI write down their sizes, so a missing end shows
before any decoding. MPEG streams, FLV and ASF do not.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

MAX_BOXES = 100_000
"""A four-hour film in fragments of a second has 30,000; beyond, the rest goes unchecked."""

BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"styp", b"free", b"skip", b"wide"}
"""Boxes that stand at the top of an MP4 (ISO 14496-12, 6.2.3). Others may be garbage that some
camera appended, whose size means nothing."""

EBML, SEGMENT = 0x1A45DFA3, 0x18538067
"""Element ids of Matroska (RFC 9559)."""


def is_cut_off(file: BinaryIO, demuxer: str) -> bool:
    """Whether `file`'s end is missing; False where the format, or the file, does not tell."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    check = {"mov": _mp4_end, "matroska": _matroska_end, "avi": _avi_end}.get(demuxer)
    cut_off = check is not None and check(file, size_bytes) > size_bytes
    file.seek(0)
    return cut_off


def _mp4_end(file: BinaryIO, size_bytes: int) -> int:
    """Where the last box ends. A size of 0 means to the end, of 1 that 64 bits follow."""
    end = 0
    for _ in range(MAX_BOXES):
        file.seek(end)
        header = file.read(16)
        if len(header) < 8 or header[4:8] not in BOXES:
            break
        (length,) = struct.unpack(">I", header[:4])
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
        if length < 8:
            break
        end += length
        if end >= size_bytes:
            break
    return end


def _matroska_end(file: BinaryIO, size_bytes: int) -> int:
    """Where the segment ends; unknown in a live recording."""
    head = file.read(4096)
    at = 0
    for expected in (EBML, SEGMENT):
        if int.from_bytes(head[at : at + 4], "big") != expected or len(head) < at + 12:
            return 0
        length, width = _ebml_size(head[at + 4 : at + 12])
        at += 4 + width
        if expected == SEGMENT:
            return 0 if length == (1 << 7 * width) - 1 else at + length
        at += length
    return 0


def _ebml_size(data: bytes) -> tuple[int, int]:
    """A number of variable width, and that width in bytes (RFC 8794, section 4)."""
    width = 9 - data[0].bit_length()
    if width > 8:
        return 0, 1
    return int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1), width


def _avi_end(file: BinaryIO, size_bytes: int) -> int:
    """Where the first RIFF chunk ends; 0 while it was still being recorded."""
    header = file.read(8)
    if len(header) < 8 or header[:4] != b"RIFF":
        return 0
    (length,) = struct.unpack("<I", header[4:])
    return 0 if length in (0, 0xFFFFFFFF) else 8 + int(length)
