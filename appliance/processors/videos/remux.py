"""A film whose pictures are copied, not encoded again: for videos that browsers play as they are.

Nothing is lost and it takes seconds. What is not as a browser wants it in every respect, or turns
out broken on the way, is left to the transcode. The pictures are not all decoded here: every
packet is checked for its framing, and the key frames are decoded.

Messages within the stream (SEI) are left out: cameras write the place and their serial number
into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.bitstream import BitStreamFilterContext
from av.container.output import OutputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from appliance.errors import CorruptFile
from appliance.processors import limits
from appliance.processors.pace import Pace
from appliance.processors.videos.footage import Footage
from appliance.processors.videos.frames import HLG, PQ, display_size, reading
from appliance.processors.videos.sound import Mixer, SoundTrack

DEMUXERS = {"mov", "matroska", "flv"}
"""Containers that tell for each packet when it is decoded and when shown, as MP4 has to."""

PROFILES = {"Constrained Baseline", "Main", "High"}

MAX_LEVEL = 42
"""4.2: 1080p at 60 frames a second; the decoders in phones take no more."""

MAX_BIT_RATE = 6_000_000
"""Of the whole file, in bits per second: twice what a busy 720p needs at our quality. Beyond, a
smaller film is worth its encoding, for those who look at it on the way."""

MAX_FRAME_RATE = limits.MAX_FILM_FRAME_RATE + 1
"""Rounded averages are a little above."""

REMOVE_SEI = "filter_units=remove_types=6"


def fits(footage: Footage, frame: VideoFrame, size_px: tuple[int, int]) -> bool:
    """Whether the video, of which `frame` is one, is already what a film of `size_px` shall be.

    Quarter turns are kept, as the matrix that browsers obey.
    """
    video = footage.video
    context = video.codec_context
    bit_rate = footage.container.bit_rate
    rate = video.average_rate
    return (
        footage.demuxer in DEMUXERS
        and context.codec.canonical_name == "h264"
        and context.profile in PROFILES
        and 0 < context.level <= MAX_LEVEL
        and frame.format.name == "yuv420p"
        and video.sample_aspect_ratio in (None, 0, 1)
        and display_size(frame, video) == size_px
        and frame.rotation % 90 == 0
        and frame.color_trc not in (HLG, PQ)
        and not frame.interlaced_frame
        and 0 < bit_rate <= MAX_BIT_RATE
        and rate is not None
        and rate <= MAX_FRAME_RATE
        and (context.extradata or b"")[:1] == b"\x01"
    )


def copied(footage: Footage, target: Path, *, audio_kbps: int, pace: Pace) -> bool:
    """Write `target`, an MP4 with its index in front; False, and no file, if the video is not
    sound enough for that. A fault of the disk is raised as it is."""
    try:
        with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as output:
            copy = _Copy(footage, output, audio_kbps)
            for packet in _packets(footage):
                copy.take(packet)
                pace.tell(copy.end_s / (footage.duration_s or copy.end_s or 1), "copying")
            copy.finish()
    except (CorruptFile, _UnsoundError, av.ArgumentError, av.InvalidDataError):
        target.unlink(missing_ok=True)
        return False
    return True


def _packets(footage: Footage) -> Iterator[Packet[Stream]]:
    with reading():
        yield from footage.container.demux(footage.tracks)


def _decoded(packet: Packet[Stream]) -> list[Frame]:
    with reading():
        return [frame for frame in packet.decode() if isinstance(frame, Frame)]


class _UnsoundError(Exception):
    """The video cannot be copied."""


class _Copy:
    def __init__(self, footage: Footage, output: OutputContainer, audio_kbps: int) -> None:
        self.end_s = 0.0
        self._footage, self._output = footage, output
        self._start_s = footage.start_s
        context = footage.video.codec_context
        # Damage that is usually painted over, in the key frames that we look at, counts here.
        context.options = {**context.options, "err_detect": "explode"}
        extradata = context.extradata or b""
        self._length_bytes = (extradata[4] & 3) + 1 if len(extradata) > 4 else 4
        self._last_dts: dict[int, int] = {}
        self._video = output.add_stream_from_template(footage.video)
        self._filter = BitStreamFilterContext(REMOVE_SEI, footage.video, self._video)
        self._sound: SoundTrack | None = None
        self._mixer = Mixer()
        self._audio: Stream | None = None
        if footage.audio is None:
            return
        if _plays(footage):
            self._audio = output.add_stream_from_template(footage.audio)
        else:
            self._sound = SoundTrack(output, audio_kbps)

    def take(self, packet: Packet[Stream]) -> None:
        if packet.stream.type == "video":
            self._take_picture(packet)
        elif self._sound is not None:
            for frame in _decoded(packet):
                if isinstance(frame, AudioFrame):
                    for block in self._mixer.finish(self._placed(frame)):
                        self._sound.write(block)
        elif packet.size:
            self._write(self._moved(packet), self._audio)

    def finish(self) -> None:
        with reading():
            self._footage.video.decode(None)
        if self._sound is not None:
            for block in self._mixer.flush():
                self._sound.write(block)
            self._sound.finish()
        if not self.end_s:
            raise _UnsoundError

    def _take_picture(self, packet: Packet[Stream]) -> None:
        if not packet.size:
            return
        first = self._video.index not in self._last_dts
        if packet.is_corrupt or packet.is_discard or (first and not packet.is_keyframe):
            raise _UnsoundError
        if not _is_framed(bytes(packet), self._length_bytes):
            raise _UnsoundError
        if packet.is_keyframe:
            _decoded(packet)
        for kept in self._filter.filter(self._moved(packet)):
            self._write(kept, self._video)

    def _moved(self, packet: Packet[Stream]) -> Packet[Stream]:
        """Count the packet's moments from the beginning of the file."""
        if packet.pts is None or packet.dts is None or packet.time_base is None:
            raise _UnsoundError
        shift = round(self._start_s / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        at_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
        limits.hold("video", at_s, limits.MAX_VIDEO_DURATION_S, "seconds")
        if packet.stream.type == "video":
            self.end_s = max(self.end_s, at_s)
        return packet

    def _placed(self, frame: AudioFrame) -> AudioFrame:
        if frame.pts is not None and frame.time_base is not None:
            frame.pts -= round(self._start_s / frame.time_base)
        return frame

    def _write(self, packet: Packet[Stream], stream: Stream | None) -> None:
        assert stream is not None
        last = self._last_dts.get(stream.index)
        if packet.dts is None or (last is not None and packet.dts <= last):
            raise _UnsoundError
        self._last_dts[stream.index] = packet.dts
        packet.stream = stream
        self._output.mux(packet)


def _plays(footage: Footage) -> bool:
    """Whether browsers play the sound as it is."""
    assert footage.audio is not None
    context = footage.audio.codec_context
    return (
        context.codec.canonical_name == "aac"
        and context.profile == "LC"
        and bool(context.extradata)
        and context.layout.nb_channels <= 2
        and context.sample_rate <= 48_000
    )


def _is_framed(packet: bytes, length_bytes: int) -> bool:
    """Whether the units in the packet, each after its length, fill it exactly (ISO 14496-15)."""
    at = 0
    while at + length_bytes <= len(packet):
        at += length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
    return at == len(packet)
