"""All results of one picture, each made from the smallest picture before it that suffices.

Scaling 12 megapixels costs more than encoding a thumbnail, so only the first step sees them all.
The smallest result comes first: it costs little, and is there to be seen while the others are
made; from then on they go from large to small.
"""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from appliance.processors.images.colour import flattened
from appliance.processors.images.focus import focus_of
from appliance.processors.images.geometry import Placement, window
from appliance.processors.images.options import ImageResult
from appliance.processors.images.reading import resized

Plan = list[tuple[ImageResult, Placement]]


def in_order(plan: Plan) -> Plan:
    """`plan` as it is worked through: the smallest first, then from large to small."""
    by_size = sorted(plan, key=lambda one: one[1].full[0] * one[1].full[1])
    return by_size[:1] + by_size[:0:-1]


def make_results(picture: Image.Image, plan: Plan) -> Iterator[tuple[ImageResult, Image.Image]]:
    """Each result of `plan`, in its order, from `picture` (L, RGB or RGBA, upright). Results of
    the size of one before, or of `picture`, are that very object."""
    before = picture
    for result, placement in plan:
        suffices = before.width >= placement.full[0] and before.height >= placement.full[1]
        source = before if suffices else picture
        made = cut(source, placement, focus_of(source, placement, result))
        if placement is not plan[0][1] and made.size == placement.full <= picture.size:
            before = made
        yield result, grounded(made, placement, result)


def cut(source: Image.Image, placement: Placement, focus: tuple[float, float]) -> Image.Image:
    """The part of `source` that is shown, at its size."""
    full, shown = placement.full, placement.shown
    if full == shown:
        if source.width > 3 * full[0]:  # far smaller: halve first, at a third of the cost
            return source.resize(full, Image.Resampling.LANCZOS, reducing_gap=3.0)
        return resized(source, full)
    left, top = window(full, shown, focus)
    across, down = source.width / full[0], source.height / full[1]
    box = (left * across, top * down, (left + shown[0]) * across, (top + shown[1]) * down)
    within = (box[0], box[1], min(box[2], source.width), min(box[3], source.height))
    return source.resize(shown, Image.Resampling.LANCZOS, box=within, reducing_gap=3.0)


def grounded(made: Image.Image, placement: Placement, result: ImageResult) -> Image.Image:
    """`made` on its ground: margins for `contain`, and a floor where transparency is not kept."""
    if placement.canvas != placement.shown:
        ground = Image.new("RGBA", placement.canvas, result.background)
        left = (placement.canvas[0] - placement.shown[0]) // 2
        top = (placement.canvas[1] - placement.shown[1]) // 2
        if made.mode == "RGBA":
            ground.alpha_composite(made, (left, top))
        else:
            ground.paste(made, (left, top))
        made = (
            ground if len(result.background) == 9 or made.mode == "RGBA" else ground.convert("RGB")
        )
    if result.transparency == "flatten" or result.format == "jpeg":
        made = flattened(made, result.background)
    return made
