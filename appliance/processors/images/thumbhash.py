"""ThumbHash: a blurred preview of a picture, with its shape and transparency, in 5 to 40 bytes.

The format is Evan Wallace's (https://evanw.github.io/thumbhash), of which this is the encoder.
Written here because the package on PyPI (0.1.2) fails on every picture with transparency and
takes three times as long: its transform is not split into rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple


class Waves(NamedTuple):
    """A channel as cosine waves: its mean, the others scaled to 0..1, and their scale."""

    mean: float
    others: list[float]
    scale: float


def encode(width_px: int, height_px: int, rgba: bytes) -> bytes:
    """The ThumbHash of `rgba`: 4 bytes a pixel, row by row, at most 100 by 100 pixels."""
    if max(width_px, height_px) > 100:
        raise ValueError(f"{width_px} x {height_px} does not fit in 100 x 100")
    light, yellow_blue, red_green, alpha = _channels(rgba)
    has_alpha = min(alpha) < 1
    longest, limit = max(width_px, height_px), 5 if has_alpha else 7
    across = max(1, round(limit * width_px / longest))
    down = max(1, round(limit * height_px / longest))

    l = _waves(light, width_px, height_px, max(3, across), max(3, down))  # noqa: E741
    p = _waves(yellow_blue, width_px, height_px, 3, 3)
    q = _waves(red_green, width_px, height_px, 3, 3)
    landscape = width_px > height_px
    header = (
        round(63 * l.mean)
        | round(31.5 + 31.5 * p.mean) << 6
        | round(31.5 + 31.5 * q.mean) << 12
        | round(31 * l.scale) << 18
        | has_alpha << 23
        | (down if landscape else across) << 24
        | round(63 * p.scale) << 27
        | round(63 * q.scale) << 33
        | landscape << 39
    )
    head, waves = header.to_bytes(5, "little"), [*l.others, *p.others, *q.others]
    if has_alpha:
        a = _waves(alpha, width_px, height_px, 5, 5)
        head += bytes([round(15 * a.mean) | round(15 * a.scale) << 4])
        waves += a.others
    return head + _nibbles(waves)


def _channels(rgba: bytes) -> tuple[list[float], list[float], list[float], list[float]]:
    """Lightness, yellow against blue, red against green, and alpha, of the picture laid over
    its own mean colour."""
    alpha = [value / 255 for value in rgba[3::4]]
    weight = 255 * sum(alpha) or 1.0
    bands = []
    for band in (rgba[0::4], rgba[1::4], rgba[2::4]):
        mean = sum(map(mul, band, alpha)) / weight
        bands.append(
            [mean * (1 - a) + value / 255 * a for value, a in zip(band, alpha, strict=True)]
        )
    rgb = list(zip(*bands, strict=True))
    light = [(r + g + b) / 3 for r, g, b in rgb]
    return light, [(r + g) / 2 - b for r, g, b in rgb], [r - g for r, g, _ in rgb], alpha


def _waves(channel: Sequence[float], width: int, height: int, across: int, down: int) -> Waves:
    """The lowest waves of a channel's cosine transform, first along the rows, then down."""
    rows = [channel[start : start + width] for start in range(0, width * height, width)]
    columns = [[sum(map(mul, row, wave)) for row in rows] for wave in _cosines(width, across)]
    down_waves = _cosines(height, down)
    triangle = [
        (x, y) for y in range(down) for x in range(across) if x * down < across * (down - y)
    ]
    mean, *others = (
        sum(map(mul, columns[x], down_waves[y])) / (width * height) for x, y in triangle
    )
    scale = max(map(abs, others))
    return Waves(mean, [0.5 + 0.5 / scale * f for f in others] if scale else others, scale)


def _cosines(length: int, count: int) -> list[list[float]]:
    return [
        [math.cos(math.pi / length * n * (i + 0.5)) for i in range(length)] for n in range(count)
    ]


def _nibbles(waves: Sequence[float]) -> bytes:
    """Four bits a wave, the first in the low half of a byte."""
    values = [int(15 * wave + 0.5) for wave in waves] + [0]  # rounded as JavaScript does
    return bytes(low | high << 4 for low, high in zip(values[0::2], values[1::2], strict=False))
