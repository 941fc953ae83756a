"""The image processor: what it makes of good, odd, broken and hostile pictures."""

from __future__ import annotations

import base64
import contextlib
import errno
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from appliance.errors import CorruptFile, LimitExceeded, UnsupportedFile
from appliance.processors import limits
from appliance.processors.faults import blaming_the_file
from appliance.processors.image import PROCESSOR
from appliance.processors.images import thumbhash
from appliance.processors.pictures import fitted
from tests import media
from tests.processing import Outcome, after_warm_up, process, task

RESULTS = ("web-2048.webp", "web-1280.webp", "thumbnail.webp")


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


def run(data: bytes, content_type: str, tmp_path: Path) -> Outcome:
    return process(PROCESSOR, data, content_type, tmp_path)


def opened(outcome: Outcome, name: str = "web-2048.webp") -> Image.Image:
    picture = Image.open(outcome.path(name), formats=["WEBP"])
    picture.load()
    return picture


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    """The colours near the four corners, from the top left by rows."""
    rgb = picture.convert("RGB")
    right, bottom = rgb.width * 15 // 16, rgb.height * 15 // 16
    left, top = rgb.width // 16, rgb.height // 16
    return [rgb.getpixel(at) for at in ((left, top), (right, top), (left, bottom), (right, bottom))]


def assert_corners(picture: Image.Image, expected: tuple[tuple[int, ...], ...], within=40) -> None:
    for got, want in zip(corners(picture), expected, strict=True):
        assert all(abs(a - b) <= within for a, b in zip(got, want, strict=True)), corners(picture)


# --- good pictures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "data", "format"),
    [
        ("image/jpeg", media.jpeg(), "jpeg"),
        ("image/jpeg", media.jpeg(progressive=True), "jpeg"),
        ("image/png", media.png(), "png"),
        ("image/webp", media.webp(), "webp"),
        ("image/gif", media.gif(640, 480), "gif"),
        ("image/tiff", media.tiff(), "tiff"),
        ("image/tiff", media.tiff(packing="tiff_lzw"), "tiff"),
        ("image/bmp", media.bmp(), "bmp"),
        ("image/avif", media.avif(640, 480), "avif"),
        ("image/heic", media.heic(640, 480), "heif"),
    ],
)
def test_every_format(content_type: str, data: bytes, format: str, tmp_path: Path) -> None:
    outcome = run(data, content_type, tmp_path)
    assert outcome.facts["format"] == format
    assert (outcome.facts["width"], outcome.facts["height"]) == (640, 480)
    assert outcome.facts["frames"] == 1
    assert outcome.facts["hasAlpha"] is False
    assert set(outcome.outputs) == set(RESULTS)
    for name in RESULTS:
        assert_corners(opened(outcome, name), media.CORNERS)
    assert outcome.steps[0] == "reading"
    assert outcome.fractions[-1] > 0.9


def test_results_fit_their_boxes(tmp_path: Path) -> None:
    outcome = run(media.jpeg(3000, 2000), "image/jpeg", tmp_path)
    assert outcome.outputs == {
        "web-2048.webp": ("image/webp", 2048, 1365),
        "web-1280.webp": ("image/webp", 1280, 853),
        "thumbnail.webp": ("image/webp", 320, 213),
    }
    for name, (_, width, height) in outcome.outputs.items():
        assert opened(outcome, name).size == (width, height)
    assert (outcome.facts["width"], outcome.facts["height"]) == (3000, 2000)


def test_a_small_picture_is_never_enlarged(tmp_path: Path) -> None:
    outcome = run(media.png(200, 100), "image/png", tmp_path)
    assert {(w, h) for _, w, h in outcome.outputs.values()} == {(200, 100)}


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_extreme_shapes(size: tuple[int, int], tmp_path: Path) -> None:
    outcome = run(media.png(*size), "image/png", tmp_path)
    assert max(opened(outcome, "thumbnail.webp").size) == min(320, max(size))
    assert min(opened(outcome, "thumbnail.webp").size) == 1


def test_a_large_jpeg_is_decoded_small_and_described_whole(tmp_path: Path) -> None:
    outcome = run(media.jpeg(4400, 3300), "image/jpeg", tmp_path)
    assert (outcome.facts["width"], outcome.facts["height"]) == (4400, 3300)
    assert opened(outcome).size == (2048, 1536)
    assert_corners(opened(outcome), media.CORNERS)


def test_a_jpeg_beyond_the_limit_is_decoded_small_enough(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_DECODED_PIXELS", 4_000_000)
    outcome = run(media.jpeg(4400, 3300), "image/jpeg", tmp_path)
    assert outcome.facts["width"] * outcome.facts["height"] == 14_520_000


R, G, B, Y = media.CORNERS
SHOWN = {
    1: (R, G, B, Y),
    2: (G, R, Y, B),
    3: (Y, B, G, R),
    4: (B, Y, R, G),
    5: (R, B, G, Y),
    6: (B, R, Y, G),
    7: (Y, G, B, R),
    8: (G, Y, R, B),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    outcome = run(media.jpeg(orientation=orientation), "image/jpeg", tmp_path)
    size = (640, 480) if orientation < 5 else (480, 640)
    assert (outcome.facts["width"], outcome.facts["height"]) == size
    for name in RESULTS:
        assert_corners(opened(outcome, name), SHOWN[orientation])
        assert opened(outcome, name).getexif().get(0x0112) is None


@pytest.mark.parametrize(
    ("content_type", "make"), [("image/heic", media.heic), ("image/avif", media.avif)]
)
def test_the_container_s_own_turn_is_applied_once(content_type, make, tmp_path: Path) -> None:
    outcome = run(make(orientation=6), content_type, tmp_path)
    assert (outcome.facts["width"], outcome.facts["height"]) == (240, 320)
    assert_corners(opened(outcome), SHOWN[6])


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/jpeg", media.jpeg(gps=True, profile=media.swapped_profile())),
        ("image/heic", media.heic(gps=True)),
    ],
)
def test_no_metadata_in_the_results(content_type: str, data: bytes, tmp_path: Path) -> None:
    assert b"Example Cameras" in data
    outcome = run(data, content_type, tmp_path)
    for name in RESULTS:
        content = outcome.path(name).read_bytes()
        for secret in (b"Example Cameras", b"Exif", b"EXIF", b"XMP", b"Secret", b"ICCP"):
            assert secret not in content
        assert opened(outcome, name).getexif() == {}


# --- colours -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_png_modes_keep_their_looks(mode: str, tmp_path: Path) -> None:
    outcome = run(media.png(mode=mode), "image/png", tmp_path)
    assert outcome.facts["mode"] == mode
    grey = mode in ("1", "L", "I;16")
    as_grey = tuple((v, v, v) for v in (82, 129, 58, 201))
    if mode != "1":  # dots of black and white
        assert_corners(opened(outcome), as_grey if grey else media.CORNERS)
    assert opened(outcome).mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "CMYK", "LAB", "I;16", "F"])
def test_tiff_modes_keep_their_looks(mode: str, tmp_path: Path) -> None:
    outcome = run(media.tiff(mode=mode), "image/tiff", tmp_path)
    as_grey = tuple((v, v, v) for v in (82, 129, 58, 201))
    expected = as_grey if mode in ("L", "I;16", "F") else media.CORNERS
    assert_corners(opened(outcome), expected, within=48)


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_deep_pictures_are_made_smaller(mode: str, tmp_path: Path) -> None:
    outcome = run(media.tiff(2560, 320, mode=mode), "image/tiff", tmp_path)
    assert opened(outcome).size == (2048, 256)
    assert_corners(opened(outcome), tuple((v, v, v) for v in (82, 129, 58, 201)))


def test_sixteen_bits_a_channel(tmp_path: Path) -> None:
    outcome = run(media.png_16bit_rgb(), "image/png", tmp_path)
    assert_corners(opened(outcome), media.CORNERS)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    outcome = run(media.jpeg(mode="CMYK"), "image/jpeg", tmp_path)
    assert outcome.facts["mode"] == "CMYK"
    assert_corners(opened(outcome), media.CORNERS)


def test_an_icc_profile_is_applied(tmp_path: Path) -> None:
    outcome = run(media.jpeg(profile=media.swapped_profile()), "image/jpeg", tmp_path)
    swapped = tuple((b, g, r) for r, g, b in media.CORNERS)
    assert_corners(opened(outcome), swapped)


@pytest.mark.parametrize("profile", [b"nonsense", media.swapped_profile()[:300], b"x" * 5_000_000])
def test_a_broken_icc_profile_is_ignored(profile: bytes, tmp_path: Path) -> None:
    outcome = run(media.jpeg(profile=profile), "image/jpeg", tmp_path)
    assert_corners(opened(outcome), media.CORNERS)


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/png", media.png(mode="RGBA")),
        ("image/png", media.png(mode="LA")),
        ("image/webp", media.webp(mode="RGBA", lossless=True)),
        ("image/avif", media.avif(mode="RGBA")),
        ("image/tiff", media.tiff(mode="RGBA")),
    ],
)
def test_transparency_is_kept(content_type: str, data: bytes, tmp_path: Path) -> None:
    outcome = run(data, content_type, tmp_path)
    assert outcome.facts["hasAlpha"] is True
    for name in RESULTS:
        picture = opened(outcome, name)
        assert picture.mode == "RGBA"
        assert picture.getpixel((picture.width // 2, picture.height // 2))[3] == 0
        assert picture.getpixel((2, 2))[3] == 255


def test_a_transparent_palette_entry_is_kept(tmp_path: Path) -> None:
    picture = media.photo(320, 240, "P")
    out = BytesIO()
    picture.save(out, "GIF", transparency=picture.getpixel((160, 120)))
    outcome = run(out.getvalue(), "image/gif", tmp_path)
    assert outcome.facts["hasAlpha"] is True
    assert opened(outcome).getpixel((160, 120))[3] < 128


def test_an_opaque_alpha_channel_is_dropped_from_the_results(tmp_path: Path) -> None:
    out = BytesIO()
    media.photo(64, 64).convert("RGBA").save(out, "PNG")
    outcome = run(out.getvalue(), "image/png", tmp_path)
    assert outcome.facts["hasAlpha"] is True
    assert opened(outcome).mode == "RGB"


def test_the_first_frame_of_an_animation_is_shown(tmp_path: Path) -> None:
    outcome = run(media.gif(frames=4), "image/gif", tmp_path)
    assert outcome.facts["frames"] == 4
    assert_corners(opened(outcome), media.CORNERS)


def test_the_pages_of_a_tiff_are_counted(tmp_path: Path) -> None:
    outcome = run(media.tiff(64, 48, pages=3), "image/tiff", tmp_path)
    assert outcome.facts["frames"] == 3
    assert_corners(opened(outcome), media.CORNERS)


def test_a_jpeg_with_a_second_picture_inside_is_a_jpeg(tmp_path: Path) -> None:
    out, photo = BytesIO(), media.photo(640, 480)
    photo.save(out, "MPO", save_all=True, append_images=[photo.rotate(180)])
    outcome = run(out.getvalue(), "image/jpeg", tmp_path)
    assert (outcome.facts["format"], outcome.facts["frames"]) == ("jpeg", 1)
    assert_corners(opened(outcome), media.CORNERS)


# --- impression --------------------------------------------------------------------------


def test_the_dominant_colour(tmp_path: Path) -> None:
    out = BytesIO()
    picture = Image.new("RGB", (200, 100), (200, 30, 60))
    picture.paste((0, 0, 255), (0, 0, 90, 100))
    picture.save(out, "PNG")
    assert run(out.getvalue(), "image/png", tmp_path).facts["dominantColor"] == "#c81838"


def test_clear_pixels_have_no_colour(tmp_path: Path) -> None:
    out = BytesIO()
    picture = Image.new("RGBA", (200, 100), (200, 30, 60, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 40, 100))
    picture.save(out, "PNG")
    assert run(out.getvalue(), "image/png", tmp_path).facts["dominantColor"] == "#0808f8"


def test_the_thumbhash_tells_shape_and_mean_colour(tmp_path: Path) -> None:
    out = BytesIO()
    Image.new("RGB", (200, 100), (204, 102, 51)).save(out, "PNG")
    packed = base64.b64decode(run(out.getvalue(), "image/png", tmp_path).facts["thumbhash"])
    head = int.from_bytes(packed[:5], "little")
    light = (head & 63) / 63
    p = (head >> 6 & 63) / 31.5 - 1
    q = (head >> 12 & 63) / 31.5 - 1
    blue = light - 2 / 3 * p
    red = (3 * light - blue + q) / 2
    assert [round(v, 1) for v in (red, red - q, blue)] == [0.8, 0.4, 0.2]
    assert head >> 23 & 1 == 0, "no alpha"
    assert head >> 39 == 1, "landscape"
    assert head >> 24 & 7 == 4, "half as high as the seven waves across"


def ripples(width: int, height: int, *, clear_from: int) -> bytes:
    return bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (
            (x * x + 5 * y) % 256,
            (y * y + x * y) % 256,
            (3 * x + 7 * y + 40) % 256,
            255 * (x + 2 * y < clear_from),
        )
    )


@pytest.mark.parametrize(
    ("clear_from", "expected"),
    [
        (119, "df160a1588447598407888938768879696ef5bd4f6"),
        (33, "5827860c8846357534643036874007337ccf88f87998666808"),
    ],
)
def test_the_thumbhash_of_a_known_picture(clear_from: int, expected: str) -> None:
    """The bytes that the author's JavaScript (npm thumbhash 0.1.1) makes of the same pixels."""
    assert thumbhash.encode(32, 24, ripples(32, 24, clear_from=clear_from)).hex() == expected


def test_the_thumbhash_refuses_large_pictures() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        thumbhash.encode(101, 1, bytes(404))


# --- broken and hostile files ------------------------------------------------------------

KINDS = [
    ("image/jpeg", media.jpeg()),
    ("image/png", media.png()),
    ("image/webp", media.webp()),
    ("image/gif", media.gif()),
    ("image/tiff", media.tiff()),
    ("image/tiff", media.tiff(packing="tiff_lzw")),
    ("image/bmp", media.bmp()),
    ("image/avif", media.avif()),
    ("image/heic", media.heic()),
]


@pytest.mark.parametrize("keep", [0, 0.0002, 0.01, 0.5, 0.97])
@pytest.mark.parametrize(("content_type", "data"), KINDS)
def test_a_truncated_picture_is_corrupt(content_type, data, keep, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile) as caught:
        run(media.truncated(data, keep), content_type, tmp_path)
    assert "damaged or incomplete" in caught.value.detail
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(("content_type", "data"), KINDS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.floats(0, 0.99), length=st.integers(1, 400))
def test_damage_is_survived_or_named(content_type, data, start, length, tmp_path: Path) -> None:
    """Wrong bytes in the middle: a result or a verdict, nothing else."""
    with contextlib.suppress(CorruptFile, UnsupportedFile, LimitExceeded):
        run(media.damaged(data, start=start, length=length), content_type, tmp_path)


@pytest.mark.parametrize("content_type", sorted({kind for kind, _ in KINDS}))
def test_another_kind_of_file_is_not_guessed(content_type: str, tmp_path: Path) -> None:
    other = media.png() if content_type != "image/png" else media.gif()
    with pytest.raises(CorruptFile):
        run(other, content_type, tmp_path)


def test_an_unknown_type_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFile, match="image/x-unknown"):
        run(media.png(), "image/x-unknown", tmp_path)


def test_a_claim_of_too_many_pixels_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="2,500,000,000 pixels"):
        run(media.png_header_bomb(), "image/png", tmp_path)


def test_too_many_pixels_to_decode_are_refused(tmp_path: Path) -> None:
    bomb = media.png_header_bomb(12_000, 12_000)
    with pytest.raises(LimitExceeded, match="144,000,000 pixels"):
        run(bomb, "image/png", tmp_path)


def test_a_file_too_large_to_hold_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGE_BYTES", 1000)
    with pytest.raises(LimitExceeded, match="up to 1,000 bytes"):
        run(media.jpeg(), "image/jpeg", tmp_path)


def test_a_tiff_of_too_many_pages_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGE_FRAMES", 2)
    with pytest.raises(LimitExceeded, match="more than 2 pages"):
        run(media.tiff(64, 48, pages=4), "image/tiff", tmp_path)


def test_broken_exif_is_dropped(tmp_path: Path) -> None:
    data = (
        media.jpeg(orientation=6)
        .replace(b"Exif\0\0MM", b"Exif\0\0XX")
        .replace(b"Exif\0\0II", b"Exif\0\0XX")
    )
    outcome = run(data, "image/jpeg", tmp_path)
    assert_corners(opened(outcome), media.CORNERS)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), MemoryError()])
def test_the_surroundings_faults_are_not_the_file_s(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, blaming_the_file("picture"):
        raise error
    assert caught.value is error


def test_a_full_disk_is_not_the_picture_s_fault(tmp_path: Path) -> None:
    source, folder = tmp_path / "input", tmp_path / "output"
    source.write_bytes(media.jpeg())
    folder.mkdir()
    (folder / "web-2048.webp").symlink_to("/dev/full")
    asked = task(PROCESSOR, source, folder, "image/jpeg")
    with pytest.raises(OSError, match="No space left") as caught:
        PROCESSOR.process(asked, Outcome(folder))
    assert caught.value.errno == errno.ENOSPC


# --- sizes, warm-up ----------------------------------------------------------------------


@given(width=st.integers(1, 70_000), height=st.integers(1, 70_000), edge=st.integers(1, 4096))
def test_fitted_sizes(width: int, height: int, edge: int) -> None:
    w, h = fitted((width, height), edge)
    assert 1 <= w <= min(edge, width)
    assert 1 <= h <= min(edge, height)
    if max(width, height) > edge:
        assert max(w, h) == edge


def test_warm_up_leaves_one_thread_and_loads_no_other_media() -> None:
    warm = after_warm_up("image")
    assert warm["threads"] == 1
    assert not {"av", "pypdf", "pypdfium2", "aiohttp", "numpy"} & set(warm["modules"])
