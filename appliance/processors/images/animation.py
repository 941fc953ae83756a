"""Animations that stay animations: GIF, APNG, WebP or AVIF in, animated WebP out.

One frame is in memory at a time, however long the animation: each is decoded, made like the
others and handed to the encoder. Frames are whole pictures by then, so that how the source
combined them (disposal, blending) does not matter.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from PIL import Image

from appliance.processors import limits
from appliance.processors.images.options import ImageResult
from appliance.processors.images.writing import QUALITIES, Beside
from appliance.processors.pictures import METHOD

_SHOWN_MS = 100.0
"""What browsers make of a frame that says it is shown for 10 ms or less."""

_LONGEST_MS = 24 * 60 * 60 * 1000 / limits.MAX_IMAGE_FRAMES
"""A frame that claims more is cut to it: WebP counts time in 24 to 32 bits."""

MakeFrame = Callable[[Image.Image], Image.Image]


def is_animated(source: Image.Image, frames: int) -> bool:
    return frames > 1 and source.format in ("GIF", "PNG", "WEBP", "AVIF")


def hold_pixels(source: Image.Image, frames: int) -> None:
    """Raise LimitExceeded when all frames together are more than can be worked on."""
    pixels = source.width * source.height * frames
    limits.hold("animation", pixels, limits.MAX_ANIMATION_PIXELS, "pixels in all frames")


def encode_animation(
    source: Image.Image,
    frames: int,
    make: MakeFrame,
    result: ImageResult,
    beside: Beside,
    tell: Callable[[float], None],
) -> bytes:
    """All frames of `source`, each as `make` makes it (RGB or RGBA, one size), as a WebP.

    `tell` hears the share that is done. Raises what the decoder raises about broken frames.
    """
    durations: list[float] = []
    modes: set[str] = set()
    made = _frames(source, frames, make, durations, modes, tell)
    first = next(made)
    out = io.BytesIO()
    first.save(
        out,
        "WEBP",
        save_all=True,
        append_images=[_Following(made, frames - _first_frame(source) - 1, first)],
        duration=durations,
        loop=_loops(source),
        background=(0, 0, 0, 0),
        quality=result.quality or QUALITIES["webp"],
        method=METHOD,
        lossless=result.lossless,
        icc_profile=beside.profile or "",
        exif=beside.exif,
    )
    return _with_alpha_flag(out.getvalue()) if "RGBA" in modes else out.getvalue()


def _with_alpha_flag(webp: bytes) -> bytes:
    """libwebp stores of each frame what changed, and where that is opaque it calls the whole
    animation so: viewers then show black where nothing ever was. RFC 9649, 2.7, `L` of VP8X."""
    if webp[12:16] != b"VP8X":
        return webp
    return webp[:20] + bytes([webp[20] | 0x10]) + webp[21:]


def _frames(
    source: Image.Image,
    frames: int,
    make: MakeFrame,
    durations: list[float],
    modes: set[str],
    tell: Callable[[float], None],
) -> Iterator[Image.Image]:
    """Made when they are asked for; `durations` (ms) and `modes` grow with them."""
    for number in range(_first_frame(source), frames):
        source.seek(number)
        source.load()
        duration = float(source.info.get("duration") or 0)
        durations.append(min(duration, _LONGEST_MS) if duration > 10 else _SHOWN_MS)
        picture = make(source)
        modes.add(picture.mode)
        yield picture
        tell((number + 1) / frames)


def _first_frame(source: Image.Image) -> int:
    """1 for an APNG whose first picture is for programs that show no animation (APNG, `IDAT`
    without `fcTL`), else 0."""
    return int(bool(source.info.get("default_image")))


def _loops(source: Image.Image) -> int:
    """How often a WebP is to be played, 0 for ever. A GIF says how often it is repeated, and
    nothing when it is played once."""
    loop = source.info.get("loop")
    if source.format != "GIF":
        return min(int(loop or 0), 65_535)
    return 1 if loop is None else loop and min(int(loop) + 1, 65_535)


class _Following(Image.Image):
    """The frames after the first, as Pillow's encoder walks through them: `seek` to each in turn,
    whose pixels are those of this picture then."""

    def __init__(self, frames: Iterator[Image.Image], count: int, first: Image.Image) -> None:
        super().__init__()
        self._frames = frames
        self.n_frames = count
        self._take(first)

    def seek(self, frame: int) -> None:
        self._take(next(self._frames))

    def _take(self, picture: Image.Image) -> None:
        self.im, self._mode, self._size = picture.im, picture.mode, picture.size
