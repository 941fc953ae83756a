"""How large a result is, and which part of the picture it shows. Arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.processors import limits
from appliance.processors.images.options import ImageResult

Size = tuple[int, int]

KEYWORDS: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
    "top-left": (0.0, 0.0),
    "top-right": (1.0, 0.0),
    "bottom-left": (0.0, 1.0),
    "bottom-right": (1.0, 1.0),
}


@dataclass(frozen=True)
class Placement:
    """A result of one picture, in px."""

    full: Size
    """The whole picture is scaled to this,"""
    shown: Size
    """so much of it is cut out (smaller than `full` for `cover` only),"""
    canvas: Size
    """and laid on the middle of a ground of this size (larger than `shown` for `contain` only)."""


def place(picture: Size, result: ImageResult) -> Placement:
    """Where `result` takes its pixels from. Every side is 1 to MAX_RESULT_SIDE_PX.

    Raises LimitExceeded for more pixels than MAX_RESULT_PIXELS.
    """
    width, height = picture
    across = None if result.width is None else result.width / width
    down = None if result.height is None else result.height / height
    given = [scale for scale in (across, down) if scale is not None] or [1.0]
    wanted = max(given) if result.fit in ("outside", "cover") else min(given)
    scale = wanted if result.enlarge else min(wanted, 1.0)
    full = _scaled(picture, scale, scale)
    shown = canvas = full
    if result.fit == "fill":
        sides = (across or down or 1.0, down or across or 1.0)
        sides = sides if result.enlarge else (min(sides[0], 1.0), min(sides[1], 1.0))
        full = shown = canvas = _scaled(picture, *sides)
    elif result.fit == "cover":
        # What is not enlarged is a smaller box of the same shape
        shown = canvas = (
            min(full[0], _side(result.width, scale / wanted) or full[0]),
            min(full[1], _side(result.height, scale / wanted) or full[1]),
        )
    elif result.fit == "contain":
        canvas = (
            max(full[0], result.width or full[0]),
            max(full[1], result.height or full[1]),
        )
    limits.hold(f"result {result.name}", canvas[0] * canvas[1], limits.MAX_RESULT_PIXELS, "pixels")
    return Placement(full, shown, canvas)


def _scaled(picture: Size, across: float, down: float) -> Size:
    """`picture` scaled; made smaller where a side would be too long for any format."""
    longest = max(picture[0] * across, picture[1] * down)
    fitting = min(1.0, limits.MAX_RESULT_SIDE_PX / longest)
    return (
        max(1, round(picture[0] * across * fitting)),
        max(1, round(picture[1] * down * fitting)),
    )


def _side(length: int | None, factor: float) -> int | None:
    return None if length is None else max(1, round(length * factor))


def sufficient(picture: Size, placements: list[Placement]) -> Size:
    """The smallest size of `picture`, never larger than it is, that all placements can be made
    from without enlarging."""
    scale = max(
        max(one.full[0] / picture[0], one.full[1] / picture[1], 1 / max(picture))
        for one in placements
    )
    return _scaled(picture, min(1.0, scale), min(1.0, scale)) if scale < 1 else picture


def window(full: Size, shown: Size, focus: tuple[float, float]) -> tuple[int, int]:
    """Left and top of the part `shown` of `full` that has the point `focus` (shares of width and
    height) as near to its middle as the edges allow."""
    return (
        min(max(round(full[0] * focus[0] - shown[0] / 2), 0), full[0] - shown[0]),
        min(max(round(full[1] * focus[1] - shown[1] / 2), 0), full[1] - shown[1]),
    )
