"""The pages about the options of video and any are held to the code; those of pictures and
documents have tests of their own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from appliance.processors.any import PROCESSOR as ANY
from appliance.processors.any import AnyOptions
from appliance.processors.images.options import ImageOptions
from appliance.processors.pdf import PdfOptions
from appliance.processors.video import PROCESSOR as VIDEO
from appliance.processors.video import VideoOptions
from tests import media
from tests.processing import process

ROOT = Path(__file__).resolve().parents[2]
PAGES, PRESETS = ROOT / "docs/presets", ROOT / "appliance/presets"


@pytest.mark.parametrize(("page", "options"), [("video", VideoOptions), ("any", AnyOptions)])
def test_every_option_is_documented(page: str, options: type[msgspec.Struct]) -> None:
    lines = (PAGES / f"{page}.md").read_text().splitlines()
    for field in msgspec.structs.fields(options):
        assert any(line.startswith(f"| `{field.name}` |") for line in lines), field.name


def test_every_fact_of_a_video_is_documented(tmp_path: Path) -> None:
    VIDEO.warm()
    facts = process(VIDEO, media.mp4(0.4, 96, 64), "video/mp4", tmp_path).facts
    page = (PAGES / "video.md").read_text()
    assert [fact for fact in facts if f"`{fact}`" not in page] == []


def test_every_fact_of_a_text_is_documented(tmp_path: Path) -> None:
    facts = process(ANY, b"one two\nthree\n", "text/plain", tmp_path).facts
    page = (PAGES / "any.md").read_text()
    assert [fact for fact in facts if f"`{fact}`" not in page] == []


@pytest.mark.parametrize(
    ("table", "options"),
    [("pdf", PdfOptions), ("video", VideoOptions), ("any", AnyOptions), ("image", ImageOptions)],
)
def test_the_default_preset_says_what_the_processors_do_by_themselves(
    table: str, options: type[msgspec.Struct]
) -> None:
    default = tomllib.loads((PRESETS / "default.toml").read_text())
    assert msgspec.convert(default[table], options) == options()
