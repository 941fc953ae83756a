"""Small pictures from all over a video on one sheet, and a track that says which is when.

Players show them above the time line while somebody searches. The track is WebVTT whose cues
name a part of the sheet: `storyboard.webp#xywh=160,90,160,90` (Media Fragments URI 1.0, 4.2.2).

Where the container's index has key frames enough, the pictures are such, found by seeking:
long before a transcode is done. Else they are taken as they pass, during the transcode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from av.video.frame import VideoFrame
from PIL import Image

from appliance.errors import CorruptFile
from appliance.processors.pace import Pace
from appliance.processors.pictures import fitted, save_webp
from appliance.processors.protocol import Reporter
from appliance.processors.videos.footage import Footage
from appliance.processors.videos.frames import Finisher, reading

COLUMNS = 10

SHORTEST_INTERVAL_S = 1.0
"""A short clip has fewer tiles, rather than the same picture many times."""

INDEXED = {"mov", "matroska", "avi"}
"""Demuxers whose files say where their key frames are."""

SHEET, TRACK = "storyboard.webp", "storyboard.vtt"


class Storyboard:
    """The tiles of one video. Each moment's tile is the first picture that is offered for it."""

    def __init__(
        self, duration_s: float, size_px: tuple[int, int], *, tiles: int, edge_px: int
    ) -> None:
        """`size_px` is the video's as shown; a tile fits in a square of `edge_px`."""
        self.count = max(1, min(tiles, int(duration_s / SHORTEST_INTERVAL_S)))
        self._duration_s = duration_s
        self._finisher = Finisher(fitted(size_px, edge_px), "rgb24", deinterlace=False)
        self._tiles: dict[int, Image.Image] = {}

    def moments_s(self) -> Sequence[float]:
        """The middles of equal parts of the video, a tile for each."""
        return [(n + 0.5) * self._duration_s / self.count for n in range(self.count)]

    def add(self, number: int, frame: VideoFrame) -> None:
        for made in self._finisher.finish(frame):
            self._tiles[number] = made.to_image()  # type: ignore[no-untyped-call]

    def passing(self, frame: VideoFrame, at_s: float) -> None:
        """Take the frame if it is the first at or after the moment of the next tile."""
        number = len(self._tiles)
        if number < self.count and at_s >= (number + 0.5) * self._duration_s / self.count:
            self.add(number, frame)

    def save(self, folder: Path, report: Reporter) -> None:
        """Write sheet and track; nothing where there is not one tile."""
        if not self._tiles:
            return
        numbers = sorted(self._tiles)
        width, height = self._tiles[numbers[0]].size
        columns = min(COLUMNS, len(numbers))
        sheet = Image.new("RGB", (columns * width, math.ceil(len(numbers) / columns) * height))
        cues = []
        for place, number in enumerate(numbers):
            x, y = place % columns * width, place // columns * height
            sheet.paste(self._tiles[number], (x, y))
            cues.append((number, f"{SHEET}#xywh={x},{y},{width},{height}"))
        save_webp(sheet, folder, SHEET, report)
        (folder / TRACK).write_text(self._track(cues))
        report.output(TRACK, "text/vtt")

    def _track(self, cues: Sequence[tuple[int, str]]) -> str:
        """A tile is shown from the start of its part of the video to the start of the next
        tile's, the first from the beginning."""
        interval_s = self._duration_s / self.count
        starts_s = [0.0, *(number * interval_s for number, _ in cues[1:]), self._duration_s]
        blocks = (
            f"{_clock(start_s)} --> {_clock(end_s)}\n{target}\n"
            for start_s, end_s, (_, target) in zip(starts_s[:-1], starts_s[1:], cues, strict=True)
        )
        return "WEBVTT\n\n" + "\n".join(blocks)


def is_quick(footage: Footage, tiles: int) -> bool:
    """Whether the index of the file leads to key frames for at least half of the tiles. Without
    an index (MPEG streams, FLV) FFmpeg would have to search the file for each."""
    key_frames = (entry for entry in footage.video.index_entries if entry.is_keyframe)
    return footage.demuxer in INDEXED and len(list(islice(key_frames, tiles))) * 2 >= tiles


def fill(storyboard: Storyboard, footage: Footage, pace: Pace) -> None:
    """Decode the key frame before each moment; a moment without one is left out."""
    context = footage.video.codec_context
    context.skip_frame = "NONKEY"
    shown: set[int | None] = set()
    for number, moment_s in enumerate(storyboard.moments_s()):
        pace.tell(number / storyboard.count, "making the storyboard")
        with suppress(CorruptFile), reading():
            footage.seek(moment_s)
            for frame in islice(footage.frames(), 1):
                if frame.pts not in shown:
                    storyboard.add(number, frame)
                    shown.add(frame.pts)


def _clock(at_s: float) -> str:
    """As WebVTT writes a moment: 01:02:03.456."""
    milliseconds = round(at_s * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
