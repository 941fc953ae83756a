"""A video file opened for reading, held short: what every step of the video work begins with.

FFmpeg (through PyAV) is given one demuxer, chosen by the file's type; decoders of a list, while
it looks for the tracks too; no protocol at all, as the file is read through Python and any other
opening is refused. What the header claims is held against the limits before anything is decoded.

Limits: the first video and the first audio track only; no subtitles, chapters or attachments.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, NoReturn

import av
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from appliance.errors import UnsupportedFile
from appliance.processors import limits
from appliance.processors.videos.frames import reading

DEMUXERS = {
    "video/mp4": "mov",
    "video/x-m4v": "mov",
    "video/quicktime": "mov",
    "video/3gpp": "mov",
    "video/3gpp2": "mov",
    "video/x-matroska": "matroska",
    "video/matroska": "matroska",
    "video/webm": "matroska",
    "video/x-msvideo": "avi",
    "video/vnd.avi": "avi",
    "video/mpeg": "mpeg",
    "video/mp2t": "mpegts",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "asf",
    "video/x-ms-asf": "asf",
    "video/ogg": "ogg",
}
"""The one demuxer that a file of each type is given to (FFmpeg's names)."""

DECODERS = {
    *("h264", "hevc", "libdav1d", "av1", "vp8", "vp9", "vvc", "mpeg4", "mpeg2video", "mpeg1video"),
    *("h263", "h263p", "flv", "mjpeg", "prores", "dnxhd", "dvvideo", "theora", "vc1", "cinepak"),
    *("msmpeg4", "msmpeg4v2", "msmpeg4v1", "wmv1", "wmv2", "wmv3", "svq1", "svq3", "vp6", "vp6f"),
    *("ffv1", "huffyuv", "rawvideo", "qtrle", "png", "libvpx", "libvpx-vp9"),
}
"""What cameras, phones and editors write. FFmpeg has 300 more, for the games and formats of
thirty years, in which most of its holes are found."""

AUDIO_DECODERS = {
    *("aac", "aac_latm", "mp3", "mp3float", "mp2", "mp2float", "mp1", "mp1float", "ac3", "eac3"),
    *("opus", "libopus", "vorbis", "flac", "alac", "wmav1", "wmav2", "wmapro", "dca", "truehd"),
    *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "pcm_s16le", "pcm_s16be"),
    *("pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_mulaw", "pcm_alaw"),
    *("adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "nellymoser", "speex", "pcm_bluray"),
}


@dataclass(frozen=True)
class Footage:
    """An opened file and the tracks of it that are worked on."""

    container: InputContainer
    demuxer: str
    video: VideoStream
    audio: AudioStream | None

    @property
    def duration_s(self) -> float | None:
        """As the header claims; None where it does not."""
        return _duration_s(self.container)

    @property
    def tracks(self) -> list[VideoStream | AudioStream]:
        return [track for track in (self.video, self.audio) if track is not None]

    @property
    def start_s(self) -> Fraction:
        """The moment on the file's clock at which it begins: MPEG streams begin anywhere."""
        return Fraction(self.container.start_time or 0, av.time_base)

    def seek(self, at_s: float) -> None:
        """Go to the last key frame at or before a moment, counted from the beginning."""
        self.container.seek(round((at_s + float(self.start_s)) * av.time_base))

    def frames(self) -> Iterator[VideoFrame]:
        """Decode from here to the end."""
        return self.container.decode(self.video)

    def moment_s(self, frame: VideoFrame) -> float | None:
        """When the frame is shown, counted from the beginning."""
        if frame.pts is None or frame.time_base is None:
            return None
        return float(frame.pts * frame.time_base - self.start_s)


def demuxer_of(content_type: str) -> str:
    """Raises UnsupportedFile."""
    try:
        return DEMUXERS[content_type]
    except KeyError:
        raise UnsupportedFile(f"Videos of type {content_type} are not supported.") from None


@contextmanager
def opened(file: BinaryIO, demuxer: str) -> Iterator[Footage]:
    """The video with its tracks found and held against the limits, before its first packet.

    Raises CorruptFile, UnsupportedFile, LimitExceeded.
    """
    file.seek(0)
    options = {
        "protocol_whitelist": "",
        "format_whitelist": demuxer_names(demuxer),
        "codec_whitelist": ",".join(sorted(DECODERS | AUDIO_DECODERS)),
    }
    with reading():
        container = av.open(_Seekable(file), "r", format=demuxer, options=options, io_open=_refuse)
    with container:
        limits.hold("video", len(container.streams), limits.MAX_VIDEO_STREAMS, "tracks")
        limits.hold("video", _duration_s(container) or 0, limits.MAX_VIDEO_DURATION_S, "seconds")
        video = _video(container)
        limits.hold("video", video.width * video.height, limits.MAX_VIDEO_PIXELS, "pixels a frame")
        limits.hold("video", video.frames, limits.MAX_VIDEO_PACKETS, "frames")
        video.codec_context.options = {"max_pixels": str(limits.MAX_VIDEO_PIXELS)}
        yield Footage(container, demuxer, video, _audio(container))


def demuxer_names(demuxer: str) -> str:
    """As FFmpeg's whitelist compares them: by the full list of a demuxer's names."""
    return av.ContainerFormat(demuxer, "r").name


class _Seekable:
    """The file as FFmpeg reads it. A broken file makes it seek to impossible places, which FFmpeg
    copes with when told so in its own way; as an exception it would look like a broken disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._file = file.read, file.tell, file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            return -errno.EINVAL


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """What FFmpeg calls when a file refers to another (playlists, references in QuickTime)."""
    raise UnsupportedFile("This video refers to another file or address.")


def _video(container: InputContainer) -> VideoStream:
    """The first video track that is no cover picture, if we decode its codec."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            break
    else:
        raise UnsupportedFile("This file has no moving picture, only sound or data.")
    context = stream.codec_context
    if context is None or context.codec.name not in DECODERS:
        name = context.name if context else stream.codec_tag
        raise UnsupportedFile(f"The video codec {name!r} is not supported. Convert it to H.264.")
    return stream


def _audio(container: InputContainer) -> AudioStream | None:
    """The first audio track that we decode; without one the result is silent."""
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.codec_context.codec.name in AUDIO_DECODERS:
            return stream
    return None


def _duration_s(container: InputContainer) -> float | None:
    return round(container.duration / av.time_base, 3) if container.duration else None
