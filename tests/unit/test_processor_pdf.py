"""The PDF processor: facts, text and pictures, and its verdicts about documents."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from appliance.errors import (
    CorruptFile,
    EmptyDocument,
    EncryptedFile,
    LimitExceeded,
    UnsupportedFile,
)
from appliance.processors import limits
from appliance.processors.documents.metadata import rfc3339
from appliance.processors.pdf import PROCESSOR
from tests import media
from tests.processing import Outcome, after_warm_up, process

PDF = "application/pdf"


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


def run(data: bytes, tmp_path: Path) -> Outcome:
    return process(PROCESSOR, data, PDF, tmp_path)


def opened(outcome: Outcome, name: str) -> Image.Image:
    picture = Image.open(outcome.path(name), formats=["WEBP"])
    picture.load()
    return picture.convert("RGB")


def assert_near(got: tuple[int, ...], want: tuple[int, ...]) -> None:
    assert all(abs(a - b) <= 30 for a, b in zip(got, want, strict=True)), got


# --- good documents ----------------------------------------------------------------------


def test_the_facts(tmp_path: Path) -> None:
    facts = run(media.pdf(7, title="Grüße (100 %)"), tmp_path).facts
    text_chars = facts.pop("textChars")
    assert facts == {
        "pageCount": 7,
        "title": "Grüße (100 %)",
        "author": "Ada Lovelace",
        "subject": "Tests",
        "keywords": None,
        "creator": "tests/media.py",
        "producer": "By hand",
        "createdAt": "2024-02-29T10:34:56Z",
        "modifiedAt": None,
        "language": None,
        "pdfVersion": "1.7",
        "pdfA": None,
        "tagged": False,
        "encrypted": False,
        "pageSizes": [{"width": 595.0, "height": 842.0, "pages": 7}],
        "pagesRendered": 5,
        "pagesIncomplete": 0,
        "pagesUnreadable": 0,
        "unreadablePages": [],
        "textTruncated": False,
        "outlineEntries": 0,
        "outlineTruncated": False,
        "activeContent": [],
        "scripts": 0,
        "links": 0,
        "signatures": 0,
        "attachmentCount": 0,
        "attachments": [],
        "structureComplete": True,
    }
    assert text_chars > 7 * 20 * len(media.SENTENCE)


def test_a_silent_document_has_null_facts(tmp_path: Path) -> None:
    facts = run(media.pdf(1, title=None), tmp_path).facts
    for name in ("title", "author", "subject", "creator", "producer", "createdAt"):
        assert facts[name] is None


def test_a_title_without_end_is_cut(tmp_path: Path) -> None:
    facts = run(media.pdf(1, title="x" * 5000 + "\n"), tmp_path).facts
    assert facts["title"] == "x" * limits.MAX_PDF_FIELD_CHARS


def test_pictures_of_the_first_pages(tmp_path: Path) -> None:
    outcome = run(media.pdf(7), tmp_path)
    pages = [f"page-{n}.webp" for n in range(1, 6)]
    assert set(outcome.outputs) == {*pages, "thumbnail.webp", "text.txt", "text.json"}
    assert outcome.order.index("thumbnail.webp") < outcome.order.index("page-2.webp")
    for name in pages:
        assert outcome.outputs[name] == ("image/webp", 905, 1280)
        page = opened(outcome, name)
        assert page.size == (905, 1280)
        assert_near(page.getpixel((20, 20)), media.RED)
        assert_near(page.getpixel((885, 20)), media.GREEN)
        assert_near(page.getpixel((20, 1260)), media.BLUE)
        assert_near(page.getpixel((885, 1260)), media.YELLOW)
        assert_near(page.getpixel((452, 40)), (255, 255, 255))
    thumbnail = opened(outcome, "thumbnail.webp")
    assert thumbnail.size == (226, 320) == outcome.outputs["thumbnail.webp"][1:]
    assert_near(thumbnail.getpixel((5, 5)), media.RED)


def test_pages_differ(tmp_path: Path) -> None:
    outcome = run(media.pdf(2), tmp_path)
    assert opened(outcome, "page-1.webp").tobytes() != opened(outcome, "page-2.webp").tobytes()


def test_the_text_of_all_pages(tmp_path: Path) -> None:
    outcome = run(media.pdf(30, lines=3), tmp_path)
    content_type, *_ = outcome.outputs["text.txt"]
    assert content_type == "text/plain"
    pages = outcome.path("text.txt").read_bytes().decode().split("\f")
    assert len(pages) == 30
    for number, page in enumerate(pages, 1):
        assert page.split("\n") == [f"Page {number}", *[media.SENTENCE] * 3]
    assert outcome.facts["textChars"] == sum(map(len, pages))


def test_a_document_without_text_has_no_text_file(tmp_path: Path) -> None:
    outcome = run(media.filled_form(), tmp_path)
    assert outcome.facts["textChars"] == 0
    assert "text.txt" not in outcome.outputs


def test_what_is_filled_into_a_form_is_drawn(tmp_path: Path) -> None:
    outcome = run(media.filled_form(), tmp_path)
    assert_near(opened(outcome, "page-1.webp").getpixel((640, 640)), (255, 0, 0))


@pytest.mark.parametrize(
    ("size", "pixels"),
    [((842, 595), (1280, 905)), ((14_400, 10), (1280, 1)), ((1, 1), (1280, 1280))],
)
def test_page_sizes_are_bounded(size, pixels, tmp_path: Path) -> None:
    outcome = run(media.pdf(1, size=size), tmp_path)
    assert outcome.outputs["page-1.webp"][1:] == pixels


def test_an_owner_s_password_alone_does_not_matter(tmp_path: Path) -> None:
    outcome = run(media.encrypted_pdf(user_password=""), tmp_path)
    assert outcome.facts["pageCount"] == 2
    assert media.SENTENCE in outcome.path("text.txt").read_text()


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("D:20240229123456+02'00'", "2024-02-29T10:34:56Z"),
        ("D:20240229123456-0530", "2024-02-29T18:04:56Z"),
        ("D:20240229123456Z", "2024-02-29T12:34:56Z"),
        ("D:202402", "2024-02-01T00:00:00Z"),
        ("20240229", "2024-02-29T00:00:00Z"),
        ("D:20240230", None),
        ("D:00010101000000+10'00'", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates(date: str, expected: str | None) -> None:
    assert rfc3339(date) == expected


@settings(max_examples=50)
@given(st.text(max_size=40))
@example("D:99991231235959-23'59'")
def test_any_date_is_read_or_dropped(date: str) -> None:
    made = rfc3339(date)
    assert made is None or made.endswith("Z")


# --- verdicts ----------------------------------------------------------------------------


def test_a_password_is_asked_for_in_the_owner_s_words(tmp_path: Path) -> None:
    with pytest.raises(EncryptedFile) as caught:
        run(media.encrypted_pdf(), tmp_path)
    assert caught.value.detail == (
        "This PDF is password-protected. Remove the password and upload it again."
    )


def test_no_pages(tmp_path: Path) -> None:
    with pytest.raises(EmptyDocument, match="has no pages"):
        run(media.pdf_without_pages(), tmp_path)


def test_no_bytes(tmp_path: Path) -> None:
    with pytest.raises(EmptyDocument, match="This file is empty"):
        run(b"", tmp_path)


def test_no_pages_after_a_password(tmp_path: Path) -> None:
    """pdfium remembers its last error: an earlier file's must not be blamed on this one."""
    with pytest.raises(EncryptedFile):
        run(media.encrypted_pdf(), tmp_path)
    with pytest.raises(EmptyDocument, match="has no pages"):
        run(media.pdf_without_pages(), tmp_path)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(keep=st.floats(0.001, 0.9995))
def test_a_truncated_document_is_corrupt(keep: float, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile):
        run(media.truncated(media.pdf(3), keep), tmp_path)


def test_zeros_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    assert run(media.pdf(1) + bytes(10_000), tmp_path).facts["pageCount"] == 1


def test_nonsense_with_an_end_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="damaged"):
        run(b"%PDF-1.7\nnothing here\n%%EOF\n", tmp_path)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.floats(0, 0.99), length=st.integers(1, 600))
def test_damage_is_survived_or_named(start: float, length: int, tmp_path: Path) -> None:
    with contextlib.suppress(CorruptFile, EmptyDocument, EncryptedFile, LimitExceeded):
        run(media.damaged(media.pdf(2), start=start, length=length), tmp_path)


def test_too_many_pages(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_PAGES", 2)
    with pytest.raises(LimitExceeded, match="document is 3 pages"):
        run(media.pdf(3), tmp_path)


def test_a_claim_of_more_pages_than_there_are(tmp_path: Path) -> None:
    data = media.pdf(3).replace(b"/Count 3 ", b"/Count 9 ")
    with contextlib.suppress(CorruptFile):
        assert run(data, tmp_path).facts["pageCount"] <= 9


def test_text_is_cut_at_the_limit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_TEXT_CHARS", 1000)
    outcome = run(media.pdf(5), tmp_path)
    assert outcome.facts["textTruncated"] is True
    assert outcome.facts["textChars"] == 1000
    assert len(outcome.path("text.txt").read_text().replace("\f", "")) == 1000


def test_a_page_that_takes_for_ever_is_left_as_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_RENDER_S", 0.15)
    outcome = run(media.slow_pdf(), tmp_path)
    assert outcome.facts["pagesIncomplete"] == 1
    assert len([step for step in outcome.steps if step == "drawing page 1 of 1"]) >= 2
    assert outcome.outputs["page-1.webp"] == ("image/webp", 1280, 1280)


def test_another_type_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFile):
        process(PROCESSOR, media.pdf(1), "application/postscript", tmp_path)


def test_warm_up_leaves_one_thread_and_loads_no_other_media() -> None:
    warm = after_warm_up("pdf")
    assert warm["threads"] == 1
    assert not {"av", "pillow_heif", "aiohttp", "numpy"} & set(warm["modules"])
