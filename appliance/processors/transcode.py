"""A video made ready for every browser: H.264 and AAC in an MP4 with its index in front.

Decoding and scaling run in one thread, encoding and writing in another (on two cores a third
faster than one loop). Frames keep their timestamps, so that a variable frame rate stays one.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.container.output import OutputContainer
from av.filter import Graph
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from appliance.errors import CorruptFile
from appliance.processors import limits
from appliance.processors.ahead import ahead
from appliance.processors.frames import Finisher, reading
from appliance.processors.pace import Pace

LONG_EDGE_PX, SHORT_EDGE_PX = 1280, 720

FRAMES_AHEAD = 16
"""Scaled frames between the threads: 1.4 MB each at 720p."""

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Of each codec. More would help little at this size, and each costs frames of memory."""

X264 = {"preset": "veryfast", "crf": "23", "profile": "high", "threads": str(THREADS * 3 // 2)}

SAMPLE_RATE, AUDIO_BIT_RATE = 48_000, 128_000

AAC_BLOCK = 1024
"""Samples in a frame of AAC; its encoder takes no other number."""

FINEST_TIME_BASE = 1_000_000


class Reached(NamedTuple):
    """How far a transcode came."""

    end_s: float
    packets: int
    damaged_packets: int


def fitted_720p(size_px: tuple[int, int]) -> tuple[int, int]:
    """The largest even size in 1280 by 720, or 720 by 1280, of the same shape; never larger
    than it was. H.264 in 4:2:0 needs even sizes."""
    long, short = max(size_px), min(size_px)
    scale = min(1.0, LONG_EDGE_PX / long, SHORT_EDGE_PX / short)
    width, height = (max(2, int(edge * scale + 0.01) // 2 * 2) for edge in size_px)
    return width, height


class Transcode:
    """One pass over an opened video, from its first packet to its last."""

    def __init__(
        self, source: InputContainer, video: VideoStream, audio: AudioStream | None
    ) -> None:
        self._source = source
        self._video, self._audio = video, audio
        self._start_s = Fraction(source.start_time or 0, av.time_base)
        self._end_s = 0.0
        self._packets = self._damaged = 0

    def run(
        self, target: Path, size_px: tuple[int, int], duration_s: float | None, pace: Pace
    ) -> Reached:
        """Write `target`. Raises CorruptFile, LimitExceeded; a fault of the disk as it is."""
        for stream in (self._video, self._audio):
            if stream is not None:
                stream.codec_context.thread_type = "AUTO"
                stream.codec_context.thread_count = THREADS
        frames = self._frames(Finisher(size_px, "yuv420p", deinterlace=True))
        options = {"movflags": "+faststart"}
        with (
            closing(frames),
            ahead(frames, FRAMES_AHEAD) as ready,
            av.open(str(target), "w", format="mp4", options=options) as output,
        ):
            writer = _Writer(output, size_px, self._video, with_audio=self._audio is not None)
            for frame in ready:
                writer.write(frame)
                if duration_s:
                    pace.tell(self._end_s / duration_s, "transcoding")
                else:
                    pace.tell(0.5, "transcoding")
            writer.finish()
        return self._judged()

    def _judged(self) -> Reached:
        if self._end_s == 0.0:
            raise CorruptFile("No picture of this video can be decoded.")
        if self._damaged > limits.MAX_DAMAGED_SHARE * self._packets:
            raise CorruptFile(
                f"{self._damaged} of {self._packets} parts of this video are damaged."
                " Check that it plays on your computer, and upload it again."
            )
        return Reached(self._end_s, self._packets, self._damaged)

    def _frames(self, finisher: Finisher) -> Generator[Frame, None, None]:
        """Frames ready to be encoded, their timestamps counted from the start of the file."""
        sound = _Sound()
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        with reading():
            for packet in self._source.demux(streams):
                for frame in self._decoded(packet):
                    self._place(frame)
                    if isinstance(frame, VideoFrame):
                        yield from finisher.finish(frame)
                    elif isinstance(frame, AudioFrame):
                        yield from sound.finish(frame)
        yield from finisher.flush()
        yield from sound.flush()

    def _decoded(self, packet: Packet[Stream]) -> list[Frame]:
        self._packets += packet.size > 0
        try:
            return [frame for frame in packet.decode() if isinstance(frame, Frame)]
        except MemoryError:
            raise
        except av.FFmpegError:
            self._damaged += 1
            return []

    def _place(self, frame: Frame) -> None:
        if frame.pts is None or frame.time_base is None:
            return
        frame.pts -= round(self._start_s / frame.time_base)
        at_s = float(frame.pts * frame.time_base)
        limits.hold("video", at_s, limits.MAX_VIDEO_DURATION_S, "seconds")
        if isinstance(frame, VideoFrame):
            self._end_s = max(self._end_s, at_s + self._frame_s())

    def _frame_s(self) -> float:
        rate = self._video.average_rate
        return float(1 / rate) if rate else 0.04


class _Sound:
    """Any audio as 48 kHz stereo in blocks that AAC takes; gaps are filled with silence, so that
    it stays with the picture."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: dict[str, str] = {}

    def finish(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        shape = {
            "sample_rate": str(frame.sample_rate),
            "sample_fmt": frame.format.name,
            "channel_layout": frame.layout.name,
            "time_base": str(frame.time_base),
        }
        if shape != self._shape:
            yield from self.flush()
            self._graph, self._shape = self._made_for(shape), shape
        assert self._graph is not None
        self._graph.push(frame)
        yield from self._pulled()

    def flush(self) -> Iterator[AudioFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pulled()
            self._graph = None

    def _made_for(self, shape: dict[str, str]) -> Graph:
        graph = Graph()
        graph.link_nodes(
            graph.add("abuffer", **shape),
            graph.add("aresample", f"{SAMPLE_RATE}:async=1000"),
            graph.add("aformat", "sample_fmts=fltp:channel_layouts=stereo"),
            graph.add("asetnsamples", f"n={AAC_BLOCK}:p=0"),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def _pulled(self) -> Iterator[AudioFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(frame, AudioFrame)
            yield frame


class _Writer:
    """Encodes and writes frames, each after the one before on its stream's clock."""

    def __init__(
        self,
        output: OutputContainer,
        size_px: tuple[int, int],
        source: VideoStream,
        *,
        with_audio: bool,
    ) -> None:
        self._output = output
        self._time_base = _time_base(source)
        self._next_pts, self._next_sample = 0, 0
        self._video = output.add_stream("libx264", rate=source.average_rate or 25, options=X264)
        self._video.width, self._video.height = size_px
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = self._time_base
        self._audio: AudioStream | None = None
        if with_audio:
            self._audio = output.add_stream("aac", rate=SAMPLE_RATE)
            self._audio.layout = "stereo"
            self._audio.bit_rate = AUDIO_BIT_RATE

    def write(self, frame: Frame) -> None:
        if isinstance(frame, VideoFrame):
            self._write_picture(frame)
        elif isinstance(frame, AudioFrame):
            self._write_sound(frame)

    def finish(self) -> None:
        self._output.mux(self._video.encode(None))
        if self._audio is not None:
            self._output.mux(self._audio.encode(None))

    def _write_picture(self, frame: VideoFrame) -> None:
        pts = _ticks(frame, self._time_base, self._next_pts)
        if pts < self._next_pts:
            return  # two pictures for one moment, as damaged and concatenated files have
        if self._next_pts == 0:
            self._copy_colour(frame)
        self._next_pts = pts + 1
        frame.pts, frame.time_base = pts, self._time_base
        frame.pict_type = PictureType.NONE  # else the source's key frames become ours
        self._output.mux(self._video.encode(frame))

    def _write_sound(self, frame: AudioFrame) -> None:
        assert self._audio is not None
        clock = Fraction(1, SAMPLE_RATE)
        pts = max(_ticks(frame, clock, self._next_sample), self._next_sample)
        self._next_sample = pts + frame.samples
        frame.pts, frame.time_base = pts, clock
        self._output.mux(self._audio.encode(frame))

    def _copy_colour(self, frame: VideoFrame) -> None:
        """Tell players how the numbers mean colours; before the first picture is encoded."""
        context = self._video.codec_context
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        context.color_trc, context.color_primaries = frame.color_trc, frame.color_primaries


def _ticks(frame: Frame, clock: Fraction, otherwise: int) -> int:
    if frame.pts is None or frame.time_base is None:
        return otherwise
    return max(0, round(frame.pts * frame.time_base / clock))


def _time_base(source: VideoStream) -> Fraction:
    """The source's own clock, so that no frame moves; MPEG's where the source's is absurd."""
    own = source.time_base
    if own is None or not 1 <= own.denominator / own.numerator <= FINEST_TIME_BASE:
        return Fraction(1, 90_000)
    return own
