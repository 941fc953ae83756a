"""Good files of every kind that the appliance works on, small: what is damaged, and what must
never be refused."""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from PIL import Image

from tests import media


@dataclass(frozen=True)
class Sample:
    kind: str
    """Of the nursery: IMAGE, PDF, VIDEO or ANY."""
    suffix: str
    content_type: str
    make: Callable[[], bytes]


def _sample(kind: str, suffix: str, content_type: str, make: Callable[..., bytes], *args: object,
            **options: object) -> Sample:  # fmt: skip
    return Sample(kind, suffix, content_type, functools.partial(make, *args, **options))


def apng() -> bytes:
    frames = [media.photo(64, 48), media.photo(64, 48).rotate(180)]
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:], duration=50)
    return out.getvalue()


def moving_webp() -> bytes:
    frames = [media.photo(64, 48), media.photo(64, 48).rotate(180)]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=50, method=0)
    return out.getvalue()


PICTURES = (
    _sample("IMAGE", "jpg", "image/jpeg", media.jpeg, 160, 120, gps=True),
    _sample("IMAGE", "jpg", "image/jpeg", media.jpeg, 160, 120, progressive=True),
    _sample("IMAGE", "jpg", "image/jpeg", media.jpeg, 160, 120, mode="CMYK"),
    _sample("IMAGE", "png", "image/png", media.png, 120, 90, mode="RGBA"),
    _sample("IMAGE", "png", "image/png", media.png, 120, 90, mode="P"),
    _sample("IMAGE", "png", "image/png", media.png_16bit_rgb),
    Sample("IMAGE", "png", "image/png", apng),
    _sample("IMAGE", "webp", "image/webp", media.webp, 120, 90),
    _sample("IMAGE", "webp", "image/webp", media.webp, 120, 90, mode="RGBA", lossless=True),
    Sample("IMAGE", "webp", "image/webp", moving_webp),
    _sample("IMAGE", "gif", "image/gif", media.gif, 100, 80, frames=4),
    _sample("IMAGE", "tiff", "image/tiff", media.tiff, 100, 80, pages=3, packing="tiff_lzw"),
    _sample("IMAGE", "tiff", "image/tiff", media.tiff, 100, 80, packing="jpeg"),
    _sample("IMAGE", "bmp", "image/bmp", media.bmp, 100, 80),
    _sample("IMAGE", "avif", "image/avif", media.avif, 120, 90),
    _sample("IMAGE", "heic", "image/heic", media.heic, 128, 96, gps=True),
)
DOCUMENTS = (
    _sample("PDF", "pdf", "application/pdf", media.pdf, 3, lines=4),
    Sample("PDF", "pdf", "application/pdf", media.filled_form),
    _sample("PDF", "pdf", "application/pdf", media.encrypted_pdf, user_password=""),
)
VIDEOS = (
    _sample("VIDEO", "mp4", "video/mp4", media.mp4, 0.4, 96, 64),
    _sample("VIDEO", "mp4", "video/mp4", media.mp4, 0.4, 96, 64, index_first=True, rotation=90),
    _sample("VIDEO", "mov", "video/quicktime", media.video, 0.4, 96, 64, container="mov"),
    _sample("VIDEO", "mkv", "video/x-matroska", media.video, 0.4, 96, 64, container="matroska"),
    _sample("VIDEO", "webm", "video/webm", media.video, 0.4, 96, 64, container="webm",
            codec="libvpx", audio_codec="libopus"),
    _sample("VIDEO", "avi", "video/x-msvideo", media.video, 0.4, 96, 64, container="avi",
            codec="mpeg4", audio_codec="mp2"),
    _sample("VIDEO", "mpg", "video/mpeg", media.video, 0.4, 96, 64, container="mpeg",
            codec="mpeg2video", audio_codec="mp2"),
    _sample("VIDEO", "ts", "video/mp2t", media.video, 0.4, 96, 64, container="mpegts"),
    _sample("VIDEO", "flv", "video/x-flv", media.video, 0.4, 96, 64, container="flv", codec="flv",
            audio=False),
    _sample("VIDEO", "wmv", "video/x-ms-wmv", media.video, 0.4, 96, 64, container="asf",
            codec="wmv2", audio=False),
)  # fmt: skip
TEXTS = (Sample("ANY", "txt", "text/plain", lambda: ("Ünïcode \u2713 line\n" * 40).encode()),)

SAMPLES = PICTURES + DOCUMENTS + VIDEOS + TEXTS


@st.composite
def good_pictures(draw: st.DrawFn) -> tuple[str, bytes]:
    """A content type and a picture as any program might write it."""
    format, modes = draw(
        st.sampled_from(
            [
                ("JPEG", ("L", "RGB", "CMYK")),
                ("PNG", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
                ("WEBP", ("RGB", "RGBA")),
                ("GIF", ("L", "P", "RGB")),
                ("TIFF", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB")),
                ("BMP", ("1", "L", "P", "RGB")),
                ("AVIF", ("RGB", "RGBA")),
            ]
        )
    )
    mode = draw(st.sampled_from(modes))
    size = draw(st.tuples(st.integers(1, 300), st.integers(1, 300)))
    options: dict[str, object] = {}
    if format == "JPEG":
        options |= {
            "quality": draw(st.integers(1, 100)),
            "progressive": draw(st.booleans()),
            "optimize": draw(st.booleans()),
            "exif": media.exif(orientation=draw(st.integers(1, 8)), gps=True),
        }
        if mode == "RGB":
            options["subsampling"] = draw(st.sampled_from(("4:4:4", "4:2:2", "4:2:0")))
    elif format == "TIFF" and mode in ("L", "RGB", "RGBA"):
        options["compression"] = draw(
            st.sampled_from(("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"))
        )
    elif format == "WEBP":
        options |= {"lossless": draw(st.booleans()), "method": 0}
    elif format == "AVIF":
        options["speed"] = 10
    if format in ("PNG", "TIFF") and draw(st.booleans()):
        options["dpi"] = (300, 300)
    out = io.BytesIO()
    _picture(size, mode).save(out, format, **options)
    return f"image/{format.lower()}", out.getvalue()


def _picture(size: tuple[int, int], mode: str) -> Image.Image:
    if mode == "LAB":
        dice = random.Random(size[0])
        return Image.frombytes("LAB", size, dice.randbytes(3 * size[0] * size[1]))
    return media.photo(*size, mode)


@st.composite
def good_documents(draw: st.DrawFn) -> tuple[str, bytes]:
    size = draw(st.tuples(st.floats(10, 3000), st.floats(10, 3000)))
    text = draw(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
    made = media.pdf(draw(st.integers(1, 8)), text, size=size, lines=draw(st.integers(0, 30)))
    return "application/pdf", made


@st.composite
def good_videos(draw: st.DrawFn) -> tuple[str, bytes]:
    container, content_type, codecs, sounds = draw(
        st.sampled_from(
            [
                ("mp4", "video/mp4", ("libx264", "libx265", "mpeg4"), ("aac", "mp3")),
                ("mov", "video/quicktime", ("libx264", "mjpeg", "mpeg4"), ("aac", "pcm_s16le")),
                ("matroska", "video/x-matroska", ("libx264", "libvpx", "ffv1"), ("aac", "flac")),
                ("webm", "video/webm", ("libvpx", "libvpx-vp9"), ("libopus",)),
                ("avi", "video/x-msvideo", ("mpeg4", "mjpeg"), ("mp2", "pcm_s16le")),
                ("mpegts", "video/mp2t", ("libx264", "mpeg2video"), ("aac", "mp2")),
            ]
        )
    )
    made = media.video(
        draw(st.sampled_from((0.2, 0.5, 1.1))),
        draw(st.integers(8, 160)) * 2,
        draw(st.integers(8, 90)) * 2,
        container=container,
        codec=draw(st.sampled_from(codecs)),
        audio=draw(st.booleans()),
        audio_codec=draw(st.sampled_from(sounds)),
        rate=25,
        uneven=draw(st.booleans()),
    )
    return content_type, made
