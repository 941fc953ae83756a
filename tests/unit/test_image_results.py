"""What a preset's `[image]` may ask for: sizes, focus, formats, quality, colours, animation."""

from __future__ import annotations

import re
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageFilter

from appliance.errors import CorruptFile, LimitExceeded
from appliance.processors import limits
from appliance.processors.image import PROCESSOR
from appliance.processors.images.geometry import place, sufficient, window
from appliance.processors.images.options import ImageOptions, ImageResult
from appliance.processors.images.similarity import ssim
from tests import media
from tests import telling_pictures as telling
from tests.processing import Outcome, process

R, G, B, Y = media.CORNERS


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


def run(data: bytes, content_type: str, tmp_path: Path, **options: Any) -> Outcome:
    return process(PROCESSOR, data, content_type, tmp_path, **options)


def one(data: bytes, content_type: str, tmp_path: Path, **result: Any) -> Image.Image:
    """The only result, of a preset that asks for it."""
    outcome = run(data, content_type, tmp_path, results=[{"name": "it", **result}])
    [name] = outcome.outputs
    picture: Image.Image = opened(outcome, name)
    picture.load()
    assert outcome.outputs[name][1:] == picture.size
    return picture


def opened(outcome: Outcome, name: str) -> Any:
    return Image.open(BytesIO(outcome.path(name).read_bytes()))


def near(got: tuple[int, ...], want: tuple[int, ...], within: int = 40) -> bool:
    return all(abs(a - b) <= within for a, b in zip(got[:3], want[:3], strict=True))


def saved(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


# --- what a preset may say ---------------------------------------------------------------


def test_an_empty_table_is_the_default_preset() -> None:
    preset = tomllib.loads(Path("appliance/presets/default.toml").read_text(encoding="utf-8"))
    assert msgspec.convert(preset["image"], ImageOptions) == ImageOptions()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"colors": "srgb"}, "unknown field `colors`"),
        ({"metadata": "some"}, "Invalid enum value 'some'"),
        ({"results": []}, "length >= 1"),
        ({"results": [{"width": 10}]}, "missing required field `name`"),
        ({"results": [{"name": "../x"}]}, "matching regex"),
        ({"results": [{"name": "x\n"}]}, "matching regex"),
        ({"results": [{"name": "x"}, {"name": "x"}]}, "two results are named 'x'"),
        ({"results": [{"name": "x", "width": 0}]}, "`int` >= 1"),
        ({"results": [{"name": "x", "width": 20_000}]}, "`int` <= 16383"),
        ({"results": [{"name": "x", "fit": "crop"}]}, "Invalid enum value 'crop'"),
        ({"results": [{"name": "x", "focus": [0.5, 1.5]}]}, "`float` <= 1"),
        ({"results": [{"name": "x", "background": "white"}]}, "matching regex"),
        ({"results": [{"name": "x", "quality": 5, "similarity": 0.9}]}, "give one of quality"),
        ({"results": [{"name": "x", "format": "png", "quality": 5}]}, "lossless picture has no"),
        ({"results": [{"name": "x", "format": "jpeg", "lossless": True}]}, "lossless is for"),
    ],
)
def test_a_mistake_in_a_preset_is_told(table: dict[str, Any], told: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=told):
        msgspec.convert(table, ImageOptions)


# --- sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "size"),
    [
        ({}, (640, 480)),
        ({"width": 320}, (320, 240)),
        ({"height": 120}, (160, 120)),
        ({"width": 300, "height": 300}, (300, 225)),
        ({"width": 300, "height": 300, "fit": "outside"}, (400, 300)),
        ({"width": 300, "height": 300, "fit": "cover"}, (300, 300)),
        ({"width": 300, "height": 300, "fit": "contain"}, (300, 300)),
        ({"width": 300, "height": 300, "fit": "fill"}, (300, 300)),
        ({"width": 300, "fit": "fill"}, (300, 225)),
        ({"width": 1280}, (640, 480)),
        ({"width": 1280, "enlarge": True}, (1280, 960)),
        ({"width": 1000, "height": 1000, "fit": "cover"}, (480, 480)),
        ({"width": 1000, "height": 1000, "fit": "cover", "enlarge": True}, (1000, 1000)),
        ({"width": 1000, "height": 1000, "fit": "contain"}, (1000, 1000)),
        ({"width": 1000, "height": 1000, "fit": "fill"}, (640, 480)),
    ],
)
def test_sizes(wish: dict[str, Any], size: tuple[int, int], tmp_path: Path) -> None:
    assert one(media.jpeg(), "image/jpeg", tmp_path, **wish).size == size


@given(
    picture=st.tuples(st.integers(1, 70_000), st.integers(1, 70_000)),
    width=st.none() | st.integers(1, 8_000),
    height=st.none() | st.integers(1, 8_000),
    fit=st.sampled_from(["inside", "outside", "cover", "contain", "fill"]),
    enlarge=st.booleans(),
    focus=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_every_size_can_be_made(picture, width, height, fit, enlarge, focus) -> None:
    result = ImageResult("x", width=width, height=height, fit=fit, enlarge=enlarge)
    try:
        placement = place(picture, result)
    except LimitExceeded:
        return
    for axis, box in ((0, width), (1, height)):
        full, shown, canvas = placement.full[axis], placement.shown[axis], placement.canvas[axis]
        assert 1 <= shown <= full <= limits.MAX_RESULT_SIDE_PX
        assert shown <= canvas
        if not enlarge:
            assert full <= picture[axis]
        if box is not None and fit in ("inside", "cover", "contain", "fill"):
            assert shown <= box
        if box is not None and fit == "contain":
            assert canvas == box
    base = sufficient(picture, [placement])
    assert all(1 <= side <= whole for side, whole in zip(base, picture, strict=True))
    left, top = window(placement.full, placement.shown, focus)
    assert 0 <= left <= placement.full[0] - placement.shown[0]
    assert 0 <= top <= placement.full[1] - placement.shown[1]


def test_a_result_too_large_to_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="result it is 268,402,689 pixels"):
        one(
            media.png(4, 4),
            "image/png",
            tmp_path,
            width=16_383,
            height=16_383,
            fit="fill",
            enlarge=True,
        )


@pytest.mark.parametrize("orientation", [1, 6])
def test_boxes_are_those_of_the_upright_picture(orientation: int, tmp_path: Path) -> None:
    picture = one(
        media.jpeg(3000, 2000, orientation=orientation), "image/jpeg", tmp_path, width=500
    )
    assert picture.size == ((500, 333) if orientation == 1 else (500, 750))


def test_the_thumbnail_is_there_before_the_rest(tmp_path: Path) -> None:
    outcome = run(media.jpeg(3000, 2000), "image/jpeg", tmp_path)
    assert list(outcome.outputs) == ["thumbnail.webp", "web-2048.webp", "web-1280.webp"]


# --- what is cut, what is added ------------------------------------------------------------


@pytest.mark.parametrize(
    ("focus", "left", "right"),
    [
        ("left", R, None),
        ("right", None, G),
        ("top-right", None, G),
        ([0.0, 0.0], R, None),
        ([1.0, 0.5], None, G),
        ("center", None, None),
    ],
)
def test_a_crop_keeps_its_focus(focus, left, right, tmp_path: Path) -> None:
    picture = one(
        media.jpeg(600, 300),
        "image/jpeg",
        tmp_path,
        width=100,
        height=100,
        fit="cover",
        focus=focus,
    ).convert("RGB")
    assert near(picture.getpixel((5, 5)), R) == (left is not None)
    assert near(picture.getpixel((94, 5)), G) == (right is not None)


def scene(at: int) -> bytes:
    """A dull ground with a busy, colourful patch whose middle is `at` px from the left."""
    picture = Image.new("RGB", (900, 300), (120, 122, 125))
    draw = ImageDraw.Draw(picture)
    for ring in range(12):
        colour = ((230, 60, 50), (250, 220, 60), (40, 90, 220))[ring % 3]
        edge = 120 - 10 * ring
        draw.ellipse((at - edge, 150 - edge, at + edge, 150 + edge), fill=colour)
    return saved(picture)


@pytest.mark.parametrize("focus", ["attention", "entropy"])
@pytest.mark.parametrize("at", [130, 450, 770])
def test_a_crop_finds_what_there_is_to_see(focus: str, at: int, tmp_path: Path) -> None:
    picture = one(
        scene(at), "image/png", tmp_path, width=300, height=300, fit="cover", focus=focus
    ).convert("RGB")
    seen = sum(
        not near(picture.getpixel((x, y)), (120, 122, 125), 16)
        for x in range(0, 300, 10)
        for y in range(0, 300, 10)
    )
    assert seen > 0.85 * 3.14 * 12**2


@pytest.mark.parametrize(
    ("source", "background", "margin", "middle"),
    [
        (media.jpeg(600, 300), "#102030", (16, 32, 48, 255), None),
        (media.jpeg(600, 300), "#10203000", (16, 32, 48, 0), None),
        (media.png(600, 300, mode="RGBA"), "#102030", (16, 32, 48, 255), (16, 32, 48, 255)),
    ],
)
def test_margins(source, background, margin, middle, tmp_path: Path) -> None:
    kind = "image/png" if source[:4] == b"\x89PNG" else "image/jpeg"
    picture = one(
        source,
        kind,
        tmp_path,
        width=200,
        height=200,
        fit="contain",
        background=background,
        format="png",
    ).convert("RGBA")
    assert picture.getpixel((100, 10)) == margin
    assert near(picture.getpixel((5, 60)), R)
    if middle is not None:
        assert picture.getpixel((100, 100)) == middle


@pytest.mark.parametrize(
    "wish", [{"format": "jpeg"}, {"format": "webp", "transparency": "flatten"}]
)
def test_what_is_clear_gets_a_ground(wish: dict[str, Any], tmp_path: Path) -> None:
    picture = one(
        media.png(mode="RGBA"), "image/png", tmp_path, width=200, background="#ff00ff", **wish
    )
    assert picture.mode == "RGB"
    assert near(picture.getpixel((100, 75)), (255, 0, 255), 16)


@pytest.mark.parametrize("format", ["webp", "avif", "png"])
def test_transparency_is_kept(format: str, tmp_path: Path) -> None:
    picture = one(media.png(mode="RGBA"), "image/png", tmp_path, width=200, format=format)
    assert picture.mode == "RGBA"
    assert picture.getpixel((100, 75))[3] == 0
    assert picture.getpixel((5, 5))[3] == 255


# --- formats and quality -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "name", "kind"),
    [
        ("webp", "it.webp", "image/webp"),
        ("jpeg", "it.jpg", "image/jpeg"),
        ("avif", "it.avif", "image/avif"),
        ("png", "it.png", "image/png"),
    ],
)
@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("image/jpeg", media.jpeg()),
        ("image/jpeg", media.jpeg(mode="CMYK")),
        ("image/png", media.png(mode="L")),
        ("image/gif", media.gif()),
        ("image/tiff", media.tiff(mode="LAB")),
    ],
)
def test_every_format_out(content_type, data, format, name, kind, tmp_path: Path) -> None:
    outcome = run(
        data, content_type, tmp_path, results=[{"name": "it", "width": 320, "format": format}]
    )
    assert outcome.outputs == {name: (kind, 320, 240)}
    with opened(outcome, name) as picture:
        assert picture.format == format.upper()
        original = Image.open(BytesIO(data)).convert("RGB").resize((320, 240))
        assert ssim(original, picture.convert("RGB")) > 0.85


@pytest.mark.parametrize(
    ("content_type", "data", "name"),
    [
        ("image/jpeg", media.jpeg(), "it.jpg"),
        ("image/png", media.png(), "it.png"),
        ("image/webp", media.webp(), "it.webp"),
        ("image/avif", media.avif(), "it.avif"),
        ("image/heic", media.heic(), "it.jpg"),
        ("image/gif", media.gif(), "it.png"),
        ("image/tiff", media.tiff(), "it.png"),
    ],
)
def test_a_format_like_the_original_s(content_type, data, name, tmp_path: Path) -> None:
    results = [{"name": "it", "width": 64, "format": "original", "quality": 70}]
    assert list(run(data, content_type, tmp_path, results=results).outputs) == [name]


def test_lossless_is_lossless(tmp_path: Path) -> None:
    picture = one(media.png(), "image/png", tmp_path, lossless=True)
    assert picture.tobytes() == media.photo(640, 480).tobytes()


@pytest.mark.parametrize("format", ["webp", "jpeg", "avif"])
def test_a_goal_for_the_size_of_the_file(format: str, tmp_path: Path) -> None:
    wish = {"name": "it", "width": 320, "format": format}
    sizes = [
        run(media.jpeg(), "image/jpeg", tmp_path, results=[wish | goal])
        .path(f"it{ {'jpeg': '.jpg'}.get(format, '.' + format) }".replace(" ", ""))
        .stat()
        .st_size
        for goal in ({"quality": 90}, {"target_bytes": 9_000}, {"target_bytes": 1024})
    ]
    assert 7_000 < sizes[1] <= 9_000 < sizes[0]
    assert sizes[2] < sizes[1], "the lowest quality, where the goal is out of reach"


def test_a_goal_for_the_likeness(tmp_path: Path) -> None:
    original = media.photo(640, 480)
    found = []
    for similarity in (0.9, 0.95, 0.98):
        picture = one(media.png(), "image/png", tmp_path, similarity=similarity)
        found.append(ssim(original, picture))
        assert similarity <= found[-1] < similarity + 0.01
    assert found == sorted(found)


def test_pictures_that_look_alike_are_similar() -> None:
    photo = media.photo(640, 480)
    assert ssim(photo, photo) == pytest.approx(1)
    blurred = [ssim(photo, photo.filter(ImageFilter.GaussianBlur(by))) for by in (1, 2, 4)]
    assert blurred == sorted(blurred, reverse=True)
    assert blurred[-1] < 0.9
    assert ssim(photo, photo.rotate(180)) < 0.7


# --- colours -----------------------------------------------------------------------------


def test_colours_are_kept_with_their_profile(tmp_path: Path) -> None:
    data = media.jpeg(profile=media.swapped_profile())
    outcome = run(data, "image/jpeg", tmp_path, colour="keep")
    picture = opened(outcome, "thumbnail.webp")
    assert near(picture.convert("RGB").getpixel((5, 5)), R), "as stored"
    profile = ImageCms.ImageCmsProfile(BytesIO(picture.info["icc_profile"]))
    shown = ImageCms.profileToProfile(
        picture.convert("RGB"), profile, ImageCms.createProfile("sRGB")
    )
    assert near(shown.getpixel((5, 5)), R[::-1]), "as shown"
    assert outcome.facts["dominantColor"] != "#000000"


def test_kept_profiles_tell_colours_and_nothing_else(tmp_path: Path) -> None:
    profile = media.swapped_profile()
    assert b"s\0W\0A\0P" in profile
    outcome = run(media.jpeg(profile=profile), "image/jpeg", tmp_path, colour="keep")
    kept = opened(outcome, "thumbnail.webp").info["icc_profile"]
    assert b"s\0W\0A\0P" not in kept
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(kept))).strip() == "Kept"


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_colours_that_no_result_can_keep_become_srgb(mode: str, tmp_path: Path) -> None:
    outcome = run(media.jpeg(mode=mode), "image/jpeg", tmp_path, colour="keep")
    picture = opened(outcome, "thumbnail.webp")
    assert "icc_profile" not in picture.info
    assert mode == "L" or near(picture.convert("RGB").getpixel((5, 5)), R)


def test_the_colours_of_a_picture(tmp_path: Path) -> None:
    picture = Image.new("RGB", (400, 400), (200, 30, 60))
    picture.paste((20, 40, 220), (0, 0, 400, 150))
    picture.paste((240, 220, 30), (0, 0, 100, 150))
    colours = run(saved(picture), "image/png", tmp_path).facts["dominantColors"]
    assert len(colours) == 3
    for told, want in zip(colours, ((200, 30, 60), (20, 40, 220), (240, 220, 30)), strict=True):
        assert near(tuple(bytes.fromhex(told[1:])), want, 12)


def test_a_clear_picture_has_no_colours(tmp_path: Path) -> None:
    clear = saved(Image.new("RGBA", (40, 40), (200, 30, 60, 0)))
    assert run(clear, "image/png", tmp_path).facts["dominantColors"] == []


@pytest.mark.parametrize(
    ("content_type", "data", "depth"),
    [
        ("image/jpeg", media.jpeg(), 8),
        ("image/png", media.png(), 8),
        ("image/png", media.png(mode="1"), 1),
        ("image/png", media.png(mode="P"), 8),
        ("image/png", media.png(mode="I;16"), 16),
        ("image/png", media.png_16bit_rgb(), 16),
        ("image/tiff", media.tiff(mode="I;16"), 16),
        ("image/tiff", media.tiff(mode="F"), 32),
        ("image/heic", media.heic(), 8),
        ("image/gif", media.gif(), 8),
    ],
)
def test_the_bit_depth_is_told(content_type, data, depth, tmp_path: Path) -> None:
    assert run(data, content_type, tmp_path).facts["bitDepth"] == depth


# --- animation ---------------------------------------------------------------------------


def moving(format: str, *, frames: int = 4, alpha: bool = False, **options: Any) -> bytes:
    """A square that goes from left to right, 40 ms and 120 ms in turn, on white or nothing."""
    pictures = []
    for number in range(frames):
        ground = (255, 255, 255, 0) if alpha else (255, 255, 255, 255)
        picture = Image.new("RGBA", (400, 200), ground)
        picture.paste((200, 0, 0, 255), (number * 100, 50, number * 100 + 100, 150))
        pictures.append(picture if alpha else picture.convert("RGB"))
    durations = [(40, 120)[number % 2] for number in range(frames)]
    options = {"duration": durations, "loop": 0, **options}
    if format == "WEBP":
        options["lossless"] = True
    if format == "GIF":
        options["disposal"] = 2
    if format == "AVIF":
        options.pop("loop")
    return saved(pictures[0], format, save_all=True, append_images=pictures[1:], **options)


ANIMATIONS = [
    ("image/gif", "GIF"),
    ("image/png", "PNG"),
    ("image/webp", "WEBP"),
    ("image/avif", "AVIF"),
]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("content_type", "format"), ANIMATIONS)
def test_an_animation_is_kept(content_type, format, alpha, tmp_path: Path) -> None:
    outcome = run(moving(format, alpha=alpha), content_type, tmp_path, animation="keep")
    assert outcome.facts["frames"] == 4
    assert set(outcome.outputs) == {"web-2048.webp", "web-1280.webp", "thumbnail.webp"}
    for name, (_, width, height) in outcome.outputs.items():
        picture = opened(outcome, name)
        assert (picture.n_frames, picture.size) == (4, (width, height))
        assert picture.info["loop"] == 0
        for number in range(4):
            picture.seek(number)
            frame = picture.convert("RGBA")
            assert picture.info["duration"] == (40, 120)[number % 2]
            middle = (width * (2 * number + 1) // 8, height // 2)
            assert near(frame.getpixel(middle), (200, 0, 0), 24)
            corner = frame.getpixel((width - 3, 3))
            assert corner[3] == (0 if alpha else 255)
            assert alpha or near(corner, (255, 255, 255), 8)


@pytest.mark.parametrize(("content_type", "format"), ANIMATIONS)
def test_a_still_is_what_is_made_by_default(content_type, format, tmp_path: Path) -> None:
    outcome = run(moving(format), content_type, tmp_path)
    assert outcome.facts["frames"] == 4
    assert getattr(opened(outcome, "thumbnail.webp"), "n_frames", 1) == 1


def test_an_animation_is_cropped_and_laid_on_a_ground(tmp_path: Path) -> None:
    results = [
        {"name": "crop", "width": 100, "height": 100, "fit": "cover", "focus": "right"},
        {"name": "box", "width": 200, "height": 200, "fit": "contain", "background": "#0000ff"},
        {"name": "still", "width": 100, "format": "jpeg"},
        {"name": "like", "width": 120, "format": "original"},
    ]
    outcome = run(
        moving("GIF", alpha=True), "image/gif", tmp_path, animation="keep", results=results
    )
    assert set(outcome.outputs) == {"crop.webp", "box.webp", "still.jpg", "like.webp"}
    crop = opened(outcome, "crop.webp")
    crop.seek(3)
    assert near(crop.convert("RGB").getpixel((75, 50)), (200, 0, 0), 24)
    box = opened(outcome, "box.webp")
    box.seek(2)
    assert near(box.convert("RGB").getpixel((100, 10)), (0, 0, 255), 16)
    assert opened(outcome, "like.webp").n_frames == 4
    assert outcome.steps[-1] == "describing"


@pytest.mark.parametrize(("loop", "plays"), [(0, 0), (1, 2), (None, 1)])
def test_a_gif_is_played_as_often(loop: int | None, plays: int, tmp_path: Path) -> None:
    outcome = run(moving("GIF", loop=loop), "image/gif", tmp_path, animation="keep")
    assert opened(outcome, "thumbnail.webp").info["loop"] == plays


def test_hasty_frames_take_the_time_that_browsers_give_them(tmp_path: Path) -> None:
    outcome = run(moving("GIF", duration=10), "image/gif", tmp_path, animation="keep")
    picture = opened(outcome, "thumbnail.webp")
    picture.seek(1)
    picture.load()
    assert picture.info["duration"] == 100


def test_the_still_for_old_programs_is_no_frame(tmp_path: Path) -> None:
    data = moving("PNG", default_image=True)
    outcome = run(data, "image/png", tmp_path, animation="keep")
    assert opened(outcome, "thumbnail.webp").n_frames == 3


def test_an_animation_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_ANIMATION_PIXELS", 300_000)
    with pytest.raises(LimitExceeded, match="320,000 pixels in all frames"):
        run(moving("GIF"), "image/gif", tmp_path, animation="keep")
    assert run(moving("GIF"), "image/gif", tmp_path).facts["frames"] == 4


@pytest.mark.parametrize(("content_type", "format"), ANIMATIONS[:3])
def test_a_truncated_animation_is_corrupt(content_type, format, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile):
        run(media.truncated(moving(format), 0.7), content_type, tmp_path, animation="keep")


# --- the docs ----------------------------------------------------------------------------

PAGE = Path("docs/presets/image.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [ImageOptions, ImageResult])
def test_every_option_is_documented(options: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(options):
        if field.name == "results":
            assert "[[image.results]]" in PAGE
            continue
        [row] = [
            line
            for line in PAGE.splitlines()
            if line.startswith("|") and f"`{field.name}`" in line.split("|")[1]
        ]
        choices = re.findall(r"Literal\[(.*?)\]", str(field.type))
        for choice in re.findall(r"'([\w-]+)'", " ".join(choices)):
            assert f"`{choice}`" in row, (field.name, choice)
        default = row.split("|")[3].strip()
        if isinstance(field.default, bool):
            assert default == f"`{str(field.default).lower()}`"
        elif isinstance(field.default, str):
            assert default == f"`{field.default}`"


def test_the_preset_of_the_docs_works(tmp_path: Path) -> None:
    example = tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.S)[0])
    outcome = run(media.jpeg(1000, 800), "image/jpeg", tmp_path, **example["image"])
    assert outcome.outputs == {
        "card.webp": ("image/webp", 800, 450),
        "print.jpg": ("image/jpeg", 1000, 800),
    }


def test_facts_are_documented(tmp_path: Path) -> None:
    facts = run(telling.jpeg(), "image/jpeg", tmp_path).facts
    for name in (*facts, *facts["personal"], *facts["personal"]["location"]):
        assert f"`{name}`" in PAGE, name
