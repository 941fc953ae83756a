"""What a preset can make of a video beside the usual: copies, streams, storyboards, previews."""

from __future__ import annotations

import io
import itertools
import re
import struct
from pathlib import Path

import av
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from appliance.errors import LimitExceeded
from appliance.processors import limits
from appliance.processors.protocol import Output
from appliance.processors.video import PROCESSOR, VideoOptions
from appliance.processors.videos import preview, remux
from appliance.processors.videos.remux import _is_framed
from appliance.processors.videos.renditions import Rendition, renditions
from appliance.processors.videos.storyboard import _clock
from appliance.workers.outputs import Bounds, check_outputs
from tests import media
from tests.processing import Outcome, process

FILM = "video-720p.mp4"


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


def run(data: bytes, tmp_path: Path, content_type: str = "video/mp4", **options: object) -> Outcome:
    return process(PROCESSOR, data, content_type, tmp_path, **options)


def pictures(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as opened:
        return list(opened.decode(video=0))


def packets(data: bytes | str, kind: str) -> list[bytes]:
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else data) as opened:
        track = opened.streams.best(kind)
        return [bytes(packet) for packet in opened.demux(track) if packet.size]


# --- copies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "container"),
    [("video/mp4", "mp4"), ("video/quicktime", "mov"), ("video/x-matroska", "matroska")],
)
def test_what_browsers_play_is_copied(content_type, container, tmp_path: Path) -> None:
    data = media.video(2, container=container)
    outcome = run(data, tmp_path, content_type)
    assert outcome.facts["videoCopied"] is True
    film = outcome.path(FILM)
    content = film.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat"), "the index is not in front"
    assert packets(str(film), "audio") == packets(data, "audio")
    with av.open(io.BytesIO(data)) as opened:
        before = [bytes(plane) for f in opened.decode(video=0) for plane in f.planes[:1]]
    assert [bytes(f.planes[0]) for f in pictures(film)] == before, "the pictures changed"
    assert outcome.outputs[FILM] == ("video/mp4", 320, 180)


def test_a_copy_has_no_metadata(tmp_path: Path) -> None:
    """Neither in the container nor in the messages of the stream, where x264 names itself."""
    data = media.mp4()
    assert b"x264 - core" in data
    outcome = run(data, tmp_path)
    assert outcome.facts["videoCopied"] is True
    content = outcome.path(FILM).read_bytes()
    for secret in (b"Secret", b"loci", b"x264 - core"):
        assert secret not in content


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_copy_keeps_its_turn(degrees: int, tmp_path: Path) -> None:
    outcome = run(media.mp4(0.5, rotation=degrees), tmp_path)
    assert outcome.facts["videoCopied"] is True
    size = (180, 320) if degrees != 180 else (320, 180)
    assert outcome.outputs[FILM][1:] == size
    assert round(-pictures(outcome.path(FILM))[0].rotation) % 360 == degrees


def test_sound_alone_is_encoded_where_pictures_fit(tmp_path: Path) -> None:
    data = media.video(2, container="matroska", audio_codec="libopus")
    outcome = run(data, tmp_path, "video/x-matroska")
    assert outcome.facts["videoCopied"] is True
    with av.open(str(outcome.path(FILM))) as opened:
        audio = opened.streams.audio[0]
        assert audio.codec_context.name == "aac"
        assert float(audio.duration * audio.time_base) == pytest.approx(2, abs=0.1)


def test_without_sound_a_copy_is_silent(tmp_path: Path) -> None:
    outcome = run(media.mp4(1, audio=False), tmp_path)
    assert outcome.facts["videoCopied"] is True
    with av.open(str(outcome.path(FILM))) as opened:
        assert not opened.streams.audio


def ten_bits() -> bytes:
    return media.mp4(0.4, hlg=True, audio=False)


@pytest.mark.parametrize(
    ("content_type", "made"),
    [
        ("video/mp4", lambda: media.mp4(0.4, 1920, 1080)),
        ("video/mp4", lambda: media.mp4(0.4, codec="libx265")),
        ("video/mp4", ten_bits),
        ("video/mp4", media.squeezed_mp4),
        ("video/mp2t", lambda: media.video(0.4, container="mpegts")),
        ("video/mp4", lambda: media.mp4(0.4, rate=120)),
    ],
    ids=["too large", "another codec", "HDR", "oblong pixels", "MPEG stream", "too many a second"],
)
def test_what_does_not_fit_is_encoded(content_type, made, tmp_path: Path) -> None:
    outcome = run(made(), tmp_path, content_type)
    assert outcome.facts["videoCopied"] is False
    assert outcome.path(FILM).stat().st_size > 0


def test_a_wasteful_video_is_encoded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(remux, "MAX_BIT_RATE", 10_000)
    assert run(media.mp4(), tmp_path).facts["videoCopied"] is False


def test_copying_can_be_turned_off(tmp_path: Path) -> None:
    assert run(media.mp4(), tmp_path, copy="never").facts["videoCopied"] is False


def test_a_damaged_video_is_not_copied(tmp_path: Path) -> None:
    """A scratch in a picture between key frames: the transcode tells of it."""
    data = media.mp4(audio=False)
    at = data.index(b"mdat") + len(data) // 2
    broken = data[:at] + b"\xff" * 400 + data[at + 400 :]
    outcome = run(broken, tmp_path)
    assert outcome.facts["videoCopied"] is False
    assert len(pictures(outcome.path(FILM))) > 40


@given(units=st.lists(st.binary(max_size=40), max_size=5), width=st.sampled_from([1, 2, 4]))
def test_framing(units: list[bytes], width: int) -> None:
    packet = b"".join(len(unit).to_bytes(width, "big") + unit for unit in units)
    assert _is_framed(packet, width) is True
    assert _is_framed(packet + b"\0" * (width + 3) + b"\1", width) is False


# --- streams -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Nine seconds in three sizes, of a source with key frames at other moments than ours."""
    data = media.mp4(9, 640, 360)
    folder = tmp_path_factory.mktemp("hls")
    return run(data, folder, mp4_heights=[], hls_heights=[1080, 360, 240, 144])


def test_a_stream_has_two_files_a_size_and_one_over_all(streamed: Outcome) -> None:
    names = [name for name in streamed.outputs if name.startswith("hls")]
    assert names == [
        *("hls-360p.mp4", "hls-360p.m3u8", "hls-240p.mp4", "hls-240p.m3u8"),
        *("hls-144p.mp4", "hls-144p.m3u8", "hls.m3u8"),
    ]
    assert streamed.outputs["hls-240p.mp4"] == ("video/mp4", 426, 240)
    reported = [Output(name, *about) for name, about in streamed.outputs.items()]
    assert len(check_outputs(streamed.folder, reported, Bounds())) == len(reported)


def test_the_master_playlist_tells_what_a_player_chooses_by(streamed: Outcome) -> None:
    lines = streamed.path("hls.m3u8").read_text().splitlines()
    assert lines[0] == "#EXTM3U"
    streams = [line for line in lines if line.startswith("#EXT-X-STREAM-INF:")]
    sizes = ["640x360", "426x240", "256x144"]
    for line, size in zip(streams, sizes, strict=True):
        assert f"RESOLUTION={size}" in line
        assert re.search(r'CODECS="avc1\.6400[0-9a-f]{2},mp4a\.40\.2"', line), line
        assert "FRAME-RATE=25.000" in line
        assert 10_000 < int(re.search(r"[:,]BANDWIDTH=(\d+)", line)[1]) < 3_000_000
    rates = [int(re.search(r"[:,]BANDWIDTH=(\d+)", line)[1]) for line in streams]
    assert rates == sorted(rates, reverse=True)
    assert [line for line in lines if not line.startswith("#")] == [
        "hls-360p.m3u8",
        "hls-240p.m3u8",
        "hls-144p.m3u8",
    ]


@pytest.mark.parametrize("stem", ["hls-360p", "hls-240p", "hls-144p"])
def test_segments_are_parts_of_one_file_and_begin_with_key_frames(stem, streamed: Outcome) -> None:
    playlist = streamed.path(f"{stem}.m3u8").read_text()
    assert "/" not in playlist
    content = streamed.path(f"{stem}.mp4").read_bytes()
    size, start = map(int, re.search(r'EXT-X-MAP:.*"(\d+)@(\d+)"', playlist).groups())
    head = content[start : start + size]
    lengths = [float(length) for length in re.findall(r"#EXTINF:([\d.]+)", playlist)]
    assert lengths == pytest.approx([4, 4, 1], abs=0.05)
    ranges = [tuple(map(int, pair)) for pair in re.findall(r"BYTERANGE:(\d+)@(\d+)", playlist)]
    for number, (size, start) in enumerate(ranges):
        segment = head + content[start : start + size]
        with av.open(io.BytesIO(segment), format="mov") as part:
            first = next(part.decode(video=0))
            assert first.key_frame
            assert float(first.pts * first.time_base) == pytest.approx(number * 4, abs=0.01)
            media_assert_corners(first.to_image())
        if number == 0:
            with av.open(io.BytesIO(segment), format="mov") as part:
                heard = next(part.decode(audio=0))
                assert float(heard.pts * heard.time_base) == pytest.approx(0, abs=0.01)


def media_assert_corners(shown: Image.Image) -> None:
    for at, want in zip(
        ((0.06, 0.06), (0.94, 0.06), (0.06, 0.94), (0.94, 0.94)), media.CORNERS, strict=True
    ):
        have = shown.getpixel((round(shown.width * at[0]), round(shown.height * at[1])))
        assert all(abs(a - b) <= 45 for a, b in zip(have, want, strict=True)), (at, have)


def test_a_player_that_knows_hls_plays_it(streamed: Outcome) -> None:
    """FFmpeg's own, from the master playlist."""
    with av.open(str(streamed.path("hls.m3u8"))) as opened:
        assert {(v.width, v.height) for v in opened.streams.video} == {
            (640, 360),
            (426, 240),
            (256, 144),
        }
        assert opened.duration / av.time_base == pytest.approx(9, abs=0.2)
        assert sum(1 for _ in opened.decode(video=0)) == 225


def test_a_silent_stream_claims_no_sound(tmp_path: Path) -> None:
    outcome = run(media.mp4(1, audio=False), tmp_path, mp4_heights=[], hls_heights=[144])
    assert "mp4a" not in outcome.path("hls.m3u8").read_text()


def test_a_turned_video_is_upright_in_every_size(tmp_path: Path) -> None:
    outcome = run(
        media.mp4(0.5, 640, 360, rotation=90), tmp_path, mp4_heights=[360, 240], copy="never"
    )
    shown = {name: pictures(outcome.path(name))[0] for name in outcome.outputs if "mp4" in name}
    assert {name: (f.width, f.height) for name, f in shown.items()} == {
        "video-360p.mp4": (360, 640),
        "video-240p.mp4": (240, 426),
    }
    r, g, b, _ = media.CORNERS
    for frame in shown.values():
        picture = frame.to_image()
        for at, want in (((0.06, 0.06), b), ((0.94, 0.06), r), ((0.94, 0.94), g)):
            have = picture.getpixel((int(picture.width * at[0]), int(picture.height * at[1])))
            assert all(abs(p - q) <= 45 for p, q in zip(have, want, strict=True))


def test_renditions_are_never_larger_and_never_alike() -> None:
    made = renditions((854, 480), mp4_heights=(720,), hls_heights=(1080, 720, 480, 360))
    assert made == [
        Rendition("video-720p", (854, 480), "mp4"),
        Rendition("hls-480p", (854, 480), "hls"),
        Rendition("hls-360p", (640, 360), "hls"),
    ]


# --- storyboard --------------------------------------------------------------------------


def cues(outcome: Outcome) -> list[tuple[str, str, tuple[int, ...]]]:
    text = outcome.path("storyboard.vtt").read_text()
    assert text.startswith("WEBVTT\n\n")
    found = re.findall(
        r"^(\S+) --> (\S+)\nstoryboard\.webp#xywh=(\d+),(\d+),(\d+),(\d+)$", text, re.MULTILINE
    )
    return [(start, end, tuple(map(int, box))) for start, end, *box in found]


def growing(seconds: int, key_every: int, container: str = "mp4") -> bytes:
    """Each second lighter than the one before, so that a tile tells of when it is."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as target:
        video = target.add_stream("libx264", rate=10, options={"sc_threshold": "0"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        video.gop_size = key_every
        for n in range(seconds * 10):
            shade = 20 + n // 10 * 10
            frame = av.VideoFrame.from_image(Image.new("RGB", (320, 180), (shade,) * 3))
            frame.pts = n
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
    return out.getvalue()


def shades(outcome: Outcome) -> list[int]:
    with Image.open(outcome.path("storyboard.webp")) as sheet:
        grey = sheet.convert("L")
    return [
        grey.getpixel((box[0] + box[2] // 2, box[1] + box[3] // 2)) for _, _, box in cues(outcome)
    ]


@pytest.mark.parametrize(
    ("key_every", "container", "content_type", "before"),
    [
        (10, "mp4", "video/mp4", True),
        (1000, "mp4", "video/mp4", False),
        (10, "mpegts", "video/mp2t", False),
    ],
    ids=["by its key frames", "with a single key frame", "without an index"],
)
def test_the_storyboard(key_every, container, content_type, before, tmp_path: Path) -> None:
    """A tile for each of twelve seconds, there before the film where key frames allow it."""
    outcome = run(growing(12, key_every, container), tmp_path, content_type, copy="never")
    found = cues(outcome)
    assert len(found) == 12
    assert found[0] == ("00:00:00.000", "00:00:01.000", (0, 0, 160, 90))
    assert [start for start, _, _ in found[1:]] == [end for _, end, _ in found[:-1]]
    assert found[11][2] == (160, 90, 160, 90)
    assert outcome.outputs["storyboard.webp"] == ("image/webp", 1600, 180)
    assert shades(outcome) == pytest.approx([20 + 10 * n for n in range(12)], abs=5)
    order = outcome.order
    assert (order.index("storyboard.vtt") < order.index("transcoding")) is before


def test_the_storyboard_is_bounded(tmp_path: Path) -> None:
    outcome = run(growing(12, 5), tmp_path, storyboard_tiles=4, storyboard_edge_px=64)
    assert outcome.outputs["storyboard.webp"] == ("image/webp", 4 * 64, 36)
    assert len(cues(outcome)) == 4
    assert shades(outcome) == pytest.approx([30, 60, 90, 120], abs=5)


def test_a_storyboard_can_be_left_out(tmp_path: Path) -> None:
    outcome = run(media.mp4(), tmp_path, storyboard=False)
    assert set(outcome.outputs) == {"poster.webp", "thumbnail.webp", FILM}


def test_moments_as_webvtt_writes_them() -> None:
    assert [_clock(at) for at in (0, 59.9996, 3723.456)] == [
        "00:00:00.000",
        "00:01:00.000",
        "01:02:03.456",
    ]


# --- preview -----------------------------------------------------------------------------


def test_the_preview_shows_several_moments(tmp_path: Path) -> None:
    outcome = run(growing(20, 10), tmp_path, preview=True, preview_edge_px=160)
    assert outcome.outputs["preview.webp"] == ("image/webp", 160, 90)
    with Image.open(outcome.path("preview.webp")) as shown:
        assert shown.is_animated
        assert shown.n_frames >= 4, "frames that are alike become one, of each scene one is left"
        greys = []
        for number in range(shown.n_frames):
            shown.seek(number)
            greys.append(shown.convert("L").getpixel((80, 45)))
    wanted = [20 + 10 * second for second in (2, 6, 10, 14)]
    assert [grey for grey, _ in itertools.groupby(greys)] == pytest.approx(wanted, abs=5)
    assert outcome.order.index("preview.webp") < outcome.order.index("copying")


def test_the_preview_of_a_clip_is_its_beginning(tmp_path: Path) -> None:
    outcome = run(media.mp4(2), tmp_path, preview=True)
    with Image.open(outcome.path("preview.webp")) as shown:
        assert shown.n_frames == preview.FRAME_RATE
        assert shown.info["loop"] == 0


def test_the_preview_is_bounded(tmp_path: Path, monkeypatch) -> None:
    large = run(media.mp4(2), tmp_path, preview=True).path("preview.webp").stat().st_size
    monkeypatch.setattr(preview, "MAX_BYTES", large * 0.8)
    small = run(media.mp4(2), tmp_path, preview=True).path("preview.webp").stat().st_size
    assert small <= large * 0.8


# --- options and limits ------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"mp4_height": [720]},
        {"mp4_heights": [10]},
        {"hls_heights": [720] * 7},
        {"crf": 0},
        {"audio_kbps": 1000},
        {"copy": "sometimes"},
        {"storyboard_tiles": 100_000},
        {"poster_edge_px": "large"},
    ],
)
def test_a_wrong_option_is_told(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, VideoOptions)


def test_pictures_alone_need_no_film(tmp_path: Path) -> None:
    outcome = run(media.mp4(), tmp_path, mp4_heights=[], poster_edge_px=100, thumbnail_edge_px=50)
    assert set(outcome.outputs) == {
        *("poster.webp", "thumbnail.webp", "storyboard.webp", "storyboard.vtt"),
    }
    assert outcome.outputs["poster.webp"][1:] == (100, 56)
    assert outcome.outputs["thumbnail.webp"][1:] == (50, 28)


def test_quality_is_the_owner_s(tmp_path: Path) -> None:
    sizes = [
        run(media.mp4(2, 640, 360), tmp_path, copy="never", crf=crf, audio_kbps=kbps)
        .path(FILM)
        .stat()
        .st_size
        for crf, kbps in ((20, 128), (32, 128), (32, 32))
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < sizes[0] * 0.7


def test_a_million_frames_a_second_are_not_encoded(tmp_path: Path) -> None:
    """The clock of an MP4 made a thousand times faster: two seconds claim to be 50 in 2 ms."""
    data = media.mp4(4, audio=False)
    at = data.index(b"mdhd") + 16
    (clock,) = struct.unpack(">I", data[at : at + 4])
    fast = data[:at] + struct.pack(">I", clock * 1000) + data[at + 4 :]
    outcome = run(fast, tmp_path)
    assert outcome.facts["frameRate"] > 1000
    assert outcome.facts["videoCopied"] is False
    assert len(pictures(outcome.path(FILM))) <= 2


def test_slow_motion_has_sixty_frames_a_second(tmp_path: Path) -> None:
    made = pictures(run(media.mp4(1, rate=120, audio=False), tmp_path).path(FILM))
    assert len(made) == pytest.approx(60, abs=1)
    gaps = [b.time - a.time for a, b in itertools.pairwise(made)]
    assert min(gaps) > 0.015


def test_more_frames_than_six_hours_have_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_VIDEO_PACKETS", 40)
    with pytest.raises(LimitExceeded, match="50 frames"):
        run(media.mp4(), tmp_path)
    with pytest.raises(LimitExceeded, match="41 packets"):
        run(media.video(container="mpegts"), tmp_path, "video/mp2t")


@pytest.mark.parametrize(
    "options", [{}, {"copy": "never"}, {"hls_heights": [144], "preview": True}]
)
def test_progress_never_goes_back(options, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("appliance.processors.pace.INTERVAL_S", 0.0)  # however fast this machine is
    outcome = run(media.mp4(3), tmp_path, **options)
    assert outcome.fractions[0] == 0
    assert outcome.fractions == sorted(outcome.fractions)
    assert len(set(outcome.fractions)) >= 4
