"""Pictures that are small on the disk and huge in memory or time: refused from the header."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from appliance.errors import CorruptFile, LimitExceeded
from appliance.processors import limits
from appliance.processors.image import PROCESSOR
from appliance.processors.images import headers
from tests import media
from tests import telling_pictures as telling
from tests.processing import process


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


@pytest.fixture(autouse=True)
def _unread(monkeypatch) -> None:
    """No pixel is unpacked: a decoder that is asked to is a failure of its own."""

    def load(picture: ImageFile.ImageFile) -> None:
        raise AssertionError(f"{picture.format} was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


def refused(data: bytes, content_type: str, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(LimitExceeded) as caught:
        process(PROCESSOR, data, content_type, tmp_path, **options)
    assert caught.value.permanent
    return caught.value.detail


def gif_of(frames: int, *, size: tuple[int, int] = (8, 8), at: tuple[int, int] = (0, 0)) -> bytes:
    """Frames of a few bytes each, whatever size they claim."""
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", *at, *size, 0) + b"\x02\x02\x4c\x01\x00"
    return head + frame * frames + b";"


def webp_of(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) & 1) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def canvas(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8X", b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(
        3, "little"
    )


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    data = media.png(64, 48)
    more = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return data[:33] + more + data[33:]


def tiff_of(entries: list[tuple[int, int, int, int]], *, big: bool = False) -> bytes:
    """One page, with entries of tag, type, count and value."""
    if big:
        head = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + struct.pack("<Q", len(entries))
        return head + b"".join(struct.pack("<HHQQ", *one) for one in entries) + bytes(8)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    return head + b"".join(struct.pack("<HHII", *one) for one in entries) + bytes(4)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def heif_of(width: int, height: int, *, items: int = 1, brand: bytes = b"heic") -> bytes:
    ispe = box(b"ispe", bytes(4) + struct.pack(">II", width, height))
    iinf = box(b"iinf", bytes(4) + struct.pack(">H", items))
    meta = box(b"meta", bytes(4) + iinf + box(b"iprp", box(b"ipco", ispe)))
    return box(b"ftyp", brand + bytes(4) + b"mif1" + brand) + meta


# --- pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/png", media.png_header_bomb()),
        ("image/gif", gif_of(1, size=(65_535, 65_535))),
        ("image/gif", gif_of(1)[:-1] + gif_of(1, size=(60_000, 60_000), at=(500, 0))[19:]),
        ("image/webp", webp_of(canvas(1 << 24, 200))),
        ("image/webp", webp_of(canvas(16_384, 16_384))),
        ("image/webp", webp_of((b"VP8L", b"\x2f" + struct.pack("<I", 0x0FFFFFFF)))),
        ("image/webp", webp_of((b"VP8 ", bytes(6) + struct.pack("<HH", 16_383, 16_383)))),
        (
            "image/bmp",
            b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 50_000, 50_000, 1, 1, 0) + bytes(40),
        ),
        ("image/heic", heif_of(40_000, 40_000)),
        ("image/heic", heif_of(65_536, 1)),
        ("image/avif", heif_of(40_000, 40_000, brand=b"avif")),
        ("image/tiff", tiff_of([(256, 4, 1, 60_000), (257, 4, 1, 60_000), (273, 4, 1, 8)])),
    ],
)
def test_a_claim_of_too_many_pixels(content_type: str, data: bytes, tmp_path: Path) -> None:
    assert len(data) < 1000
    assert "pixels" in refused(data, content_type, tmp_path)


def test_a_jpeg_of_too_many_pixels(tmp_path: Path) -> None:
    data = media.jpeg(64, 48)
    at = data.index(b"\xff\xc0") + 5
    data = data[:at] + struct.pack(">HH", 65_500, 65_500) + data[at + 4 :]
    assert "4,290,250,000 pixels" in refused(data, "image/jpeg", tmp_path)


def test_a_jpeg_of_too_many_scans(tmp_path: Path) -> None:
    data = media.jpeg(64, 48, progressive=True)
    at = data.rindex(b"\xff\xda")
    scan = data[at:-2]
    bomb = data[:at] + scan * 300 + b"\xff\xd9"
    assert "scans" in refused(bomb, "image/jpeg", tmp_path)


# --- frames and pages --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/gif", gif_of(10_001)),
        ("image/webp", webp_of(canvas(8, 8), *[(b"ANMF", bytes(16))] * 10_001)),
        ("image/png", png_with((b"acTL", struct.pack(">II", 10_001, 0)))),
        (
            "image/png",
            png_with((b"acTL", struct.pack(">II", 2, 0)), *[(b"fcTL", bytes(26))] * 10_001),
        ),
    ],
)
def test_too_many_frames(content_type: str, data: bytes, tmp_path: Path) -> None:
    assert "10,001 frames" in refused(data, content_type, tmp_path)


def test_too_many_pages(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGE_FRAMES", 3)
    assert "more than 3 pages" in refused(media.tiff(64, 48, pages=4), "image/tiff", tmp_path)


@pytest.mark.parametrize("pages", [1, 3])
def test_pages_are_counted(pages: int, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(media.tiff(64, 48, pages=pages))
    with path.open("rb") as file:
        assert headers.tiff_pages(file) == pages


def test_a_ring_of_pages_ends(tmp_path: Path) -> None:
    data = bytearray(tiff_of([(256, 4, 1, 8)]))
    data[-4:] = struct.pack("<I", 8)
    path = tmp_path / "it"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert headers.tiff_pages(file) == 1


def test_an_animation_of_too_many_pixels_in_all(tmp_path: Path) -> None:
    bomb = gif_of(9_999, size=(1000, 1000))
    told = refused(bomb, "image/gif", tmp_path, animation="keep")
    assert "9,999,000,000 pixels in all frames" in told


# --- what unpacks, what is counted -------------------------------------------------------


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_text_that_unpacks_to_too_much(kind: bytes, tmp_path: Path) -> None:
    bomb = telling.zipped_png_text(50 * 1024 * 1024, kind)
    assert len(bomb) < 100_000
    assert "unpacks to more than" in refused(bomb, "image/png", tmp_path)


def test_texts_that_are_too_much_together(tmp_path: Path) -> None:
    body = b"Comment\0\0" + zlib.compress(bytes(8_000_000), 9)
    assert "PNG's text" in refused(png_with(*[(b"zTXt", body)] * 9), "image/png", tmp_path)


def test_a_png_of_too_many_chunks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_PNG_CHUNKS", 50)
    bomb = png_with(*[(b"teSt", b"")] * 60)
    assert "chunks" in refused(bomb, "image/png", tmp_path)


def test_a_gif_of_empty_blocks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_GIF_BLOCKS", 500)
    bomb = gif_of(1)[:-1] + b"\x21\xfe" + b"\1x" * 600 + b"\0;"
    assert "blocks" in refused(bomb, "image/gif", tmp_path)


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_too_many_strips(big: bool, tmp_path: Path) -> None:
    data = tiff_of([(256, 4, 1, 8), (257, 4, 1, 8), (273, 4, 400_000_000, 8)], big=big)
    assert "400,000,000 strips" in refused(data, "image/tiff", tmp_path)


def test_a_bigtiff_of_too_many_tags(tmp_path: Path) -> None:
    data = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 1 << 40) + bytes(64)
    assert "tags" in refused(data, "image/tiff", tmp_path)


@pytest.mark.parametrize("brand", [b"heic", b"avif"])
def test_a_grid_of_too_many_tiles(brand: bytes, tmp_path: Path) -> None:
    data = heif_of(64, 64, items=60_000, brand=brand)
    assert "60,000 parts" in refused(data, f"image/{brand.decode()}", tmp_path)


def test_endless_boxes(tmp_path: Path) -> None:
    data = heif_of(64, 64) + box(b"free", b"") * 20_000
    assert "parts" in refused(data, "image/heic", tmp_path)


# --- what is no bomb ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "make"),
    [
        *telling.ALL,
        ("image/gif", lambda: media.gif(frames=20)),
        ("image/tiff", lambda: media.tiff(64, 48, pages=20)),
        ("image/tiff", lambda: media.tiff(packing="tiff_lzw")),
        ("image/png", lambda: telling.zipped_png_text(2_000_000)),
        ("image/jpeg", lambda: media.jpeg(progressive=True)),
        ("image/webp", lambda: media.webp(lossless=True)),
    ],
)
def test_real_files_pass(content_type: str, make: Any, tmp_path: Path) -> None:
    path = tmp_path / "it"
    for data in (make(), media.truncated(make(), 0.6), make() + bytes(100), make()[:11], b""):
        path.write_bytes(data)
        with path.open("rb") as file:
            headers.hold_claims(file, PROCESSOR_FORMATS[content_type])
            assert file.seek(0, 1) in (0, len(data)), "nothing was read through the file"


PROCESSOR_FORMATS = {
    content_type: content_type.partition("/")[2].upper().replace("HEIC", "HEIF")
    for content_type in PROCESSOR.content_types
}


def test_the_guard_of_these_tests_works() -> None:
    picture = Image.open(BytesIO(media.png()))
    with pytest.raises(AssertionError, match="PNG was decoded"):
        picture.load()


def test_nonsense_is_corrupt(tmp_path: Path) -> None:
    for content_type in PROCESSOR.content_types:
        for data in (b"\0" * 64, b"II*\0" + b"\xff" * 60, b"GIF89a" + b"\xff" * 60):
            with pytest.raises(CorruptFile):
                process(PROCESSOR, data, content_type, tmp_path)
