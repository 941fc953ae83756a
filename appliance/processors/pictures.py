"""Fitting a picture into a box and writing it as WebP: what all results have in common."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, WebPImagePlugin  # noqa: F401  (registers the format)

from appliance.processors.protocol import Reporter

THUMBNAIL = ("thumbnail.webp", 320)

QUALITY = 80

METHOD = 2
"""libwebp's effort, 0 to 6. For a 12 megapixel photo's three results together, 2 costs 0.39 s
and 4 (libwebp's default) 0.74 s, for files 1 to 3 % smaller; below 2 nothing is saved."""


def fitted(size_px: tuple[int, int], edge_px: int) -> tuple[int, int]:
    """The size that fits in a square of `edge_px`, of the same shape, never larger than it was."""
    width, height = size_px
    scale = min(1.0, edge_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fit(picture: Image.Image, edge_px: int) -> Image.Image:
    """`picture` made to fit in a square of `edge_px`; itself when it fits already."""
    size = fitted(picture.size, edge_px)
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS)


def save_webp(picture: Image.Image, folder: Path, name: str, report: Reporter) -> None:
    """Write `picture` (L, RGB or RGBA, sRGB) without any metadata, and report it."""
    # Pillow copies no EXIF or XMP by itself, but before version 13 it did copy the profile
    picture.save(folder / name, "WEBP", quality=QUALITY, method=METHOD, icc_profile="")
    _report(picture, name, report)


def _report(picture: Image.Image, name: str, report: Reporter) -> None:
    report.output(name, "image/webp", width_px=picture.width, height_px=picture.height)
