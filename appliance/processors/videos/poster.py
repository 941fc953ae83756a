"""The picture that stands for a video: of a few moments, the one that shows most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from av.video.frame import VideoFrame
from PIL import Image

from appliance.errors import CorruptFile
from appliance.processors.pictures import fit, fitted
from appliance.processors.videos.footage import Footage
from appliance.processors.videos.frames import Finisher, display_size, reading

MOMENTS = (0.0, 0.1, 0.35, 0.6)
"""Where to look, in shares of the duration."""

DULL_BITS = 4.0
SEARCHED_FRAMES, SEARCH_STRIDE = 250, 25
"""Ten seconds at most, from one key frame to the next (x264's default), a look each second."""


class Poster(NamedTuple):
    frame: VideoFrame
    """As decoded, for its properties."""
    picture: Image.Image
    detail: float
    """Entropy of the picture in bits: black has 0, a title on black 1, most scenes 6 to 7.5."""


def poster(footage: Footage, edge_px: int) -> Poster:
    """The picture of a few key frames that shows most, and when these are dull (a film may have
    a single one, black), of the beginning. Raises CorruptFile if there is none at all."""
    best = _best(footage, _key_frames(footage), edge_px)
    if best is None or best.detail < DULL_BITS:
        best = max(
            filter(None, (best, _best(footage, _beginning(footage), edge_px))),
            key=lambda candidate: candidate.detail,
            default=None,
        )
    if best is None:
        raise CorruptFile("No picture of this video can be decoded.")
    return best


def _key_frames(footage: Footage) -> Iterator[VideoFrame]:
    """The first frame, and the key frames before the moments, as far as they can be found."""
    for moment in MOMENTS:
        if moment and not footage.duration_s:
            return
        with suppress(CorruptFile), reading():
            if moment:
                footage.seek((footage.duration_s or 0) * moment)
            yield from islice(footage.frames(), 1)


def _beginning(footage: Footage) -> Iterator[VideoFrame]:
    with suppress(CorruptFile), reading():
        footage.seek(0)
        yield from islice(footage.frames(), 0, SEARCHED_FRAMES, SEARCH_STRIDE)


def _best(footage: Footage, frames: Iterator[VideoFrame], edge_px: int) -> Poster | None:
    best, finisher = None, None
    for frame in frames:
        if finisher is None:
            size_px = fitted(display_size(frame, footage.video), edge_px)
            finisher = Finisher(size_px, "rgb24", deinterlace=False)
        for made in finisher.finish(frame):
            picture: Image.Image = made.to_image()  # type: ignore[no-untyped-call]
            detail = float(fit(picture, 160).convert("L").entropy())
            if best is None or detail > best.detail:
                best = Poster(frame, picture, detail)
    return best
