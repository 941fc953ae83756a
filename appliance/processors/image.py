"""Pictures: what a preset wants made of them, and what they are.

Everything about a picture that could surprise a browser is settled here: which way up it is,
its colour space, more than 8 bits, palettes, CMYK, animation. By default the results are sRGB
WebP with no metadata at all: no place, no camera, no hidden preview. The steps are in `images`.

Limits: results have 8 bits a channel. HDR gain maps and the colour tags of AVIF/HEIC/PNG that
are no ICC profile (CICP) are ignored. A JPEG with wrong bytes in the middle decodes to a picture
with a flaw, as in browsers; only a missing end is noticed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

from PIL import Image

from appliance.processors.faults import blaming_the_file
from appliance.processors.images import animation, chain, colour, reading, writing
from appliance.processors.images.camera import kept_exif, personal_facts
from appliance.processors.images.focus import focus_of
from appliance.processors.images.geometry import Placement, Size, place, sufficient
from appliance.processors.images.impression import impression, shrunk
from appliance.processors.images.options import ImageOptions, ImageResult
from appliance.processors.images.writing import Beside
from appliance.processors.protocol import Reporter, Task


class ImageProcessor:
    """See `protocol.Processor`."""

    name = "image"
    version = "2"
    content_types = tuple(reading.FORMATS)
    options = ImageOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Decode one tiny picture of each format and encode a WebP."""
        reading.warm()
        colour.warm()
        writing.warm()
        impression(Image.new("RGBA", (8, 8)))

    def process(self, task: Task[ImageOptions], report: Reporter) -> dict[str, Any]:
        """Facts: width, height (as shown), format, mode, bitDepth, frames, hasAlpha,
        dominantColor, dominantColors (`#rrggbb`), thumbhash (base64), and under `personal` what
        only the owner is to see. Raises CorruptFile, UnsupportedFile, LimitExceeded."""
        with (
            warnings.catch_warnings(),
            blaming_the_file("picture"),
            task.input_path.open("rb") as file,
        ):
            warnings.simplefilter("ignore")  # Pillow's doubts about metadata that we drop
            report.progress(0.0, "reading")
            source = reading.open_picture(file, task.content_type)
            facts = reading.describe(source, file)
            whole, frames, options = source.size, facts["frames"], task.options
            moving = options.animation == "keep" and animation.is_animated(source, frames)
            if moving:
                animation.hold_pixels(source, frames)
            report.progress(0.05, "decoding")
            reading.decode(source, _layout(source, whole, options, moving=moving).stored)
            layout = _layout(source, whole, options, moving=moving)  # a PNG may say it at its end
            facts |= _personal(source) | dict(zip(("width", "height"), layout.shown, strict=True))
            report.progress(0.3, "resizing")
            picture = reading.upright(reading.plain(source, layout.stored), layout.orientation)
            report.progress(0.4, "converting colours")
            look = _Look(source.info.get("icc_profile"), keep=options.colour == "keep")
            picture, profile = look.applied(picture)
            exif = kept_exif(source) if options.metadata == "keep" else b""
            saved = writing.Results(task.output_dir, report, Beside(profile, exif))
            if moving:
                _save_animations(source, frames, picture, layout, look, saved)
            else:
                _save_pictures(picture, layout, saved)
            report.progress(0.99, "describing")
            return facts | impression(colour.to_srgb(shrunk(picture), profile))


@dataclass(frozen=True)
class Layout:
    """What is made of a picture of a known size and orientation."""

    orientation: int
    shown: Size
    """The original, upright."""
    stored: Size
    """What suffices for all results, the way up that the file has it."""
    plan: chain.Plan


def _layout(source: Image.Image, whole: Size, options: ImageOptions, *, moving: bool) -> Layout:
    orientation = reading.orientation_of(source)
    shown = reading.turned(whole, orientation)
    results = [writing.resolved(result, source, moving=moving) for result in options.results]
    plan = [(result, place(shown, result)) for result in results]
    stored = reading.turned(sufficient(shown, [one for _, one in plan]), orientation)
    return Layout(orientation, shown, stored, chain.in_order(plan))


def _personal(source: Image.Image) -> dict[str, Any]:
    facts = personal_facts(source)
    return {"personal": facts} if facts else {}


@dataclass(frozen=True)
class _Look:
    """How the colours of a picture, and of each frame of an animation, are treated."""

    profile: bytes | None
    keep: bool

    def applied(self, picture: Image.Image) -> tuple[Image.Image, bytes | None]:
        picture, profile = colour.in_colours(picture, self.profile, keep=self.keep)
        picture.info = {}  # some of Pillow's encoders write what they find there
        return picture, profile


def _save_pictures(picture: Image.Image, layout: Layout, saved: writing.Results) -> None:
    for number, (result, made) in enumerate(chain.make_results(picture, layout.plan)):
        saved.begin(result, number / len(layout.plan))
        saved.save(made, result)


def _save_animations(
    source: Image.Image,
    frames: int,
    first: Image.Image,
    layout: Layout,
    look: _Look,
    saved: writing.Results,
) -> None:
    """Results in WebP move, the others show the first frame."""
    for number, (result, made) in enumerate(chain.make_results(first, layout.plan)):
        done, share = number / len(layout.plan), 1 / len(layout.plan)
        saved.begin(result, done)
        if result.format != "webp":
            saved.save(made, result)
            continue
        placement = layout.plan[number][1]
        make = _frame_maker(first, placement, result, layout, look)
        tell = partial(_tell, saved, result, done, share)
        data = animation.encode_animation(source, frames, make, result, saved.beside, tell)
        saved.put(data, result, made.size)


def _tell(
    saved: writing.Results, result: ImageResult, done: float, share: float, part: float
) -> None:
    saved.begin(result, done + share * part)


def _frame_maker(
    first: Image.Image, placement: Placement, result: ImageResult, layout: Layout, look: _Look
) -> animation.MakeFrame:
    focus = focus_of(first, placement, result)  # of the first frame: the view stands still
    stored = reading.turned(placement.full, layout.orientation)

    def make(frame: Image.Image) -> Image.Image:
        upright = reading.upright(reading.plain(frame, stored), layout.orientation)
        coloured, _ = look.applied(upright)
        return chain.grounded(chain.cut(coloured, placement, focus), placement, result)

    return make


PROCESSOR = ImageProcessor()
