"""Encoding a picture: WebP, JPEG, AVIF or PNG, at a given quality or the one that a goal needs.

Nothing is written that was not asked for: the encoders are handed pixels, and a profile or an
EXIF block only where the preset keeps them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from PIL import Image

from appliance.processors.images.options import Format, ImageResult
from appliance.processors.images.similarity import ssim
from appliance.processors.pictures import METHOD
from appliance.processors.protocol import Reporter

ENDINGS = {"webp": ".webp", "jpeg": ".jpg", "avif": ".avif", "png": ".png"}

QUALITIES = {"webp": 80, "jpeg": 80, "avif": 60, "png": 100}
"""Where the preset gives none. They look alike: SSIM 0.97 to 0.98 on photographs."""

LIKE_ORIGINAL: dict[str, Format] = {
    "JPEG": "jpeg",
    "MPO": "jpeg",
    "HEIF": "jpeg",
    "AVIF": "avif",
    "WEBP": "webp",
}
"""The format of a result `original` for each of the decoders; PNG for all others."""

AVIF_SPEED = 7
"""0 to 10. For a photo of 2 megapixels 6 (Pillow's default) costs twice as much as 8."""

LOWEST, HIGHEST = 10, 95
"""The qualities among which a goal is sought. Above 95 files grow and nobody sees why."""


@dataclass(frozen=True)
class Beside:
    """What is written beside the pixels, if anything."""

    profile: bytes | None = None
    exif: bytes = b""


def resolved(result: ImageResult, source: Image.Image, *, moving: bool) -> ImageResult:
    """`result` with the format that `original` means for `source`."""
    if result.format != "original":
        return result
    format: Format = "webp" if moving else LIKE_ORIGINAL.get(str(source.format), "png")
    if format == "png":
        return replace(result, format=format, quality=None, target_bytes=None, similarity=None)
    return replace(result, format=format, lossless=result.lossless and format == "webp")


def encode(picture: Image.Image, result: ImageResult, beside: Beside) -> bytes:
    """`picture` (L, RGB, or RGBA where the format has transparency) as the bytes of a file."""

    def at(quality: int) -> bytes:
        out = io.BytesIO()
        picture.save(out, result.format.upper(), **_options(result, quality, beside))
        return out.getvalue()

    if result.target_bytes is not None:
        return _largest_within(at, result.target_bytes)
    if result.similarity is not None:
        return _smallest_like(at, picture, result.similarity)
    return at(result.quality or QUALITIES[result.format])


def _options(result: ImageResult, quality: int, beside: Beside) -> dict[str, Any]:
    # Before version 13 Pillow copied a source's profile where none was given
    options: dict[str, Any] = {"icc_profile": beside.profile or b""}
    if beside.exif:
        options["exif"] = beside.exif
    if result.format == "webp":
        options |= {"quality": quality, "method": METHOD, "lossless": result.lossless}
        options["icc_profile"] = beside.profile or ""
    elif result.format == "jpeg":
        options |= {"quality": quality, "progressive": True, "optimize": True}
    elif result.format == "avif":
        # One thread: as many pictures are worked on at once as there are cores
        options |= {"quality": quality, "speed": AVIF_SPEED, "max_threads": 1}
    return options


def _largest_within(at: Callable[[int], bytes], most_bytes: int) -> bytes:
    """The best quality whose file has at most so many bytes; the lowest, when none has."""
    low, high, best = LOWEST, HIGHEST, at(LOWEST)
    if len(best) > most_bytes:
        return best
    while low < high:
        middle = (low + high + 1) // 2
        data = at(middle)
        if len(data) <= most_bytes:
            low, best = middle, data
        else:
            high = middle - 1
    return best


def _smallest_like(at: Callable[[int], bytes], picture: Image.Image, similarity: float) -> bytes:
    """The lowest quality whose picture is as similar as wanted; the highest, when none is."""
    low, high, best = LOWEST, HIGHEST, None
    while low < high:
        middle = (low + high) // 2
        data = at(middle)
        with Image.open(io.BytesIO(data)) as decoded:
            alike = ssim(picture, decoded.convert(picture.mode)) >= similarity
        if alike:
            high, best = middle, data
        else:
            low = middle + 1
    return at(HIGHEST) if best is None else best


class Results:
    """The output folder: results go in, each under its name, and are reported."""

    def __init__(self, folder: Path, report: Reporter, beside: Beside) -> None:
        self._folder, self._report, self.beside = folder, report, beside
        self._last: tuple[Image.Image, tuple[object, ...], bytes] | None = None

    def begin(self, result: ImageResult, share: float) -> None:
        """Tell the step, and the share of all writing that is done."""
        self._report.progress(0.5 + 0.48 * share, f"writing {file_name(result)}")

    def save(self, picture: Image.Image, result: ImageResult) -> None:
        """Write `picture`; the one just written, with the same wishes, is not encoded again: an
        original that is smaller than several results is all of them."""
        wishes = (result.format, result.quality, result.target_bytes, result.similarity)
        key = (*wishes, result.lossless)
        if self._last is None or self._last[0] is not picture or self._last[1] != key:
            self._last = (picture, key, encode(picture, result, self.beside))
        self.put(self._last[2], result, picture.size)

    def put(self, data: bytes, result: ImageResult, size: tuple[int, int]) -> None:
        name = file_name(result)
        (self._folder / name).write_bytes(data)
        self._report.output(name, f"image/{result.format}", width_px=size[0], height_px=size[1])


def file_name(result: ImageResult) -> str:
    return result.name + ENDINGS[result.format]


def warm() -> None:
    """Encode a WebP. The encoders of AV1 and PNG need no loading, and memory when they run."""
    Image.new("RGBA", (8, 8)).save(io.BytesIO(), "WEBP", method=0)
