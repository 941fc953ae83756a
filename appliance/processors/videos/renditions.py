"""Which films are made of a video: their sizes, names and ways of being packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Packing = Literal["mp4", "hls"]


class Rendition(NamedTuple):
    """One film to be made."""

    stem: str
    """Of its files' names: `video-720p`."""
    size_px: tuple[int, int]
    packing: Packing


def renditions(
    size_px: tuple[int, int], *, mp4_heights: Sequence[int], hls_heights: Sequence[int]
) -> list[Rendition]:
    """The films of a video that is shown at `size_px`, the largest first.

    No film is larger than the video. Where that makes several alike, the one that is named
    after the least height is made.
    """
    made: list[Rendition] = []
    asked: tuple[tuple[Packing, str, Sequence[int]], ...] = (
        ("mp4", "video", mp4_heights),
        ("hls", "hls", hls_heights),
    )
    for packing, prefix, heights in asked:
        by_size = {fitted(size_px, height): height for height in sorted(heights, reverse=True)}
        made += [Rendition(f"{prefix}-{by_size[size]}p", size, packing) for size in by_size]
    return sorted(made, key=lambda rendition: rendition.size_px, reverse=True)


def fitted(size_px: tuple[int, int], height_px: int) -> tuple[int, int]:
    """The even size of nearly the same shape in a box of 16 to 9, lying or standing, with a short
    edge of `height_px`; never larger than it was. H.264 in 4:2:0 needs even sizes."""
    long, short = max(size_px), min(size_px)
    scale = min(1.0, height_px * 16 / 9 / long, height_px / short)
    width, height = (max(2, min(round(edge * scale / 2), edge // 2) * 2) for edge in size_px)
    return width, height
