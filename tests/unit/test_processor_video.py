"""The video processor: posters, transcodes and facts, and what it does with bad files."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import struct
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from appliance.errors import CorruptFile, LimitExceeded, UnsupportedFile
from appliance.processors import limits
from appliance.processors.video import PROCESSOR
from appliance.processors.videos.ahead import ahead
from appliance.processors.videos.containers import _ebml_size, is_cut_off
from appliance.processors.videos.footage import _refuse, opened
from appliance.processors.videos.frames import reading
from appliance.processors.videos.renditions import fitted
from tests import media
from tests.processing import Outcome, after_warm_up, process, task

FILM = "video-720p.mp4"

KINDS = {
    "mp4": ("video/mp4", media.mp4()),
    "mp4 for the web": ("video/mp4", media.mp4(index_first=True)),
    "mov": ("video/quicktime", media.video(container="mov")),
    "mkv": ("video/x-matroska", media.video(container="matroska")),
    "webm": ("video/webm", media.video(container="webm", codec="libvpx", audio_codec="libopus")),
    "avi": ("video/x-msvideo", media.video(container="avi", codec="mpeg4", audio_codec="mp2")),
    "mpeg ts": ("video/mp2t", media.video(container="mpegts")),
    "mpeg": ("video/mpeg", media.video(container="mpeg", codec="mpeg2video", audio_codec="mp2")),
    "flv": ("video/x-flv", media.video(container="flv", codec="flv", audio_codec="libmp3lame")),
    "wmv": ("video/x-ms-wmv", media.video(container="asf", codec="wmv2", audio_codec="mp2")),
}

TELL_THEIR_SIZE = ("mp4", "mp4 for the web", "mov", "mkv", "webm", "avi")


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


def run(data: bytes, tmp_path: Path, content_type: str = "video/mp4", **options: object) -> Outcome:
    """Transcoded, unless it is said otherwise: the tests' videos would do as they are."""
    return process(PROCESSOR, data, content_type, tmp_path, **({"copy": "never"} | options))


def picture(outcome: Outcome, name: str) -> Image.Image:
    opened = Image.open(outcome.path(name), formats=["WEBP"])
    opened.load()
    return opened.convert("RGB")


@contextlib.contextmanager
def film(outcome: Outcome) -> Iterator[av.container.InputContainer]:
    with av.open(str(outcome.path(FILM)), "r", format="mp4") as opened:
        yield opened


def frames(outcome: Outcome) -> list[av.VideoFrame]:
    with film(outcome) as opened:
        return list(opened.decode(video=0))


def assert_corners(shown: Image.Image, expected: tuple[tuple[int, ...], ...], within=45) -> None:
    right, bottom = shown.width * 15 // 16, shown.height * 15 // 16
    left, top = shown.width // 16, shown.height // 16
    got = [shown.getpixel(at) for at in itertools.product((left, right), (top, bottom))]
    got = [got[0], got[2], got[1], got[3]]
    for have, want in zip(got, expected, strict=True):
        assert all(abs(a - b) <= within for a, b in zip(have, want, strict=True)), got


# --- good videos -------------------------------------------------------------------------


def test_the_facts(tmp_path: Path) -> None:
    facts = run(media.mp4(2, 640, 360), tmp_path).facts
    bit_rate = facts.pop("bitRate")
    assert facts.pop("durationS") == pytest.approx(2, abs=0.05)
    assert facts == {
        "width": 640,
        "height": 360,
        "rotation": 0,
        "frameRate": 25.0,
        "videoCodec": "h264",
        "videoProfile": "Constrained Baseline",
        "pixelFormat": "yuv420p",
        "bitDepth": 8,
        "hdr": None,
        "interlaced": False,
        "hasAudio": True,
        "audioCodec": "aac",
        "audioChannels": 2,
        "audioSampleRate": 48000,
        "videoCopied": False,
        "damagedPackets": 0,
    }
    assert bit_rate == pytest.approx(len(media.mp4(2, 640, 360)) * 8 / 2, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_container(kind: str, tmp_path: Path) -> None:
    content_type, data = KINDS[kind]
    outcome = run(data, tmp_path, content_type)
    assert outcome.outputs == {
        "poster.webp": ("image/webp", 320, 180),
        "thumbnail.webp": ("image/webp", 320, 180),
        "storyboard.webp": ("image/webp", *outcome.outputs["storyboard.webp"][1:]),
        "storyboard.vtt": ("text/vtt", None, None),
        FILM: ("video/mp4", 320, 180),
    }
    assert outcome.facts["durationS"] == pytest.approx(2, abs=0.15)
    assert outcome.facts["hasAudio"] is True
    assert outcome.facts["damagedPackets"] == 0
    shown = frames(outcome)
    assert len(shown) == pytest.approx(50, abs=1)
    for image in (picture(outcome, "poster.webp"), shown[0].to_image(), shown[-1].to_image()):
        assert_corners(image, media.CORNERS)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_codecs_of_today(codec: str, tmp_path: Path) -> None:
    outcome = run(media.mp4(0.5, codec=codec), tmp_path)
    expected = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1"}[codec]
    assert outcome.facts["videoCodec"] == expected
    assert_corners(picture(outcome, "thumbnail.webp"), media.CORNERS)


def test_the_film_plays_everywhere(tmp_path: Path) -> None:
    outcome = run(media.mp4(2), tmp_path)
    content = outcome.path(FILM).read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat"), "the index is not in front"
    with film(outcome) as opened:
        video, audio = opened.streams.video[0], opened.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.profile) == ("h264", "High")
        assert video.codec_context.pix_fmt == "yuv420p"
        assert audio.codec_context.name == "aac"
        assert audio.codec_context.layout.name == "stereo"
        assert audio.codec_context.sample_rate == 48_000
        assert float(video.duration * video.time_base) == pytest.approx(2, abs=0.05)
        assert float(audio.duration * audio.time_base) == pytest.approx(2, abs=0.1)
        assert video.average_rate == 25


def test_the_tone_is_heard(tmp_path: Path) -> None:
    with film(run(media.mp4(1), tmp_path)) as opened:
        loudest = 0.0
        for frame in opened.decode(audio=0):
            samples = memoryview(frame.planes[0]).cast("B").cast("f")[: frame.samples]
            loudest = max(loudest, max(samples))
    assert loudest == pytest.approx(6000 / 32768, rel=0.15)


def test_no_sound_no_audio_track(tmp_path: Path) -> None:
    outcome = run(media.mp4(1, audio=False), tmp_path)
    assert (outcome.facts["hasAudio"], outcome.facts["audioCodec"]) == (False, None)
    with film(outcome) as opened:
        assert len(opened.streams.audio) == 0


def test_no_metadata_in_the_film(tmp_path: Path) -> None:
    data = media.mp4()
    assert b"Secret title" in data
    assert b"loci" in data, "no place to remove"
    content = run(data, tmp_path).path(FILM).read_bytes()
    assert b"Secret" not in content
    assert b"loci" not in content


R, G, B, Y = media.CORNERS


@pytest.mark.parametrize(
    ("degrees", "size", "expected"),
    [
        (90, (180, 320), (B, R, Y, G)),
        (180, (320, 180), (Y, B, G, R)),
        (270, (180, 320), (G, Y, R, B)),
    ],
)
def test_rotation_is_applied(degrees, size, expected, tmp_path: Path) -> None:
    outcome = run(media.mp4(0.5, rotation=degrees), tmp_path, storyboard=False)
    assert (outcome.facts["width"], outcome.facts["height"]) == size
    assert outcome.facts["rotation"] == degrees
    for name in outcome.outputs:
        assert outcome.outputs[name][1:] == size
    first = frames(outcome)[0]
    assert first.rotation == 0
    for image in (picture(outcome, "poster.webp"), first.to_image()):
        assert_corners(image, expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((3840, 1600), (1280, 534)),
        ((1000, 1000), (720, 720)),
        ((321, 181), (320, 180)),
        ((64, 2000), (40, 1280)),
        ((1, 1), (2, 2)),
    ],
)
def test_sizes_of_the_film(size, expected) -> None:
    assert fitted(size, 720) == expected


@given(width=st.integers(2, 20_000), height=st.integers(2, 20_000))
def test_the_film_is_even_and_never_larger(width: int, height: int) -> None:
    w, h = fitted((width, height), 720)
    assert w % 2 == h % 2 == 0
    assert 2 <= w <= width
    assert 2 <= h <= height
    assert max(w, h) <= 1280
    assert min(w, h) <= 720


def test_a_large_video_is_made_smaller(tmp_path: Path) -> None:
    outcome = run(media.mp4(0.4, 1920, 1080), tmp_path, storyboard=False)
    assert outcome.outputs == {
        "poster.webp": ("image/webp", 1280, 720),
        "thumbnail.webp": ("image/webp", 320, 180),
        FILM: ("video/mp4", 1280, 720),
    }
    assert {(frame.width, frame.height) for frame in frames(outcome)} == {(1280, 720)}


@pytest.mark.parametrize("size", [(16, 16), (34, 2000)])
def test_odd_shapes(size, tmp_path: Path) -> None:
    outcome = run(media.mp4(0.2, *size, audio=False), tmp_path)
    assert outcome.outputs[FILM][1:] == fitted(size, 720)


def test_pixels_are_made_square(tmp_path: Path) -> None:
    outcome = run(media.squeezed_mp4(), tmp_path)
    assert (outcome.facts["width"], outcome.facts["height"]) == (320, 180)
    assert outcome.outputs[FILM][1:] == (320, 180)
    with film(outcome) as opened:
        assert opened.streams.video[0].sample_aspect_ratio in (None, 1)


def test_a_variable_frame_rate_is_kept(tmp_path: Path) -> None:
    outcome = run(media.mp4(2, uneven=True), tmp_path)
    moments = [round(float(frame.pts * frame.time_base), 3) for frame in frames(outcome)]
    assert moments == [n / 25 for n in range(50) if n % 3 != 1]


def test_interlaced_pictures_become_whole_ones(tmp_path: Path) -> None:
    """Lines in turn black and white, exchanged with every picture: combs, as on a bad screen."""
    made = frames(run(combed(), tmp_path))
    assert len(made) == pytest.approx(20, abs=1)
    column = made[10].to_image().convert("L").crop((160, 40, 161, 140)).tobytes()
    assert max(abs(a - b) for a, b in itertools.pairwise(column)) < 60


def combed() -> bytes:
    stripes = Image.new("L", (320, 180))
    stripes.putdata([255 * (y % 2) for y in range(180) for _ in range(320)])
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        video = target.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        video.options = {"preset": "ultrafast", "crf": "10", "x264-params": "tff=1"}
        for n in range(20):
            shifted = ImageChops.offset(stripes, 0, n % 2).convert("RGB")
            target.mux(video.encode(av.VideoFrame.from_image(shifted)))
        target.mux(video.encode(None))
    return out.getvalue()


def test_key_frames_are_chosen_anew(tmp_path: Path) -> None:
    """A source of nothing but key frames would else become a film of nothing but key frames."""
    data = media.video(2, container="avi", codec="mjpeg", audio_codec="mp2")
    outcome = run(data, tmp_path, "video/x-msvideo")
    assert sum(frame.key_frame for frame in frames(outcome)) <= 2


@pytest.mark.parametrize("kind", ["mp4", "mpeg ts", "mpeg"])
def test_the_film_begins_at_once(kind: str, tmp_path: Path) -> None:
    """MPEG streams start their clocks anywhere, here at 1.4 and 0.5 s."""
    content_type, data = KINDS[kind]
    first = frames(run(data, tmp_path, content_type))[0]
    assert first.pts * first.time_base < 0.1


def test_two_pictures_for_one_moment_are_one(tmp_path: Path) -> None:
    def doubled(packet: av.Packet, seconds: float) -> Fraction:
        del packet
        return Fraction(round(seconds * 25) // 2 * 2, 25)

    data = remuxed(media.video(1, container="matroska", audio=False), doubled)
    assert len(frames(run(data, tmp_path, "video/x-matroska"))) == 13


def test_hdr_looks_like_sdr(tmp_path: Path) -> None:
    """Unconverted, the colours are off by 80 and more."""
    outcome = run(media.mp4(0.2, hlg=True, audio=False), tmp_path)
    first = frames(outcome)[0]
    assert first.color_trc == 1
    for image in (picture(outcome, "poster.webp"), first.to_image()):
        assert_corners(image, media.CORNERS, within=55)


def test_the_poster_is_not_black(tmp_path: Path) -> None:
    outcome = run(media.mp4(3, black_s=1.2), tmp_path)
    assert_corners(picture(outcome, "poster.webp"), media.CORNERS)
    assert max(frames(outcome)[0].to_image().getpixel((10, 10))) < 20, "the film begins black"


def test_pictures_are_there_before_the_film(tmp_path: Path) -> None:
    order = run(media.mp4(3), tmp_path).order
    assert order.index("poster.webp") < order.index("thumbnail.webp")
    assert order.index("thumbnail.webp") < order.index("transcoding") < order.index(FILM)


def loud_moments(outcome: Outcome) -> tuple[list[float], float]:
    """When the film's sound is heard, and how long its sound is, in seconds."""
    loud, samples = [], 0
    with film(outcome) as opened:
        for frame in opened.decode(audio=0):
            samples += frame.samples
            if max(memoryview(frame.planes[0]).cast("B").cast("f")[: frame.samples]) > 0.05:
                loud.append(float(frame.pts * frame.time_base))
    return loud, samples / 48_000


def test_sound_that_starts_late_stays_in_place(tmp_path: Path) -> None:
    def late(packet: av.Packet, seconds: float) -> float:
        return seconds + (0.5 if packet.stream.type == "audio" else 0)

    data = remuxed(media.video(1, container="matroska"), late)
    loud, _ = loud_moments(run(data, tmp_path, "video/x-matroska"))
    assert loud[0] == pytest.approx(0.5, abs=0.06)


def test_a_gap_in_the_sound_becomes_silence(tmp_path: Path) -> None:
    def gap(packet: av.Packet, seconds: float) -> float | None:
        return None if packet.stream.type == "audio" and 0.5 < seconds < 1 else seconds

    data = remuxed(media.video(2, container="matroska"), gap)
    loud, length_s = loud_moments(run(data, tmp_path, "video/x-matroska"))
    assert length_s == pytest.approx(2, abs=0.1)
    assert not [moment for moment in loud if 0.6 < moment < 0.95]
    assert loud[-1] == pytest.approx(2, abs=0.1)


def remuxed(data: bytes, moved: Callable[[av.Packet, float], float | Fraction | None]) -> bytes:
    """The packets of a Matroska file at other moments (seconds), or left out."""
    out = io.BytesIO()
    with (
        av.open(io.BytesIO(data)) as source,
        av.open(out, "w", format="matroska") as target,
    ):
        copies = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            moment = moved(packet, float(packet.pts * packet.time_base))
            if moment is not None:
                packet.pts = packet.dts = round(moment / packet.time_base)
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return out.getvalue()


# --- broken and hostile files ------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 0.001, 0.3, 0.8, 0.999])
@pytest.mark.parametrize("kind", TELL_THEIR_SIZE)
def test_a_truncated_video_is_corrupt(kind: str, keep: float, tmp_path: Path) -> None:
    content_type, data = KINDS[kind]
    with pytest.raises(CorruptFile) as caught:
        run(media.truncated(data, keep), tmp_path, content_type)
    assert "pload it again" in caught.value.detail


@pytest.mark.parametrize("kind", ["mpeg ts", "flv", "wmv"])
def test_nearly_nothing_of_a_video_is_corrupt(kind: str, tmp_path: Path) -> None:
    content_type, data = KINDS[kind]
    with pytest.raises((CorruptFile, UnsupportedFile)):
        run(media.truncated(data, 0.001), tmp_path, content_type)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.floats(0, 0.99), length=st.integers(1, 3000))
def test_damage_is_survived_or_named(kind: str, start: float, length: int, tmp_path: Path) -> None:
    content_type, data = KINDS[kind]
    with contextlib.suppress(CorruptFile, UnsupportedFile, LimitExceeded):
        run(media.damaged(data, start=start, length=length), tmp_path, content_type)


def test_a_scratch_does_not_cost_the_film(tmp_path: Path) -> None:
    data = KINDS["mpeg ts"][1]
    outcome = run(media.damaged(data, start=0.5, length=600), tmp_path, "video/mp2t")
    assert len(frames(outcome)) > 40


def test_too_much_damage_is_corrupt(tmp_path: Path) -> None:
    """The first half plays, the second is gone, though every byte is there."""
    data = media.mp4(audio=False)
    middle, end = data.index(b"mdat") + len(data) // 2, data.index(b"moov") - 4
    with pytest.raises(CorruptFile, match="parts of this video are damaged"):
        run(data[:middle] + b"\xff" * (end - middle) + data[end:], tmp_path)


def test_ffmpeg_s_own_use_of_the_system_s_numbers_is_about_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CorruptFile), reading():
        raise av.error.OSError(errno.EIO, "as some demuxers say of a missing end")
    with pytest.raises(CorruptFile), reading():
        raise av.error.MemoryError(errno.ENOMEM, "a header that asks for the moon")
    monkeypatch.setattr("appliance.processors.videos.frames.FEW_FRAMES_BYTES", 1 << 50)
    with pytest.raises(MemoryError), reading():
        raise av.error.MemoryError(errno.ENOMEM, "no memory")


def test_sound_alone_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFile, match="no moving picture"):
        run(media.audio_only_mp4(), tmp_path)


def test_an_unknown_type_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFile, match="video/x-unknown"):
        run(media.mp4(), tmp_path, "video/x-unknown")


def test_an_unlisted_codec_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFile, match="snow"):
        run(media.video(0.2, container="matroska", codec="snow"), tmp_path, "video/x-matroska")


@pytest.mark.parametrize("content_type", ["video/mp4", "video/x-matroska", "video/x-msvideo"])
def test_a_playlist_is_not_followed(content_type: str, tmp_path: Path) -> None:
    playlist = b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n/etc/passwd\n#EXT-X-ENDLIST\n"
    with pytest.raises(CorruptFile):
        run(playlist, tmp_path, content_type)


def test_no_other_file_is_opened() -> None:
    with pytest.raises(UnsupportedFile, match="refers to another"):
        _refuse("file:/etc/passwd", 1, {})


def test_claims_beyond_the_limits(tmp_path: Path, monkeypatch) -> None:
    for name, limit in [
        ("MAX_VIDEO_DURATION_S", 1),
        ("MAX_VIDEO_PIXELS", 320 * 180 - 1),
        ("MAX_VIDEO_STREAMS", 1),
    ]:
        with monkeypatch.context() as patched:
            patched.setattr(limits, name, limit)
            with pytest.raises(LimitExceeded):
                run(media.mp4(), tmp_path)


def test_a_claimed_duration_of_years_is_refused(tmp_path: Path) -> None:
    content_type, data = KINDS["mkv"]
    at = data.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes, in milliseconds
    claim = data[:at] + struct.pack(">d", 1e12) + data[at + 8 :]
    with pytest.raises(LimitExceeded, match="1,000,000,000 seconds"):
        run(claim, tmp_path, content_type)


def test_timestamps_that_jump_are_refused(tmp_path: Path, monkeypatch) -> None:
    """The header says nothing (a live recording), the frames go on for ever."""
    monkeypatch.setattr(limits, "MAX_VIDEO_DURATION_S", 0.5)
    monkeypatch.setattr("appliance.processors.videos.footage._duration_s", lambda container: None)
    with pytest.raises(LimitExceeded, match="seconds"):
        run(media.mp4(), tmp_path)


class FailingDisk(io.BytesIO):
    """A file that is readable until `working` is cleared."""

    working = True

    def read(self, size: int | None = -1) -> bytes:
        if not self.working:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def test_a_failing_disk_is_not_the_video_s_fault() -> None:
    disk = FailingDisk(media.mp4(3, 640, 360))
    with opened(disk, "mov") as source:
        disk.working = False
        source.container.seek(0)
        with reading(), pytest.raises(OSError, match="Input/output error") as caught:
            list(source.frames())
    assert caught.value.errno == errno.EIO
    assert not isinstance(caught.value, CorruptFile)


@pytest.mark.parametrize("copy", ["auto", "never"])
def test_a_full_disk_is_not_the_video_s_fault(copy: str, tmp_path: Path) -> None:
    source, folder = tmp_path / "input", tmp_path / "output"
    source.write_bytes(media.mp4())
    folder.mkdir()
    (folder / FILM).symlink_to("/dev/full")
    asked = task(PROCESSOR, source, folder, "video/mp4", copy=copy)
    with pytest.raises(OSError, match="No space left") as caught:
        PROCESSOR.process(asked, Outcome(folder))
    assert caught.value.errno == errno.ENOSPC
    assert threading.active_count() == 1


# --- the parts ---------------------------------------------------------------------------


def test_ahead_gives_all_in_order() -> None:
    with ahead(iter(range(1000)), 3) as items:
        assert list(items) == list(range(1000))
    assert threading.active_count() == 1


def test_ahead_raises_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise CorruptFile("broken")

    with ahead(items(), 3) as made:
        assert next(made) == 1
        with pytest.raises(CorruptFile, match="broken"):
            next(made)
    assert threading.active_count() == 1


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_ahead_may_be_left_early(taken: int) -> None:
    endless = itertools.count()
    with ahead(endless, 2) as items:
        assert list(itertools.islice(items, taken)) == list(range(taken))
    assert threading.active_count() == 1
    assert next(endless) <= taken + 5, "it ran further ahead than it may"


@pytest.mark.parametrize(
    ("demuxer", "data", "cut_off"),
    [
        ("mov", b"", False),
        ("mov", struct.pack(">I", 16) + b"ftypisom" + bytes(4), False),
        ("mov", struct.pack(">I", 17) + b"ftypisom" + bytes(4), True),
        ("mov", struct.pack(">I", 1) + b"mdat" + struct.pack(">Q", 1 << 40), True),
        ("mov", struct.pack(">I", 0) + b"mdat" + bytes(99), False),
        ("mov", struct.pack(">I", 8) + b"free" + b"\xff" * 20, False),
        ("matroska", b"", False),
        ("matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff" + bytes(20), False),
        ("matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x94" + bytes(20), False),
        ("matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x95" + bytes(20), True),
        ("avi", b"RIFF" + struct.pack("<I", 20) + bytes(20), False),
        ("avi", b"RIFF" + struct.pack("<I", 21) + bytes(20), True),
        ("avi", b"RIFF" + bytes(24), False),
        ("flv", b"FLV", False),
    ],
)
def test_what_containers_say_of_their_size(demuxer: str, data: bytes, cut_off: bool) -> None:
    assert is_cut_off(io.BytesIO(data), demuxer) is cut_off


@given(data=st.binary(max_size=200), demuxer=st.sampled_from(["mov", "matroska", "avi"]))
def test_any_bytes_can_be_asked_for_their_size(data: bytes, demuxer: str) -> None:
    assert is_cut_off(io.BytesIO(data), demuxer) in (True, False)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x81", (1, 1)),
        (b"\x40\x02", (2, 2)),
        (b"\x01" + bytes(6) + b"\x09", (9, 8)),
        (b"\0", (0, 1)),
    ],
)
def test_ebml_sizes(data: bytes, expected: tuple[int, int]) -> None:
    assert _ebml_size(data) == expected


def test_warm_up_leaves_one_thread_and_loads_no_other_media() -> None:
    warm = after_warm_up("video")
    assert warm["threads"] == 1
    assert not {"pypdf", "pypdfium2", "pillow_heif", "aiohttp", "numpy"} & set(warm["modules"])
