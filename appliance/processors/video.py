"""Videos: a poster that tells something, and a copy that every browser plays.

FFmpeg (through PyAV) is held short: one demuxer, chosen by the file's type; decoders of a list;
no protocol at all, as the file is read through Python and any other opening is refused.

Limits: the first video and the first audio track only; no subtitles or chapters; a video that is
turned by anything but quarter turns, or mirrored, is not straightened. A missing end of an MPEG
stream, FLV or ASF file is not noticed, since these do not say how long they are.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import av
import msgspec
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from appliance.errors import CorruptFile, UnsupportedFile
from appliance.processors import limits
from appliance.processors.containers import is_cut_off
from appliance.processors.faults import blaming_the_file
from appliance.processors.frames import Finisher, display_size, reading, rotation
from appliance.processors.pace import Pace
from appliance.processors.pictures import THUMBNAIL, fit, fitted, save_webp
from appliance.processors.protocol import Reporter, Task
from appliance.processors.transcode import Transcode, fitted_720p

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

POSTER_EDGE_PX = 1280

POSTER_MOMENTS = (0.0, 0.1, 0.35, 0.6)
"""Where to look for a poster, in shares of the duration."""

DULL_BITS = 4.0
SEARCHED_FRAMES, SEARCH_STRIDE = 250, 25
"""Ten seconds at most, from one key frame to the next (x264's default), a look each second."""


class VideoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[video]`."""


class VideoProcessor:
    """See `protocol.Processor`."""

    name = "video"
    version = "1"
    content_types = tuple(DEMUXERS)
    options = VideoOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Encode a few frames and take them through the whole way, in memory where possible."""
        _warm()

    def process(self, task: Task[VideoOptions], report: Reporter) -> dict[str, Any]:
        """Facts: durationS, width, height (as shown), rotation (degrees clockwise that were
        applied), frameRate, videoCodec, audioCodec, hasAudio, bitRate (bits per second),
        damagedPackets.

        Results: `poster.webp` and `thumbnail.webp`, at once, then `video-720p.mp4`.
        Raises CorruptFile, UnsupportedFile, LimitExceeded.
        """
        with blaming_the_file("video"), task.input_path.open("rb") as file:
            report.progress(0.0, "reading")
            demuxer = _demuxer(task.content_type)
            if is_cut_off(file, demuxer):
                raise CorruptFile("This video is incomplete: its end is missing. Upload it again.")
            with _opened(file, demuxer) as source:
                facts = _describe(source)
                report.progress(0.01, "choosing a poster")
                frame, poster = _poster(source)
                facts |= _describe_frame(frame, _video(source))
            _save_poster(poster, task.output_dir, report)
            with _opened(file, demuxer) as source:
                facts |= _transcode(source, frame, facts["durationS"], task.output_dir, report)
            return facts


# --- opening -----------------------------------------------------------------------------


def _demuxer(content_type: str) -> str:
    try:
        return DEMUXERS[content_type]
    except KeyError:
        raise UnsupportedFile(f"Videos of type {content_type} are not supported.") from None


@contextmanager
def _opened(file: BinaryIO, demuxer: str) -> Iterator[InputContainer]:
    """The video with its streams found and held against the limits."""
    file.seek(0)
    options = {"protocol_whitelist": ""}
    with reading():
        source = av.open(_Seekable(file), "r", format=demuxer, options=options, io_open=_refuse)
    with source:
        limits.hold("video", len(source.streams), limits.MAX_VIDEO_STREAMS, "tracks")
        limits.hold("video", _duration_s(source) or 0, limits.MAX_VIDEO_DURATION_S, "seconds")
        video = _video(source)
        limits.hold("video", video.width * video.height, limits.MAX_VIDEO_PIXELS, "pixels a frame")
        video.codec_context.options = {"max_pixels": str(limits.MAX_VIDEO_PIXELS)}
        yield source


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


def _video(source: InputContainer) -> VideoStream:
    """The first video track that is no cover picture, if we decode its codec."""
    for stream in source.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            break
    else:
        raise UnsupportedFile("This file has no moving picture, only sound or data.")
    context = stream.codec_context
    if context is None or context.codec.name not in DECODERS:
        name = context.name if context else stream.codec_tag
        raise UnsupportedFile(f"The video codec {name!r} is not supported. Convert it to H.264.")
    return stream


def _audio(source: InputContainer) -> AudioStream | None:
    """The first audio track that we decode; without one the result is silent."""
    for stream in source.streams.audio:
        if stream.codec_context is not None and stream.codec_context.codec.name in AUDIO_DECODERS:
            return stream
    return None


# --- facts -------------------------------------------------------------------------------


def _describe(source: InputContainer) -> dict[str, Any]:
    video, audio = _video(source), _audio(source)
    duration_s = _duration_s(source)
    rate = video.average_rate or video.guessed_rate
    return {
        "durationS": duration_s,
        "frameRate": round(float(rate), 3) if rate else None,
        "videoCodec": video.codec_context.codec.canonical_name,
        "audioCodec": audio.codec_context.codec.canonical_name if audio else None,
        "hasAudio": audio is not None,
        "bitRate": source.bit_rate or (round(source.size * 8 / duration_s) if duration_s else None),
    }


def _duration_s(source: InputContainer) -> float | None:
    return round(source.duration / av.time_base, 3) if source.duration else None


def _describe_frame(frame: VideoFrame, video: VideoStream) -> dict[str, Any]:
    width, height = display_size(frame, video)
    return {"width": width, "height": height, "rotation": rotation(frame)}


# --- poster ------------------------------------------------------------------------------


class _Candidate(NamedTuple):
    frame: VideoFrame
    picture: Image.Image
    detail: float
    """Entropy of the picture in bits: black has 0, a title on black 1, most scenes 6 to 7.5."""


def _poster(source: InputContainer) -> tuple[VideoFrame, Image.Image]:
    """Some decoded frame, for its properties, and the picture that shows most: of a few key
    frames, and when these are dull (a film may have a single one, black), of its beginning."""
    best = _best(source, _key_frames(source))
    if best is None or best.detail < DULL_BITS:
        best = max(
            filter(None, (best, _best(source, _beginning(source)))),
            key=lambda candidate: candidate.detail,
            default=None,
        )
    if best is None:
        raise CorruptFile("No picture of this video can be decoded.")
    return best.frame, best.picture


def _key_frames(source: InputContainer) -> Iterator[VideoFrame]:
    """The first frame, and the key frames before the moments, as far as they can be found."""
    for moment in POSTER_MOMENTS:
        if moment and not source.duration:
            return
        with suppress(CorruptFile), reading():
            if moment:
                source.seek(int((source.duration or 0) * moment) + (source.start_time or 0))
            yield from islice(source.decode(_video(source)), 1)


def _beginning(source: InputContainer) -> Iterator[VideoFrame]:
    with suppress(CorruptFile), reading():
        source.seek(source.start_time or 0)
        yield from islice(source.decode(_video(source)), 0, SEARCHED_FRAMES, SEARCH_STRIDE)


def _best(source: InputContainer, frames: Iterator[VideoFrame]) -> _Candidate | None:
    best, finisher = None, None
    for frame in frames:
        if finisher is None:
            size_px = fitted(display_size(frame, _video(source)), POSTER_EDGE_PX)
            finisher = Finisher(size_px, "rgb24", deinterlace=False)
        for made in finisher.finish(frame):
            picture: Image.Image = made.to_image()  # type: ignore[no-untyped-call]
            detail = float(fit(picture, 160).convert("L").entropy())
            if best is None or detail > best.detail:
                best = _Candidate(frame, picture, detail)
    return best


def _save_poster(poster: Image.Image, output_dir: Path, report: Reporter) -> None:
    save_webp(poster, output_dir, "poster.webp", report)
    name, edge_px = THUMBNAIL
    save_webp(fit(poster, edge_px), output_dir, name, report)


# --- transcode ---------------------------------------------------------------------------


def _transcode(
    source: InputContainer,
    frame: VideoFrame,
    duration_s: float | None,
    output_dir: Path,
    report: Reporter,
) -> dict[str, Any]:
    video, name = _video(source), "video-720p.mp4"
    width, height = fitted_720p(display_size(frame, video))
    pace = Pace(report, 0.05, 0.99)
    reached = Transcode(source, video, _audio(source)).run(
        output_dir / name, (width, height), duration_s, pace
    )
    report.output(name, "video/mp4", width_px=width, height_px=height)
    return {
        "durationS": duration_s or round(reached.end_s, 3),
        "damagedPackets": reached.damaged_packets,
    }


# --- warming up --------------------------------------------------------------------------


def _warm() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        video = target.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        for _ in range(3):
            target.mux(video.encode(VideoFrame(64, 64, "yuv420p")))
        target.mux(video.encode(None))
    with _opened(out, "mov") as source:
        _, poster = _poster(source)
        poster.save(io.BytesIO(), "WEBP", method=0)


PROCESSOR = VideoProcessor()
