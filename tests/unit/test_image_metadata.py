"""Personal metadata: gone from every result, told to the owner, kept where a preset says so."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from appliance.errors import CorruptFile
from appliance.processors import limits
from appliance.processors.image import PROCESSOR
from tests import media
from tests import telling_pictures as telling
from tests.processing import Outcome, process

SECRETS = (
    telling.SECRET,
    telling.MAKE,
    telling.MODEL,
    telling.LENS,
    "2024:02:29",
    "GPSLatitude",
    "xmpmeta",
)

PIXELS = {
    "webp": {"VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF"},
    "jpg": {"E0", "DB", "C0", "C2", "C4", "DA", "DD"},
    "png": {"IHDR", "PLTE", "tRNS", "IDAT", "IEND"},
    "avif": {"av01", "colr"},
}
"""What a file of each format consists of when it holds pixels and nothing else."""

EVERY_FORMAT = [
    {"name": f"it-{format}", "format": format, "width": width}
    for format in ("webp", "jpeg", "avif", "png", "original")
    for width in (100, 10_000)
]


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


def run(data: bytes, content_type: str, tmp_path: Path, **options: Any) -> Outcome:
    return process(PROCESSOR, data, content_type, tmp_path, **options)


def contents(outcome: Outcome) -> dict[str, bytes]:
    return {name: outcome.path(name).read_bytes() for name in outcome.outputs}


def assert_nothing_told(outcome: Outcome, *, besides: frozenset[str] = frozenset()) -> None:
    for name, data in contents(outcome).items():
        told = [secret for secret in SECRETS if secret.lower().encode() in data.lower()]
        told += [secret for secret in SECRETS if secret.encode("utf-16-be") in data]
        assert not told, f"{name} tells {told}"
        assert telling.parts_of(data) <= PIXELS[name.partition(".")[2]] | besides, name
        picture = Image.open(BytesIO(data))
        picture.load()
        assert not picture.getexif()
        assert not {"exif", "xmp", "comment", "photoshop"} & set(picture.info)


@pytest.mark.parametrize(("content_type", "make"), telling.ALL)
def test_the_samples_tell(content_type: str, make: Any) -> None:
    data = make()
    assert telling.SECRET.encode() in data
    assert b"4711" in data
    assert len(telling.parts_of(data)) > 2 or content_type in ("image/gif", "image/tiff")


@pytest.mark.parametrize("animation", ["first-frame", "keep"])
@pytest.mark.parametrize(("content_type", "make"), telling.ALL)
def test_no_result_tells_anything(content_type, make, animation, tmp_path: Path) -> None:
    results = [
        {**result, "name": f"{result['name']}-{number}"}
        for number, result in enumerate(EVERY_FORMAT)
    ]
    outcome = run(make(), content_type, tmp_path, results=results, animation=animation)
    assert len(outcome.outputs) == len(EVERY_FORMAT)
    assert_nothing_told(outcome)


@pytest.mark.parametrize(("content_type", "make"), telling.ALL)
def test_no_result_of_the_default_preset_tells_anything(content_type, make, tmp_path: Path) -> None:
    assert_nothing_told(run(make(), content_type, tmp_path))


@pytest.mark.parametrize("format", ["webp", "jpeg", "avif", "png"])
def test_a_kept_profile_tells_no_name(format: str, tmp_path: Path) -> None:
    results = [{"name": "it", "format": format, "width": 100}]
    outcome = run(telling.jpeg(), "image/jpeg", tmp_path, results=results, colour="keep")
    [data] = contents(outcome).values()
    assert Image.open(BytesIO(data)).info["icc_profile"]
    assert_nothing_told(outcome, besides=frozenset({"ICCP", "E2", "iCCP", "colr"}))


# --- what the owner is told ----------------------------------------------------------------

PERSONAL = {
    "make": telling.MAKE,
    "model": telling.MODEL,
    "lens": telling.LENS,
    "artist": telling.SECRET,
    "takenAt": "2024-02-29T12:34:56+02:00",
    "exposureS": pytest.approx(0.004),
    "aperture": pytest.approx(1.8),
    "iso": 200,
    "focalLengthMm": 50,
    "location": {"latitude": -33.856667, "longitude": 151.21, "altitudeM": 58.0},
}


@pytest.mark.parametrize(
    ("content_type", "make"),
    [one for one in telling.ALL if one[0] not in ("image/gif", "image/tiff")],
)
def test_the_owner_is_told(content_type, make, tmp_path: Path) -> None:
    facts = run(make(), content_type, tmp_path).facts
    assert facts["personal"] == PERSONAL
    others = {name: value for name, value in facts.items() if name != "personal"}
    assert not any(secret in str(others) for secret in SECRETS)


def test_nothing_is_told_where_nothing_is_known(tmp_path: Path) -> None:
    assert "personal" not in run(media.png(), "image/png", tmp_path).facts


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (0x9003, "0000:00:00 00:00:00"),
        (0x9003, "\0\0\0"),
        (0x829A, IFDRational(0, 0)),
        (0x829A, 0.0),
        (0x8827, ()),
        (0xA434, "\x07\x1b[31m\0"),
    ],
)
def test_a_field_that_makes_no_sense_is_missing(tag: int, value: Any, tmp_path: Path) -> None:
    block = Image.Exif()
    block[0x010F] = telling.MAKE
    block.get_ifd(0x8769)[tag] = value
    out = BytesIO()
    media.photo(64, 48).save(out, "JPEG", exif=block)
    personal = run(out.getvalue(), "image/jpeg", tmp_path).facts["personal"]
    assert personal.pop("lens", "[31m") == "[31m"
    assert personal == {"make": telling.MAKE}


@pytest.mark.parametrize("place", [(91.0, 0.0, 0.0), (IFDRational(0, 0), 0.0, 0.0), ()])
def test_a_place_that_is_none_is_missing(place: tuple[Any, ...], tmp_path: Path) -> None:
    block = Image.Exif()
    block[0x010F] = telling.MAKE
    block.get_ifd(0x8825).update({1: "N", 2: place, 3: "E", 4: (13.0, 0.0, 0.0)})
    out = BytesIO()
    media.photo(64, 48).save(out, "JPEG", exif=block)
    assert run(out.getvalue(), "image/jpeg", tmp_path).facts["personal"] == {"make": telling.MAKE}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 600), damage=st.binary(min_size=1, max_size=24))
@pytest.mark.parametrize("metadata", ["remove", "keep"])
def test_damaged_metadata_costs_no_picture(
    metadata, at: int, damage: bytes, tmp_path: Path
) -> None:
    block = bytearray(telling.exif())
    at = 6 + at % (len(block) - 6)
    block[at : at + len(damage)] = damage
    out = BytesIO()
    Image.new("RGB", (16, 16), "red").save(out, "JPEG", exif=bytes(block)[:60_000])
    outcome = run(out.getvalue(), "image/jpeg", tmp_path, metadata=metadata)
    assert len(outcome.outputs) == 3


@pytest.mark.parametrize("kind", ["image/jpeg", "image/webp"])
def test_a_broken_xmp_block_costs_no_picture(kind: str, tmp_path: Path) -> None:
    out = BytesIO()
    bomb = b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><x>&b;</x><\xff"
    media.photo(64, 48).save(out, kind.partition("/")[2].upper(), xmp=bomb)
    assert len(run(out.getvalue(), kind, tmp_path).outputs) == 3


def test_a_huge_exif_block_is_left_unread(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_EXIF_BYTES", 100)
    facts = run(telling.webp(), "image/webp", tmp_path, metadata="keep").facts
    assert "personal" not in facts


# --- kept on request -----------------------------------------------------------------------


@pytest.mark.parametrize("format", ["webp", "jpeg", "avif", "png"])
def test_metadata_is_kept_on_request(format: str, tmp_path: Path) -> None:
    out = BytesIO()
    media.photo(320, 240).save(out, "JPEG", exif=telling.exif(orientation=6), xmp=telling.XMP)
    results = [{"name": "it", "format": format, "width": 100}]
    outcome = run(out.getvalue(), "image/jpeg", tmp_path, metadata="keep", results=results)
    [data] = contents(outcome).values()
    picture = Image.open(BytesIO(data))
    picture.load()
    assert picture.size == (100, 133), "turned"
    exif = picture.getexif()
    assert exif[0x010F] == telling.MAKE
    assert exif.get(0x0112, 1) == 1, "the turn is applied, and must not be again"
    assert exif.get_ifd(0x8769)[0xA434] == telling.LENS
    assert exif.get_ifd(0x8825)[2] == (33.0, 51.0, 24.0)
    assert 0x927C not in exif.get_ifd(0x8769), "the maker's note"
    assert not exif.get_ifd(1), "the preview"
    assert b"MakerNote" not in data
    assert b"xpacket" not in data
    assert run(data, f"image/{format}", tmp_path).facts["personal"]["lens"] == telling.LENS


def test_metadata_of_an_animation_is_kept_on_request(tmp_path: Path) -> None:
    out = BytesIO()
    first = media.photo(64, 48)
    first.save(
        out,
        "WEBP",
        save_all=True,
        append_images=[first.transpose(Image.Transpose.ROTATE_180)],
        exif=telling.exif(),
    )
    outcome = run(out.getvalue(), "image/webp", tmp_path, metadata="keep", animation="keep")
    picture = Image.open(BytesIO(outcome.path("thumbnail.webp").read_bytes()))
    assert picture.n_frames == 2
    assert picture.getexif()[0x010F] == telling.MAKE


def test_a_file_of_metadata_alone_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile):
        run(telling.jpeg()[:2] + b"\xff\xe1\x00\x10Exif\0\0" + bytes(8), "image/jpeg", tmp_path)
