"""What a picture looks like in a few bytes: its colours, and a blur to show while it loads."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from PIL import Image

from appliance.processors.images import thumbhash
from appliance.processors.pictures import fitted

_LOOK_PX = 100
_COLOURS = 5
_SMALLEST_SHARE = 0.02
"""Less than that are mostly blends at the edges of others."""
_DIFFERENCE = 48
"""Colours nearer than this (in 8-bit steps over the three channels) are told as one."""


def impression(picture: Image.Image) -> dict[str, Any]:
    """dominantColor and dominantColors (`#rrggbb`, the most frequent first) and thumbhash
    (base64) of a picture in RGB or RGBA."""
    rgba = shrunk(picture).convert("RGBA")
    return {
        "dominantColor": _dominant_colour(rgba),
        "dominantColors": _palette(rgba),
        "thumbhash": _thumbhash(rgba),
    }


def shrunk(picture: Image.Image, edge_px: int = _LOOK_PX) -> Image.Image:
    """A copy that is good enough to look for colours, and cheap."""
    size = fitted(picture.size, edge_px)
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _dominant_colour(rgba: Image.Image) -> str:
    """The middle of the fullest of 4,096 bins of colour (16 a channel), as sharp does it."""
    data = rgba.tobytes()
    pixels = zip(data[0::4], data[1::4], data[2::4], data[3::4], strict=True)
    bins = Counter((r >> 4, g >> 4, b >> 4) for r, g, b, alpha in pixels if alpha >= 128)
    red, green, blue = max(bins, key=bins.__getitem__, default=(0, 0, 0))
    return f"#{red * 16 + 8:02x}{green * 16 + 8:02x}{blue * 16 + 8:02x}"


def _palette(rgba: Image.Image) -> list[str]:
    """Up to five colours that stand apart, of the pixels that are more than half opaque."""
    data = rgba.tobytes()
    seen = [data[at : at + 3] for at in range(0, len(data), 4) if data[at + 3] >= 128]
    if not seen:
        return []
    row = Image.frombytes("RGB", (len(seen), 1), b"".join(seen))
    counted = row.quantize(3 * _COLOURS, Image.Quantize.MEDIANCUT, kmeans=2)
    palette = counted.getpalette() or []
    colours: list[tuple[int, ...]] = []
    for count, index in sorted(counted.getcolors() or [], reverse=True):
        colour = tuple(palette[3 * index : 3 * index + 3])  # type: ignore[operator]
        apart = all(_difference(colour, other) >= _DIFFERENCE for other in colours)
        if apart and count >= _SMALLEST_SHARE * len(seen):
            colours.append(colour)
    colours = colours[:_COLOURS]
    return ["#" + bytes(colour).hex() for colour in colours]


def _difference(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _thumbhash(picture: Image.Image) -> str:
    """Base64, of a copy of 48 px (3 ms): the hash holds seven waves across at most."""
    small = shrunk(picture, 48)
    return base64.b64encode(thumbhash.encode(*small.size, small.tobytes())).decode()
