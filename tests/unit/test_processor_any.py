"""The processor of every other file: read to the end, hashed, and described if it is text."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.processors import any as any_processor
from appliance.processors.any import PROCESSOR
from tests.processing import Outcome, after_warm_up, process, task


def run(data: bytes, tmp_path: Path, content_type: str = "text/plain") -> Outcome:
    return process(PROCESSOR, data, content_type, tmp_path)


def test_the_facts_of_any_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    outcome = run(data, tmp_path, "application/x-7z-compressed")
    assert outcome.facts == {
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "sizeBytes": 5_120_000,
    }
    assert outcome.outputs == {}
    assert "reading" in outcome.steps


@pytest.mark.parametrize(
    ("data", "lines", "encoding", "preview"),
    [
        (b"one\ntwo\nthree", 3, "utf-8", "one\ntwo\nthree"),
        (b"one\r\ntwo\r\n", 2, "utf-8", "one\r\ntwo\r\n"),
        ("Grüße 🎈\n".encode(), 1, "utf-8", "Grüße 🎈\n"),
        ("\ufeffmarked\n".encode(), 1, "utf-8", "marked\n"),
        ("Grüße\n".encode("latin-1"), 1, "latin-1", "Grüße\n"),
        ("Grüße\nzwei\n".encode("utf-16"), 2, "utf-16", "Grüße\nzwei\n"),
        ("\ufeffzwei\nohne".encode("utf-16-be"), 2, "utf-16", "zwei\nohne"),
        (b"cut \xc3", 1, "latin-1", "cut Ã"),
        (b"nul\0here", 1, "utf-8", "nul\ufffdhere"),
    ],
)
def test_texts(data: bytes, lines: int, encoding: str, preview: str, tmp_path: Path) -> None:
    outcome = run(data, tmp_path)
    assert (outcome.facts["lineCount"], outcome.facts["encoding"]) == (lines, encoding)
    assert outcome.path("preview.txt").read_bytes().decode() == preview
    assert outcome.outputs["preview.txt"][0] == "text/plain"


def test_an_empty_text(tmp_path: Path) -> None:
    outcome = run(b"", tmp_path)
    assert outcome.facts["sizeBytes"] == outcome.facts["lineCount"] == 0
    assert outcome.outputs == {}


def test_the_preview_is_short_and_cuts_no_character(tmp_path: Path) -> None:
    outcome = run(b"x" + "ü".encode() * 5000, tmp_path)
    assert outcome.path("preview.txt").read_text("utf-8") == "x" + "ü" * 2047


def test_a_character_across_two_blocks_is_still_utf_8(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(any_processor, "BLOCK_BYTES", 3)
    assert run("aüüü\nb".encode(), tmp_path).facts["encoding"] == "utf-8"


@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.binary(max_size=9000))
def test_any_bytes_may_be_called_text(data: bytes, tmp_path: Path) -> None:
    facts = run(data, tmp_path).facts
    assert facts["sizeBytes"] == len(data)
    assert facts["lineCount"] <= len(data)


def test_a_missing_file_is_not_a_corrupt_one(tmp_path: Path) -> None:
    asked = task(PROCESSOR, tmp_path / "none", tmp_path, "text/plain")
    with pytest.raises(FileNotFoundError):
        PROCESSOR.process(asked, Outcome(tmp_path))


def test_warm_up_loads_no_media_library() -> None:
    warm = after_warm_up("any")
    assert warm["threads"] == 1
    assert not {"PIL", "av", "pypdf", "pypdfium2", "pillow_heif", "aiohttp"} & set(warm["modules"])


def test_the_preview_is_as_long_as_asked(tmp_path: Path) -> None:
    data = b"word " * 3000
    outcome = process(PROCESSOR, data, "text/plain", tmp_path, preview_bytes=12)
    assert outcome.path("preview.txt").read_text() == "word word wo"
    assert (
        "preview.txt"
        not in process(PROCESSOR, data, "text/plain", tmp_path, preview_bytes=0).outputs
    )


def test_words_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b" one two\n three  four five\n"
    for size in range(1, len(data)):
        monkeypatch.setattr("appliance.processors.any.BLOCK_BYTES", size)
        assert run(data, tmp_path).facts["wordCount"] == 5


def test_markup_is_text_too(tmp_path: Path) -> None:
    outcome = process(PROCESSOR, b"<?xml version='1.0'?>\n<a/>\n", "application/xml", tmp_path)
    assert outcome.facts["lineCount"] == 2
    assert "preview.txt" in outcome.outputs
