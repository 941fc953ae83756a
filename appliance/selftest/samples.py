"""Files of each kind, made here byte by byte: the self-test's own process loads no media library.

Every file is another one: a mark that the caller gives is part of it, so that a mix-up of two
files shows in the digests. Pixels are cheap to make and slow enough to work on that a process
can be caught at it.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from appliance.jobs import JobType


@dataclass(frozen=True)
class Sample:
    """A kind of file."""

    job_type: JobType
    filename: str
    make: Callable[[str], bytes]
    """From a mark of printable ASCII, to the whole file."""


def text(mark: str, *, size_bytes: int = 2000) -> bytes:
    lines = (f"{mark} line {number}\n" for number in range(size_bytes // (len(mark) + 8) + 1))
    return "".join(lines).encode()[: max(size_bytes, len(mark) + 1)]


def archive(mark: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("note.txt", text(mark))
    return file.getvalue()


def sound(mark: str, *, size_bytes: int = 100_000) -> bytes:
    """WAV, 8 bits, 8 kHz, one channel: the mark, again and again."""
    data = (mark.encode() * (size_bytes // len(mark) + 1))[: size_bytes // 2 * 2]
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    return _riff(b"RIFF", b"WAVE" + _riff(b"fmt ", form) + _riff(b"data", data))


def picture(mark: str, *, width_px: int = 1600, height_px: int = 1200) -> bytes:
    """PNG, RGB."""
    return _png(width_px, height_px, mark)


def document(mark: str, *, pages: int = 3) -> bytes:
    """PDF 1.4: pages of lines of text."""
    numbers = range(pages)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in numbers)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number in numbers:
        lines = "".join(f"({mark}, page {number + 1}, line {n}) Tj T*\n" for n in range(50))
        content = f"BT /F1 11 Tf 14 TL 60 770 Td\n{lines}ET".encode()
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content))
    file, offsets = io.BytesIO(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    file.seek(0, io.SEEK_END)
    for number, one in enumerate(objects, start=1):
        offsets.append(file.tell())
        file.write(b"%d 0 obj\n%b\nendobj\n" % (number, one))
    table_at, count = file.tell(), len(objects) + 1
    file.write(b"xref\n0 %d\n0000000000 65535 f \n" % count)
    file.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    file.write(trailer % (count, table_at))
    return file.getvalue()


def video(mark: str, *, width_px: int = 480, height_px: int = 270, frames: int = 60) -> bytes:
    """AVI of 25 frames a second, each a PNG (FFmpeg calls that codec MPNG)."""
    pictures = [_png(width_px, height_px, "", shift=4 * number) for number in range(frames)]
    size = width_px * height_px * 3
    header = struct.pack(
        "<14I", 40_000, 0, 0, 0x10, frames, 0, 1, size, width_px, height_px, 0, 0, 0, 0
    )
    stream = struct.pack(
        "<4s4sIHHIIIIIIIIHHHH",
        *(b"vids", b"MPNG", 0, 0, 0, 0, 1, 25, 0, frames, size, 0xFFFFFFFF, 0),
        *(0, 0, width_px, height_px),
    )
    form = struct.pack("<IiiHH4sIiiII", 40, width_px, height_px, 1, 24, b"MPNG", size, 0, 0, 0, 0)
    streams = _riff(b"LIST", b"strl" + _riff(b"strh", stream) + _riff(b"strf", form))
    head = _riff(b"LIST", b"hdrl" + _riff(b"avih", header) + streams)
    movie = b"".join(_riff(b"00dc", one) for one in pictures)
    junk = _riff(b"JUNK", mark.encode())
    return _riff(b"RIFF", b"AVI " + head + junk + _riff(b"LIST", b"movi" + movie))


SAMPLES = (
    Sample(JobType.IMAGE, "picture.png", picture),
    Sample(JobType.PDF, "document.pdf", document),
    Sample(JobType.VIDEO, "video.avi", video),
    Sample(JobType.ANY, "text.txt", text),
    Sample(JobType.ANY, "sound.wav", sound),
    Sample(JobType.ANY, "archive.zip", archive),
)


def _riff(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _png(width_px: int, height_px: int, mark: str, *, shift: int = 0) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tEXt", b"Comment\0" + mark.encode()) if mark else b"")
        + chunk(b"IDAT", _pixels(width_px, height_px, shift))
        + chunk(b"IEND", b"")
    )


@cache
def _pixels(width_px: int, height_px: int, shift: int) -> bytes:
    """Compressed rows: colours that run slantwise, so that no two rows are the same."""
    wave = bytes((x * 5 // 7) & 255 for x in range(3 * width_px + 2 * height_px + shift))
    begins = range(shift, shift + 2 * height_px, 2)
    rows = (b"\0" + wave[begin : begin + 3 * width_px] for begin in begins)
    return zlib.compress(b"".join(rows), level=1)
