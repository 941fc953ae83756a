"""Decoded video frames made ready to be looked at: upright, square pixels, a given size."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.filter import Graph
from av.frame import Frame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from appliance.errors import CorruptFile

TURNS = {90: ["transpose=clock"], 180: ["hflip", "vflip"], 270: ["transpose=cclock"]}
"""Filters that turn a picture clockwise by so many degrees."""

DEINTERLACE = "bwdif=mode=send_frame:deint=interlaced"
"""Camcorders and television send half pictures; each pair becomes one whole one."""

FEW_FRAMES_BYTES = 128 * 1024**2
"""Two of 8K, with what a decoder keeps beside them."""

PQ, HLG = 16, 18
"""Transfer functions of HDR: SMPTE ST 2084 and ARIB STD-B67, as ITU-T H.273 numbers them."""

PQ_TO_SDR = ":out_color_matrix=bt709:out_primaries=bt709:out_transfer=bt709"
"""The scaler's own conversion, with a tone curve: 43 ms for a frame of 720p, where plain scaling
takes 4, after 2 s for making its table."""

HLG_TO_SDR = [
    "format=yuv420p10le",
    "colorspace=all=bt709:ispace=bt2020nc:iprimaries=bt2020:itrc=bt2020-10:format=yuv420p",
]
"""What phones record. HLG is made to look right when read as SDR (ITU-R BT.2100), only a little
darker, so that the colours alone need converting: 13 ms."""


def is_memory_short() -> bool:
    """Whether there is not even room for a few large frames."""
    try:
        mmap.mmap(-1, FEW_FRAMES_BYTES).close()
    except OSError:
        return True
    return False


@contextmanager
def reading() -> Iterator[None]:
    """Whatever FFmpeg calls an error while it reads is about the content, even where it borrows
    a number of the system (EIO, EPERM) for it: the file itself is read by Python, whose own
    OSError for a failing disk passes through. Nor is it a lack of memory where there is some:
    then a damaged header asked for the moon."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, MemoryError) and is_memory_short():
            raise
        raise CorruptFile(
            "This video is damaged or incomplete. Check that it plays on your computer,"
            " and upload it again."
        ) from error


def rotation(frame: VideoFrame) -> int:
    """How far the frame is to be turned clockwise to be upright: 0, 90, 180 or 270."""
    return round(-frame.rotation / 90) % 4 * 90


def display_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height as shown: pixels made square, turned upright."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 16) < aspect < 16:
        aspect = Fraction(1)
    width, height = max(1, round(frame.width * aspect)), frame.height
    return (height, width) if rotation(frame) in (90, 270) else (width, height)


def ticks(frame: Frame, clock: Fraction, otherwise: int) -> int:
    """When a frame is shown, on another clock; `otherwise` for a frame that does not say."""
    if frame.pts is None or frame.time_base is None:
        return otherwise
    return max(0, round(frame.pts * frame.time_base / clock))


class Finisher:
    """Turns, scales and converts frames, all to one size and pixel format.

    A stream may change its size or format under way: the filters are then made anew. Only
    deinterlacing holds frames back, and needs the flush at the end.
    """

    def __init__(self, size_px: tuple[int, int], pixel_format: str, *, deinterlace: bool) -> None:
        self._size_px = size_px
        self._deinterlace = deinterlace
        self._pixel_format = pixel_format
        self._graph: Graph | None = None
        self._shape: dict[str, str] = {}

    def finish(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        shape = _properties(frame) | {"rotation": str(frame.rotation)}
        if shape != self._shape:
            yield from self.flush()
            self._graph, self._shape = self._made_for(frame), shape
        assert self._graph is not None
        self._graph.vpush(frame)
        yield from self._pulled()

    def flush(self) -> Iterator[VideoFrame]:
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pulled()
            self._graph = None

    def _pulled(self) -> Iterator[VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                yield self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return

    def _made_for(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        steps = [*TURNS.get(rotation(frame), []), *self._scale(frame)]
        if self._deinterlace and frame.interlaced_frame:
            steps.insert(0, DEINTERLACE)
        nodes = [graph.add("buffer", **_properties(frame))]
        for step in steps:
            name, _, arguments = step.partition("=")
            nodes.append(graph.add(name, arguments))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph

    def _scale(self, frame: VideoFrame) -> list[str]:
        width, height = self._size_px
        steps = [f"scale={width}:{height}:flags=bicubic:out_range=tv"]
        if frame.color_trc == HLG:
            steps += HLG_TO_SDR
        elif frame.color_trc == PQ:
            steps[0] += PQ_TO_SDR
        return [*steps, "setsar=1", f"format={self._pixel_format}"]


def _properties(frame: VideoFrame) -> dict[str, str]:
    """What a filter graph must know of its input, which may not change under way."""
    return {
        "video_size": f"{frame.width}x{frame.height}",
        "pix_fmt": frame.format.name,
        "time_base": str(frame.time_base),
        "pixel_aspect": "1/1",  # the scaler is given the size as shown
        "colorspace": str(int(frame.colorspace)),
        "range": str(int(frame.color_range)),
    }
