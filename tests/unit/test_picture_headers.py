"""Sizes out of headers, against files that real encoders made, and against broken ones."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from appliance.workers.picture_headers import NoSize, Size, size_of
from tests import media


def size(content_type: str, data: bytes) -> Size | None:
    reads = 0

    def read_at(start: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        assert length <= 64
        assert reads < 5000
        return data[start : start + length]

    return size_of(content_type, read_at)


def saved(format: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (321, 203), 90 if mode == "L" else None).save(out, format, **options)
    return out.getvalue()


def animated(format: str) -> bytes:
    frames = [Image.new("RGB", (321, 203), colour) for colour in media.CORNERS]
    out = io.BytesIO()
    frames[0].save(out, format, save_all=True, append_images=frames[1:])
    return out.getvalue()


PROFILE = bytes(200_000)
"""Takes several segments of a JPEG."""

PICTURES = {
    "webp-lossy": ("image/webp", saved("WEBP")),
    "webp-lossless": ("image/webp", saved("WEBP", lossless=True)),
    "webp-alpha": ("image/webp", saved("WEBP", "RGBA")),
    "webp-profile": ("image/webp", saved("WEBP", icc_profile=PROFILE)),
    "webp-animated": ("image/webp", animated("WEBP")),
    "gif": ("image/gif", saved("GIF", "L")),
    "gif-animated": ("image/gif", animated("GIF")),
    "png": ("image/png", saved("PNG")),
    "png-animated": ("image/png", animated("PNG")),
    "jpeg": ("image/jpeg", saved("JPEG")),
    "jpeg-progressive": ("image/jpeg", saved("JPEG", progressive=True)),
    "jpeg-profile": ("image/jpeg", saved("JPEG", icc_profile=PROFILE, comment=b"words")),
    "avif": ("image/avif", saved("AVIF")),
    "avif-alpha": ("image/avif", saved("AVIF", "RGBA", icc_profile=PROFILE)),
    "avif-animated": ("image/avif", animated("AVIF")),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_real_encoders(name: str) -> None:
    content_type, data = PICTURES[name]
    assert size(content_type, data) == (321, 203)


@pytest.mark.parametrize("index_first", [False, True])
def test_videos_of_real_encoders(index_first: bool) -> None:
    data = media.mp4(1, 320, 180)
    assert size("video/mp4", media._index_first(data) if index_first else data) == (320, 180)


def test_a_type_without_a_size_has_none() -> None:
    assert size("text/plain", b"words") is None


@pytest.mark.parametrize("name", PICTURES)
def test_a_header_that_ends_early_is_refused(name: str) -> None:
    content_type, data = PICTURES[name]
    for length in (0, 4, 12) if content_type == "image/gif" else (0, 4, 12, 16, 20):
        with pytest.raises(NoSize):
            size(content_type, data[:length])


def test_a_size_of_nothing_is_refused() -> None:
    png = bytearray(saved("PNG"))
    png[16:20] = bytes(4)
    with pytest.raises(NoSize, match="nothing"):
        size("image/png", bytes(png))


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/jpeg", b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5000),
        ("image/jpeg", b"\xff\xd8" + b"\xff" * 5000),
        ("image/jpeg", b"\xff\xd8" + b"\xff\xe0\x00\x00" * 5000),
        ("image/avif", struct.pack(">I4s", 8, b"free") * 5000),
        ("image/avif", struct.pack(">I4s", 0, b"meta")),
        ("image/avif", struct.pack(">I4s", 4, b"meta")),
        ("video/mp4", struct.pack(">I4sQ", 1, b"moov", 2**64 - 1) + bytes(100)),
        ("video/mp4", struct.pack(">I4sQ", 1, b"moov", 3)),
        ("image/webp", b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(32)),
    ],
)
def test_walks_are_bounded(content_type: str, data: bytes) -> None:
    with pytest.raises(NoSize):
        size(content_type, data)
