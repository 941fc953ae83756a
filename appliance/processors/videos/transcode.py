"""A video made ready for every browser: H.264 and AAC, in one size or in several at once.

Decoding and scaling run in one thread, encoding and writing in another (on two cores a third
faster than one loop). The video is decoded once, however many films are made of it; each is
scaled from the next larger one. Frames keep their timestamps, so that a variable frame rate
stays one.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.audio.frame import AudioFrame
from av.container.output import OutputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter

from appliance.errors import CorruptFile
from appliance.processors import limits
from appliance.processors.pace import Pace
from appliance.processors.videos import hls
from appliance.processors.videos.ahead import ahead
from appliance.processors.videos.footage import Footage
from appliance.processors.videos.frames import Finisher, is_memory_short, reading, ticks
from appliance.processors.videos.renditions import Rendition
from appliance.processors.videos.sound import Mixer, SoundTrack
from appliance.processors.videos.storyboard import Storyboard

FRAMES_AHEAD = 16
"""Scaled frames between the threads: 1.4 MB each at 720p."""

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Of each codec. More would help little at this size, and each costs frames of memory."""

X264 = {"preset": "veryfast", "profile": "high", "threads": str(THREADS * 3 // 2)}

NO_OTHER_KEY_FRAMES = 100_000
"""Between key frames, where we set them ourselves."""

FINEST_TIME_BASE = 1_000_000

Pictures = tuple[VideoFrame, ...]
"""One moment in the size of each rendition."""


class Quality(NamedTuple):
    crf: int
    """x264's constant rate factor: less is better, and larger."""
    audio_kbps: int


class Reached(NamedTuple):
    """How far a transcode came."""

    end_s: float
    packets: int
    damaged_packets: int


class Transcode:
    """One pass over an opened video, from its first packet to its last."""

    def __init__(
        self,
        footage: Footage,
        renditions: Sequence[Rendition],
        quality: Quality,
        *,
        storyboard: Storyboard | None = None,
    ) -> None:
        """`storyboard` is filled on the way."""
        self._footage, self._renditions, self._quality = footage, renditions, quality
        self._storyboard = storyboard
        self._start_s = footage.start_s
        self._due = _Due()
        self._end_s = 0.0
        self._packets = self._damaged = 0

    def run(self, folder: Path, pace: Pace) -> Reached:
        """Write the films. Raises CorruptFile, LimitExceeded; a fault of the disk as it is."""
        for track in self._footage.tracks:
            track.codec_context.thread_type = "AUTO"
            track.codec_context.thread_count = THREADS
        duration_s = self._footage.duration_s
        made = self._made()
        with closing(made), ahead(made, FRAMES_AHEAD) as ready, ExitStack() as stack:
            writers = [
                _Writer(
                    stack.enter_context(_output(folder, rendition)),
                    rendition,
                    self._footage,
                    self._quality,
                )
                for rendition in self._renditions
            ]
            for item in ready:
                if isinstance(item, AudioFrame):
                    for writer in writers:
                        writer.write_sound(item)
                else:
                    for writer, picture in zip(writers, item, strict=True):
                        writer.write_picture(picture, colour_of=item[0])
                pace.tell(self._end_s / duration_s if duration_s else 0.5, "transcoding")
            for writer in writers:
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

    def _made(self) -> Generator[Pictures | AudioFrame, None, None]:
        """Frames ready to be encoded, their timestamps counted from the start of the file."""
        mixer = Mixer()
        scaler = _Scaler([rendition.size_px for rendition in self._renditions])
        with reading():
            for packet in self._footage.container.demux(self._footage.tracks):
                for frame in self._decoded(packet):
                    at_s = self._place(frame)
                    if isinstance(frame, AudioFrame):
                        yield from mixer.finish(frame)
                    elif isinstance(frame, VideoFrame) and self._due.is_due(at_s):
                        if self._storyboard is not None and at_s is not None:
                            self._storyboard.passing(frame, at_s)
                        yield from scaler.finish(frame)
        yield from scaler.flush()
        yield from mixer.flush()

    def _decoded(self, packet: Packet[Stream]) -> list[Frame]:
        self._packets += packet.size > 0
        limits.hold("video", self._packets, limits.MAX_VIDEO_PACKETS, "packets")
        try:
            return [frame for frame in packet.decode() if isinstance(frame, Frame)]
        except av.FFmpegError as error:
            if isinstance(error, MemoryError) and is_memory_short():
                raise
            self._damaged += 1
            return []

    def _place(self, frame: Frame) -> float | None:
        """Count the frame's moment from the start of the file, and return it in seconds."""
        if frame.pts is None or frame.time_base is None:
            return None
        frame.pts -= round(self._start_s / frame.time_base)
        at_s = float(frame.pts * frame.time_base)
        limits.hold("video", at_s, limits.MAX_VIDEO_DURATION_S, "seconds")
        if isinstance(frame, VideoFrame):
            self._end_s = max(self._end_s, at_s + self._frame_s())
        return at_s

    def _frame_s(self) -> float:
        rate = self._footage.video.average_rate
        return float(1 / rate) if rate else 0.04


class _Due:
    """Leaves out frames where there are more in a second than a film may have."""

    def __init__(self) -> None:
        self._next_s: float | None = None

    def is_due(self, at_s: float | None) -> bool:
        interval_s = 1 / limits.MAX_FILM_FRAME_RATE
        if at_s is None:
            return True
        if self._next_s is None:
            self._next_s = at_s
        if at_s < self._next_s - interval_s / 4:  # clocks in milliseconds are that uneven
            return False
        self._next_s = max(self._next_s + interval_s, at_s)
        return True


class _Scaler:
    """Frames in all sizes: the first, the largest, finished; the others made smaller from it."""

    def __init__(self, sizes_px: Sequence[tuple[int, int]]) -> None:
        self._finisher = Finisher(sizes_px[0], "yuv420p", deinterlace=True)
        self._smaller = [(size_px, VideoReformatter()) for size_px in sizes_px[1:]]

    def finish(self, frame: VideoFrame) -> Iterator[Pictures]:
        for finished in self._finisher.finish(frame):
            yield self._scaled(finished)

    def flush(self) -> Iterator[Pictures]:
        for finished in self._finisher.flush():
            yield self._scaled(finished)

    def _scaled(self, finished: VideoFrame) -> Pictures:
        pictures = [finished]
        for (width, height), reformatter in self._smaller:
            smaller = reformatter.reformat(pictures[-1], width, height, interpolation="BICUBIC")
            smaller.pts, smaller.time_base = finished.pts, finished.time_base
            pictures.append(smaller)
        return tuple(pictures)


def _output(folder: Path, rendition: Rendition) -> OutputContainer:
    if rendition.packing == "hls":
        options = hls.muxer_options(folder, rendition)
        return av.open(str(folder / f"{rendition.stem}.m3u8"), "w", format="hls", options=options)
    options = {"movflags": "+faststart"}
    return av.open(str(folder / f"{rendition.stem}.mp4"), "w", format="mp4", options=options)


class _Writer:
    """Encodes and writes frames, each after the one before on its stream's clock."""

    def __init__(
        self, output: OutputContainer, rendition: Rendition, footage: Footage, quality: Quality
    ) -> None:
        self._output = output
        self._time_base = _time_base(footage.video.time_base)
        self._next_pts = 0
        self._segment_s = hls.SEGMENT_S if rendition.packing == "hls" else None
        self._next_key_s = 0.0
        options = X264 | {"crf": str(quality.crf)}
        if self._segment_s:
            most = hls.max_bit_rate(rendition.size_px)
            options |= {"maxrate": str(most), "bufsize": str(2 * most), "sc_threshold": "0"}
        rate = _frame_rate(footage.video.average_rate)
        self._video = output.add_stream("libx264", rate=rate, options=options)
        self._video.width, self._video.height = rendition.size_px
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = self._time_base
        if self._segment_s:
            self._video.gop_size = NO_OTHER_KEY_FRAMES
        self._sound = SoundTrack(output, quality.audio_kbps) if footage.audio else None

    def write_picture(self, frame: VideoFrame, *, colour_of: VideoFrame) -> None:
        pts = ticks(frame, self._time_base, self._next_pts)
        if pts < self._next_pts:
            return  # two pictures for one moment, as damaged and concatenated files have
        if self._next_pts == 0:
            self._copy_colour(colour_of)
        self._next_pts = pts + 1
        frame.pts, frame.time_base = pts, self._time_base
        frame.pict_type = self._picture_type(float(pts * self._time_base))
        self._output.mux(self._video.encode(frame))

    def write_sound(self, frame: AudioFrame) -> None:
        assert self._sound is not None
        self._sound.write(frame)

    def finish(self) -> None:
        self._output.mux(self._video.encode(None))
        if self._sound is not None:
            self._sound.finish()

    def _picture_type(self, at_s: float) -> PictureType:
        """Left to the encoder, else the source's key frames become ours; but the first of each
        segment is a key frame."""
        if self._segment_s is None or at_s < self._next_key_s:
            return PictureType.NONE
        self._next_key_s = (at_s // self._segment_s + 1) * self._segment_s
        return PictureType.I

    def _copy_colour(self, frame: VideoFrame) -> None:
        """Tell players how the numbers mean colours; before the first picture is encoded."""
        context = self._video.codec_context
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        context.color_trc, context.color_primaries = frame.color_trc, frame.color_primaries


def _time_base(own: Fraction | None) -> Fraction:
    """The source's own clock, so that no frame moves; MPEG's where the source's is absurd."""
    if own is None or not 1 <= own.denominator / own.numerator <= FINEST_TIME_BASE:
        return Fraction(1, 90_000)
    return own


def _frame_rate(own: Fraction | None) -> Fraction:
    """What the encoder reckons with, so that an absurd claim costs no quality: it keeps to the
    frames' own moments."""
    if own is None or not 1 <= own <= limits.MAX_FILM_FRAME_RATE:
        return Fraction(25)
    return own
