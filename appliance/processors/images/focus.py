"""Where to cut a picture that is to fill a box of another shape.

Two ways to find the part worth keeping, neither of which knows what it sees: `attention` weighs
detail, strong colours and the colours of skin, `entropy` looks for the part with most variety.
Both are cheap (a copy of 128 px) and no match for a person who names the point.
"""

from __future__ import annotations

from PIL import Image, ImageChops, ImageFilter

from appliance.processors.images.geometry import KEYWORDS, Placement
from appliance.processors.images.options import ImageResult
from appliance.processors.pictures import fit

_LOOK_PX = 128
_STEPS = 32
"""Places tried along the side that is cut."""

_SKIN_CB, _SKIN_CR = range(77, 128), range(133, 174)
"""Chai and Ngan, Face segmentation using skin-color map (1999); light to dark skin alike."""


def focus_of(
    picture: Image.Image, placement: Placement, result: ImageResult
) -> tuple[float, float]:
    """The point to keep in view, as shares of width and height of `picture` (RGB or RGBA)."""
    if isinstance(result.focus, tuple):
        return result.focus
    if placement.full == placement.shown or result.focus in KEYWORDS:
        return KEYWORDS.get(result.focus, (0.5, 0.5))
    look = fit(picture, _LOOK_PX)
    if result.focus == "attention":
        look = _attention(look)
    kept = (placement.shown[0] / placement.full[0], placement.shown[1] / placement.full[1])
    x = _best(look, kept[0], result.focus, across=True)
    y = _best(look, kept[1], result.focus, across=False)
    return x, y


def _best(look: Image.Image, kept: float, focus: str, *, across: bool) -> float:
    """The middle of the best window that is a share `kept` of one side. Near ties go to the
    middle of the picture."""
    if kept >= 1:
        return 0.5
    worths = []
    for step in range(_STEPS + 1):
        start = (1 - kept) * step / _STEPS
        if across:
            box = (start * look.width, 0.0, (start + kept) * look.width, float(look.height))
        else:
            box = (0.0, start * look.height, float(look.width), (start + kept) * look.height)
        part = look.crop(tuple(round(edge) for edge in box))  # type: ignore[arg-type]
        worth = part.convert("RGB").entropy() if focus == "entropy" else _mean(part)
        worths.append((worth * (1 - 0.05 * abs(2 * step / _STEPS - 1)), start + kept / 2))
    return max(worths)[1]


def _attention(look: Image.Image) -> Image.Image:
    """How much there is to look at, 0 to 255 for each pixel; nothing where it is clear."""
    rgb = look.convert("RGB")
    grey = rgb.convert("L")
    detail = ImageChops.difference(grey, grey.filter(ImageFilter.GaussianBlur(2)))
    strong = rgb.convert("HSV").getchannel("S").point(lambda value: value // 8)
    _, cb, cr = rgb.convert("YCbCr").split()
    skin = ImageChops.multiply(
        cb.point([80 * (value in _SKIN_CB) for value in range(256)]),
        cr.point([255 * (value in _SKIN_CR) for value in range(256)]),
    )
    worth = ImageChops.add(ImageChops.add(detail.point(lambda value: value * 3), strong), skin)
    if look.mode == "RGBA":
        worth = ImageChops.multiply(worth, look.getchannel("A"))
    return worth


def _mean(part: Image.Image) -> float:
    histogram = part.histogram()
    return sum(value * count for value, count in enumerate(histogram)) / max(1, sum(histogram))
