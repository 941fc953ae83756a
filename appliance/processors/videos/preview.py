"""A short moving picture of a video, without sound: an animated WebP for lists and chats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from av.video.frame import VideoFrame
from PIL import Image

from appliance.errors import CorruptFile
from appliance.processors.pace import Pace
from appliance.processors.pictures import fitted
from appliance.processors.protocol import Reporter
from appliance.processors.videos.footage import Footage
from appliance.processors.videos.frames import Finisher, reading

NAME = "preview.webp"

MOMENTS = (0.1, 0.3, 0.5, 0.7)
"""Of the duration; a scene of each is shown."""

SCENE_S, FRAME_RATE = 1.0, 8

MAX_SKIPPED_FRAMES = 300
"""Between a key frame and a scene: encoders set a key frame every 250 frames or more often."""

MAX_BYTES = 1_000_000
QUALITIES = (60, 40, 20)
"""The first with which the file stays within `MAX_BYTES`, else the last."""

METHOD = 0
"""libwebp's effort. At 2 it takes twice as long for files 5 % smaller."""


def save(
    footage: Footage,
    size_px: tuple[int, int],
    *,
    edge_px: int,
    folder: Path,
    report: Reporter,
    pace: Pace,
) -> None:
    """Write `preview.webp`, for a video that is shown at `size_px`; nothing without pictures."""
    pictures = list(_pictures(footage, fitted(size_px, edge_px), pace))
    if not pictures:
        return
    for quality in QUALITIES:
        pictures[0].save(
            folder / NAME,
            "WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / FRAME_RATE),
            loop=0,
            quality=quality,
            method=METHOD,
        )
        if (folder / NAME).stat().st_size <= MAX_BYTES:
            break
    width, height = pictures[0].size
    report.output(NAME, "image/webp", width_px=width, height_px=height)


def _pictures(footage: Footage, size_px: tuple[int, int], pace: Pace) -> Iterator[Image.Image]:
    finisher = Finisher(size_px, "rgb24", deinterlace=False)
    for number, start_s in enumerate(_starts_s(footage.duration_s)):
        pace.tell(number / len(MOMENTS), "making the preview")
        with suppress(CorruptFile), reading():
            if start_s:
                footage.seek(start_s)
            for frame in _scene(footage, start_s):
                for made in finisher.finish(frame):
                    picture: Image.Image = made.to_image()  # type: ignore[no-untyped-call]
                    yield picture


def _starts_s(duration_s: float | None) -> list[float]:
    """Of a video shorter than its scenes together, or of unknown length, the beginning."""
    if not duration_s or duration_s < SCENE_S * len(MOMENTS) / (1 - MOMENTS[-1]):
        return [0.0]
    return [share * duration_s for share in MOMENTS]


def _scene(footage: Footage, start_s: float) -> Iterator[VideoFrame]:
    """Frames of one scene, decoded from the key frame before its start."""
    next_s, skipped = start_s, 0
    for frame in footage.frames():
        at_s = footage.moment_s(frame)
        if at_s is None or at_s < start_s:
            skipped += 1
            if skipped > MAX_SKIPPED_FRAMES:
                return
        elif at_s >= start_s + SCENE_S:
            return
        elif at_s >= next_s:
            next_s += 1 / FRAME_RATE
            yield frame
