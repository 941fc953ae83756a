"""Videos: a poster that tells something, a storyboard, and films that every browser plays.

Limits: what `footage` says of tracks; a video that is turned by anything but quarter turns, or
mirrored, is not straightened. A missing end of an MPEG stream, FLV or ASF file is not noticed,
since these do not say how long they are.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import av
import msgspec
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from appliance.errors import CorruptFile
from appliance.processors.faults import blaming_the_file
from appliance.processors.pace import Pace
from appliance.processors.pictures import THUMBNAIL, fit, save_webp
from appliance.processors.protocol import Reporter, Task
from appliance.processors.silence import Silence
from appliance.processors.videos import hls, preview, remux, storyboard
from appliance.processors.videos.containers import is_cut_off
from appliance.processors.videos.footage import DEMUXERS, Footage, demuxer_of, opened
from appliance.processors.videos.frames import HLG, PQ, display_size, rotation
from appliance.processors.videos.poster import poster
from appliance.processors.videos.renditions import Rendition, renditions
from appliance.processors.videos.sound import AAC_BLOCK, SAMPLE_RATE, SoundTrack
from appliance.processors.videos.storyboard import Storyboard
from appliance.processors.videos.transcode import Quality, Transcode

Height = Annotated[int, msgspec.Meta(ge=144, le=2160, multiple_of=2)]
"""720 stands for what everybody calls 720p: the short edge is at most 720, the long one 1280."""


class VideoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[video]`; docs/presets/video.md tells it to owners."""

    poster_edge_px: Annotated[int, msgspec.Meta(ge=64, le=4096)] = 1280
    thumbnail_edge_px: Annotated[int, msgspec.Meta(ge=16, le=1024)] = THUMBNAIL[1]
    storyboard: bool = True
    storyboard_tiles: Annotated[int, msgspec.Meta(ge=1, le=200)] = 100
    storyboard_edge_px: Annotated[int, msgspec.Meta(ge=32, le=320)] = 160
    preview: bool = False
    preview_edge_px: Annotated[int, msgspec.Meta(ge=32, le=640)] = 320
    mp4_heights: Annotated[tuple[Height, ...], msgspec.Meta(max_length=4)] = (720,)
    hls_heights: Annotated[tuple[Height, ...], msgspec.Meta(max_length=6)] = ()
    crf: Annotated[int, msgspec.Meta(ge=16, le=35)] = 23
    audio_kbps: Annotated[int, msgspec.Meta(ge=32, le=320)] = 128
    copy: Literal["auto", "never"] = "auto"
    """Whether pictures that browsers play already are copied."""


class VideoProcessor:
    """See `protocol.Processor`."""

    name = "video"
    version = "2"
    content_types = tuple(DEMUXERS)
    options = VideoOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Encode a few frames and take them through the whole way, in memory where possible."""
        _warm()

    def process(self, task: Task[VideoOptions], report: Reporter) -> dict[str, Any]:
        """Facts: durationS, width, height (as shown), rotation (degrees clockwise that were
        applied), frameRate, videoCodec, videoProfile, pixelFormat, bitDepth, hdr (`hlg`, `pq`),
        interlaced, hasAudio, audioCodec, audioChannels, audioSampleRate, bitRate (bits per
        second), videoCopied, damagedPackets.

        Results, as they come: `poster.webp`, `thumbnail.webp`; `storyboard.webp` and `.vtt`;
        `preview.webp`; `video-720p.mp4`; `hls-720p.mp4` and `.m3u8` for each rendition and
        `hls.m3u8` over them. Raises CorruptFile, UnsupportedFile, LimitExceeded.
        """
        with blaming_the_file("video"), task.input_path.open("rb") as file:
            report.progress(0.0, "reading")
            demuxer = demuxer_of(task.content_type)
            if is_cut_off(file, demuxer):
                raise CorruptFile("This video is incomplete: its end is missing. Upload it again.")
            work = _Work(file, demuxer, task, report)
            work.save_poster()
            work.save_storyboard()
            work.save_preview()
            work.save_films()
            return work.facts


class _Work:
    """The steps at one file. Each opens it anew: a decoder keeps what the last one set."""

    facts: dict[str, Any]
    _frame: VideoFrame
    """Some decoded one, for its properties."""

    def __init__(
        self, file: BinaryIO, demuxer: str, task: Task[VideoOptions], report: Reporter
    ) -> None:
        self._file, self._demuxer = file, demuxer
        self._folder, self._options, self._report = task.output_dir, task.options, report
        self._unfilled: Storyboard | None = None

    def save_poster(self) -> None:
        with opened(self._file, self._demuxer) as footage:
            self._report.progress(0.01, "choosing a poster")
            found = poster(footage, self._options.poster_edge_px)
            self._frame = found.frame
            self._size_px = display_size(found.frame, footage.video)
            self.facts = _described(footage, found.frame)
        save_webp(found.picture, self._folder, "poster.webp", self._report)
        thumbnail = fit(found.picture, self._options.thumbnail_edge_px)
        save_webp(thumbnail, self._folder, THUMBNAIL[0], self._report)

    def save_storyboard(self) -> None:
        """At once where key frames are quickly found; else the transcode fills it on its way."""
        options, duration_s = self._options, self.facts["durationS"]
        if not options.storyboard or not duration_s:
            return
        board = Storyboard(
            duration_s,
            self._size_px,
            tiles=options.storyboard_tiles,
            edge_px=options.storyboard_edge_px,
        )
        with opened(self._file, self._demuxer) as footage:
            if self._is_transcoded(footage) and not storyboard.is_quick(footage, board.count):
                self._unfilled = board
                return
            storyboard.fill(board, footage, Pace(self._report, 0.02, 0.06))
        board.save(self._folder, self._report)

    def save_preview(self) -> None:
        if not self._options.preview:
            return
        with opened(self._file, self._demuxer) as footage:
            preview.save(
                footage,
                self._size_px,
                edge_px=self._options.preview_edge_px,
                folder=self._folder,
                report=self._report,
                pace=Pace(self._report, 0.06, 0.1),
            )

    def save_films(self) -> None:
        self.facts |= {"videoCopied": False, "damagedPackets": 0}
        if not self._films:
            return
        with opened(self._file, self._demuxer) as footage:
            copied = not self._is_transcoded(footage) and self._copy(footage)
        if not copied:
            with opened(self._file, self._demuxer) as footage:
                self._transcode(footage)

    @property
    def _films(self) -> list[Rendition]:
        options = self._options
        return renditions(
            self._size_px, mp4_heights=options.mp4_heights, hls_heights=options.hls_heights
        )

    def _is_transcoded(self, footage: Footage) -> bool:
        """Whether films are asked for that no copy would do for."""
        films = self._films
        if len(films) == 1 and films[0].packing == "mp4" and self._options.copy == "auto":
            return not remux.fits(footage, self._frame, films[0].size_px)
        return bool(films)

    def _copy(self, footage: Footage) -> bool:
        film, name = self._films[0], f"{self._films[0].stem}.mp4"
        pace = Pace(self._report, 0.1, 0.99)
        kbps = self._options.audio_kbps
        if not remux.copied(footage, self._folder / name, audio_kbps=kbps, pace=pace):
            return False
        self.facts["videoCopied"] = True
        self._report_mp4(film)
        return True

    def _transcode(self, footage: Footage) -> None:
        films = self._films
        quality = Quality(self._options.crf, self._options.audio_kbps)
        transcode = Transcode(footage, films, quality, storyboard=self._unfilled)
        reached = transcode.run(self._folder, Pace(self._report, 0.1, 0.99))
        self.facts["durationS"] = self.facts["durationS"] or round(reached.end_s, 3)
        self.facts["damagedPackets"] = reached.damaged_packets
        if self._unfilled is not None:
            self._unfilled.save(self._folder, self._report)
        for film in films:
            if film.packing == "mp4":
                self._report_mp4(film)
        if streamed := [film for film in films if film.packing == "hls"]:
            hls.finish(
                self._folder,
                streamed,
                frame_rate=footage.video.average_rate,
                has_audio=footage.audio is not None,
                report=self._report,
            )

    def _report_mp4(self, film: Rendition) -> None:
        width, height = film.size_px
        self._report.output(f"{film.stem}.mp4", "video/mp4", width_px=width, height_px=height)


# --- facts -------------------------------------------------------------------------------


def _described(footage: Footage, frame: VideoFrame) -> dict[str, Any]:
    video, audio, container = footage.video, footage.audio, footage.container
    width, height = display_size(frame, video)
    duration_s = footage.duration_s
    rate = video.average_rate or video.guessed_rate
    measured = round(container.size * 8 / duration_s) if duration_s else None
    return {
        "durationS": duration_s,
        "width": width,
        "height": height,
        "rotation": rotation(frame),
        "frameRate": round(float(rate), 3) if rate else None,
        "videoCodec": video.codec_context.codec.canonical_name,
        "videoProfile": video.codec_context.profile,
        "pixelFormat": frame.format.name,
        "bitDepth": frame.format.components[0].bits,
        "hdr": {PQ: "pq", HLG: "hlg"}.get(int(frame.color_trc)),
        "interlaced": frame.interlaced_frame,
        "hasAudio": audio is not None,
        "audioCodec": audio.codec_context.codec.canonical_name if audio else None,
        "audioChannels": audio.codec_context.layout.nb_channels if audio else None,
        "audioSampleRate": audio.codec_context.sample_rate if audio else None,
        "bitRate": container.bit_rate or measured,
    }


# --- warming up --------------------------------------------------------------------------


def _warm() -> None:
    """Every codec, filter and container that is written, once, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source, results = Path(folder, "source"), Path(folder, "results")
        results.mkdir()
        _write_clip(source)
        options = VideoOptions(preview=True, mp4_heights=(720,), hls_heights=(720,))
        task = Task(source, results, "video/mp4", options)
        PROCESSOR.process(task, Silence())


def _write_clip(target: Path) -> None:
    with av.open(str(target), "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        sound = SoundTrack(output, 64)
        for n in range(30):
            frame = VideoFrame(64, 64, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([n * 8 % 256]) * plane.buffer_size)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        block = AudioFrame("fltp", "stereo", AAC_BLOCK)
        for channel in block.planes:
            channel.update(bytes(channel.buffer_size))
        block.sample_rate = SAMPLE_RATE
        sound.write(block)
        sound.finish()


PROCESSOR = VideoProcessor()
