"""PDFs that are small on the disk and huge in memory or time: refused before they unfold, or
worked on within their bounds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from appliance.errors import CorruptFile, LimitExceeded
from appliance.processors import limits
from appliance.processors.documents.streams import refuse_bombs
from appliance.processors.pdf import PROCESSOR
from tests import media
from tests.media import _pdf_objects
from tests.processing import Outcome, process

MIB = 1024 * 1024
CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGES = b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    PROCESSOR.warm()


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_STREAM_BYTES", 4 * MIB)
    monkeypatch.setattr(limits, "MAX_PDF_STREAMS_BYTES", 10 * MIB)


def stream(entries: bytes, data: bytes) -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(data), data)


def page(resources: bytes = b"") -> bytes:
    return (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 600] /Contents 4 0 R"
        b" /Resources << %s >> >>" % resources
    )


def document(*objects: bytes) -> bytes:
    """From the page on; object 4 is its content."""
    return _pdf_objects([CATALOGUE, PAGES, *objects])


def run(data: bytes, tmp_path: Path) -> Outcome:
    return process(PROCESSOR, data, "application/pdf", tmp_path)


# --- streams -----------------------------------------------------------------------------

LARGE = zlib.compress(b" " * (6 * MIB))


@pytest.mark.parametrize(
    "data",
    [
        document(page(), stream(b"/Filter /FlateDecode", LARGE)),
        document(page(), stream(b"/Filter [/Fl]", LARGE)),
        document(page(), stream(b"/Filter [/FlateDecode /FlateDecode]", zlib.compress(LARGE))),
        document(page(), stream(b"", b""), stream(b"/Type /ObjStm /Filter /FlateDecode", LARGE)),
    ],
    ids=["content", "short name", "deflated twice", "object stream"],
)
@pytest.mark.usefixtures("small_limits")
def test_a_stream_that_inflates_to_too_much(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(
        LimitExceeded, match="A stream of this PDF unpacks to more than 4,194,304 bytes"
    ):
        run(data, tmp_path)


@pytest.mark.usefixtures("small_limits")
def test_many_streams_that_inflate_to_too_much_together(tmp_path: Path) -> None:
    three = zlib.compress(b" " * (3 * MIB), 0)
    data = document(page(), *[stream(b"/Filter /FlateDecode", three)] * 5)
    with pytest.raises(LimitExceeded, match="This PDF unpacks to more than"):
        run(data, tmp_path)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("kind", [b"/Subtype /Image", b"/Type /EmbeddedFile"])
def test_pictures_and_attachments_are_not_inflated(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(document(page(), stream(b"%s /Filter /FlateDecode" % kind, LARGE)))
    refuse_bombs(path)


@pytest.mark.usefixtures("small_limits")
def test_what_is_no_deflate_data_is_left_to_the_parser(tmp_path: Path) -> None:
    data = document(page(), stream(b"/Filter /FlateDecode", b"x" * (5 * MIB)))
    assert run(data, tmp_path).facts["pageCount"] == 1


def test_a_good_document_is_no_bomb(tmp_path: Path) -> None:
    lines = b"0 0 10 10 re f\n" * 100_000
    data = document(page(), stream(b"/Filter /FlateDecode", zlib.compress(lines)))
    assert run(data, tmp_path).facts["pagesRendered"] == 1


# --- time and depth ------------------------------------------------------------------------


def form(number: int, content: bytes) -> bytes:
    return stream(
        b"/Type /XObject /Subtype /Form /BBox [0 0 600 600]"
        b" /Resources << /XObject << /F %d 0 R >> >>" % number,
        content,
    )


def tiling(number: int) -> bytes:
    return stream(
        b"/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep 0.01"
        b" /YStep 0.01 /Resources << /Pattern << /P %d 0 R >> >>" % number,
        b"/Pattern cs /P scn 0 0 600 600 re f",
    )


LAUGHS = document(  # each form draws the next one ten times
    page(b"/XObject << /F 5 0 R >>"),
    stream(b"", b"/F Do"),
    *[form(6 + level, b"/F Do " * 10) for level in range(12)],
    stream(b"/Type /XObject /Subtype /Form /BBox [0 0 9 9]", b"0 0 9 9 re f"),
)
DRAWS_ITSELF = document(
    page(b"/XObject << /F 5 0 R >>"), stream(b"", b"/F Do"), form(5, b"/F Do /F Do")
)
PATTERNS = document(
    page(b"/Pattern << /P 5 0 R >>"),
    stream(b"", b"/Pattern cs /P scn 0 0 600 600 re f"),
    *[tiling(6 + level) for level in range(5)],
    stream(
        b"/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1]"
        b" /XStep 0.01 /YStep 0.01 /Resources << >>",
        b"1 0 0 rg 0 0 1 1 re f",
    ),
)


@pytest.mark.parametrize(
    ("data", "bound", "said"),
    [
        (PATTERNS, "MAX_PDF_PAGE_CPU_S = limits.MAX_PDF_RENDER_S = 0.5", "processor time"),
        (LAUGHS, "MAX_PDF_PAGE_CPU_S = limits.MAX_PDF_RENDER_S = 0.5", "processor time"),
        (LAUGHS, "MAX_PDF_MEMORY_BYTES = 200 << 20", "209,715,200 bytes of memory"),
        (DRAWS_ITSELF, "MAX_PDF_MEMORY_BYTES = 200 << 20", "209,715,200 bytes of memory"),
        (
            LAUGHS,
            "MAX_PDF_MEMORY_BYTES = 8 << 30",
            "1,073,741,824 bytes of memory",
        ),  # half of what it may map
    ],
    ids=["patterns", "forms, time", "forms", "draws itself", "forms, little memory"],
)
def test_work_without_end_is_given_up(data: bytes, bound: str, said: str, tmp_path: Path) -> None:
    """In a process that ends afterwards, as a child does: the library goes on until then, or
    aborts it where memory ends."""
    (tmp_path / "a.pdf").write_bytes(data)
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD.format(bound), tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("limit_exceeded ")
    assert said in done.stdout


IN_A_CHILD = """
import os, resource, sys
from pathlib import Path
from appliance.errors import ProcessingError
from appliance.processors import limits
from appliance.processors.pdf import PROCESSOR
from tests.processing import Outcome, task

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
limits.{}
folder = Path(sys.argv[1])
PROCESSOR.warm()
try:
    asked = task(PROCESSOR, folder / "a.pdf", folder / "out", "application/pdf")
    PROCESSOR.process(asked, Outcome(folder / "out"))
    print("done")
except ProcessingError as error:
    print(error.code, error.detail)
sys.stdout.flush()
os._exit(0)
"""


def test_a_very_deep_tree_of_pages_is_survived(tmp_path: Path) -> None:
    depth = 20_000
    levels = [b"<< /Type /Pages /Count 1 /Kids [%d 0 R] >>" % (3 + n) for n in range(depth)]
    leaf = b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 600 600] >>" % (depth + 1)
    with contextlib.suppress(CorruptFile, LimitExceeded):
        assert run(_pdf_objects([CATALOGUE, *levels, leaf]), tmp_path).facts["pageCount"] == 1


def test_a_claim_of_two_billion_pages(tmp_path: Path) -> None:
    pages = b"<< /Type /Pages /Count 2000000000 /Kids [3 0 R] >>"
    data = _pdf_objects([CATALOGUE, pages, page(), stream(b"", b"")])
    with contextlib.suppress(CorruptFile, LimitExceeded):
        assert run(data, tmp_path).facts["pageCount"] <= limits.MAX_PDF_PAGES


def test_a_page_as_large_as_a_country(tmp_path: Path) -> None:
    huge = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 1e9 1e9] /UserUnit 100000 /Contents 4 0 R>>"
    )
    outcome = run(document(huge, stream(b"", b"0 0 10 10 re f")), tmp_path)
    for _, width, height in (outcome.outputs[name] for name in ("page-1.webp", "thumbnail.webp")):
        assert width is not None
        assert height is not None
        assert max(width, height) <= 1280


def test_a_flood_of_text_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PDF_TEXT_CHARS", 10_000)
    data = media.pdf(8, "x" * 50, lines=40)
    facts = run(data, tmp_path).facts
    assert (facts["textChars"], facts["textTruncated"]) == (10_000, True)
