"""What a preset may say in its table `[image]`; explained for users in docs/presets/image.md.

The words for fitting are those of CSS (`object-fit`) and sharp.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.processors import limits

Side = Annotated[int, Meta(ge=1, le=limits.MAX_RESULT_SIDE_PX)]
Share = Annotated[float, Meta(ge=0, le=1)]
Fit = Literal["inside", "outside", "cover", "contain", "fill"]
Place = Literal[
    "center",
    "top",
    "bottom",
    "left",
    "right",
    "top-left",
    "top-right",
    "bottom-left",
    "bottom-right",
    "attention",
    "entropy",
]
Format = Literal["webp", "jpeg", "avif", "png", "original"]


class ImageResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One picture to write. Units: px of the upright picture."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}\Z")]
    """Of the file, without its ending."""
    width: Side | None = None
    height: Side | None = None
    fit: Fit = "inside"
    focus: Place | tuple[Share, Share] = "center"
    format: Format = "webp"
    quality: Annotated[int, Meta(ge=1, le=100)] | None = None
    target_bytes: Annotated[int, Meta(ge=1024)] | None = None
    similarity: Annotated[float, Meta(ge=0.8, le=0.999)] | None = None
    lossless: bool = False
    transparency: Literal["keep", "flatten"] = "keep"
    background: Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?\Z")] = "#ffffff"
    enlarge: bool = False

    def __post_init__(self) -> None:
        given = [self.quality, self.target_bytes, self.similarity].count(None)
        if given < 2:
            raise ValueError("give one of quality, target_bytes and similarity, or none")
        if given < 3 and (self.lossless or self.format == "png"):
            raise ValueError("a lossless picture has no quality, target_bytes or similarity")
        if self.lossless and self.format not in ("webp", "png", "original"):
            raise ValueError("lossless is for webp and png")


class ImageOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[image]` of a preset."""

    metadata: Literal["remove", "keep"] = "remove"
    colour: Literal["srgb", "keep"] = "srgb"
    animation: Literal["first-frame", "keep"] = "first-frame"
    results: Annotated[tuple[ImageResult, ...], Meta(min_length=1, max_length=16)] = (
        ImageResult("web-2048", width=2048, height=2048),
        ImageResult("web-1280", width=1280, height=1280),
        ImageResult("thumbnail", width=320, height=320),
    )

    def __post_init__(self) -> None:
        names = [result.name for result in self.results]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two results are named {twice!r}")
