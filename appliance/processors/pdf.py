"""PDF documents: pictures of the first pages, the text of all, and what it says of itself.

One parser for everything, pdfium (Chrome's): it opens a document of 5,000 pages in 10 ms, where
pypdf takes 1.7 s and 30 MB, and two parsers would have two opinions about a doubtful file.

Limits: there is no recognition of scanned text. Fonts that a document does not carry come from
the system's font folders where the sandbox lets them be read, else from pdfium's own fourteen.
pdfium mends what it can: a page with a damaged content stream is drawn as far as it goes.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pypdfium2 as pdfium
from PIL import Image
from pypdfium2 import raw

from appliance.errors import CorruptFile, EncryptedFile, UnsupportedFile
from appliance.processors import limits
from appliance.processors.faults import blaming_the_file
from appliance.processors.pace import INTERVAL_S, Pace
from appliance.processors.pictures import THUMBNAIL, fit, save_webp
from appliance.processors.protocol import Reporter, Task

PAGE_EDGE_PX = 1280

FIELDS = ("Title", "Author", "Subject", "Creator", "Producer")
"""Of the document information dictionary (ISO 32000-1, 14.3.3)."""

PAGE_BREAK = "\f"


class PdfOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[pdf]`."""


class PdfProcessor:
    """See `protocol.Processor`."""

    name = "pdf"
    version = "1"
    content_types = ("application/pdf",)
    options = PdfOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Draw a page with text and read it back."""
        with closing(pdfium.PdfDocument(SAMPLE)) as document:
            picture, _ = _drawn(document, 0, Pace(_Silence(), 0, 1), "warming")
            picture.save(io.BytesIO(), "WEBP", method=0)
            _text_of_page(document, 0)

    def process(self, task: Task[PdfOptions], report: Reporter) -> dict[str, Any]:
        """Facts: pageCount, title, author, subject, creator, producer (null where the document
        is silent), createdAt (RFC 3339), pdfVersion, pagesRendered, pagesIncomplete (drawn in
        part, because they took too long), textChars, textTruncated.

        Results: `page-1.webp` to `page-5.webp`, `thumbnail.webp`, and `text.txt` unless there
        is no text. Raises CorruptFile, EncryptedFile, UnsupportedFile, LimitExceeded.
        """
        if task.content_type != "application/pdf":
            raise UnsupportedFile(f"Documents of type {task.content_type} are not supported.")
        with blaming_the_file("PDF"), _opened(task.input_path, report) as document:
            facts = _describe(document)
            facts |= _draw_pages(document, task.output_dir, report)
            facts |= _extract_text(document, task.output_dir, report)
            return facts


# --- opening -----------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, report: Reporter) -> Iterator[pdfium.PdfDocument]:
    report.progress(0.0, "reading")
    with path.open("rb") as file:
        _refuse_cut_off(file)
    handle = raw.FPDF_LoadDocument(os.fsencode(path) + b"\0", None)
    if not handle:
        raise _refusal(raw.FPDF_GetLastError())
    with closing(pdfium.PdfDocument(handle)) as document:
        if len(document) == 0:
            raise CorruptFile("This PDF has no pages.")
        limits.hold("document", len(document), limits.MAX_PDF_PAGES, "pages")
        if document.get_formtype() != raw.FORMTYPE_NONE:
            document.init_forms()  # what was filled into a form is drawn by the form, not the page
        yield document


def _refuse_cut_off(file: BinaryIO) -> None:
    """pdfium rebuilds a document whose end is missing, and silently loses pages. Every PDF ends
    with %%EOF; that it may stand in the last 1,024 bytes is Acrobat's rule, which all follow."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_536))
    tail = file.read().rstrip(b"\0\t\r\n ")  # some scanners fill up a block
    if b"%%EOF" not in tail[-1024:]:
        raise CorruptFile("This PDF is incomplete: its end is missing. Upload it again.")


def _refusal(error: int) -> Exception:
    if error == raw.FPDF_ERR_PASSWORD:
        return EncryptedFile(
            "This PDF is password-protected. Remove the password and upload it again."
        )
    if error == raw.FPDF_ERR_SECURITY:
        return EncryptedFile(
            "This PDF is protected in a way that is not supported."
            " Save it without protection and upload it again."
        )
    return CorruptFile(
        "This PDF is damaged. Check that it opens on your computer, and upload it again."
    )


# --- what it says of itself --------------------------------------------------------------


def _describe(document: pdfium.PdfDocument) -> dict[str, Any]:
    said = document.get_metadata_dict()
    version = document.get_version()
    return {
        "pageCount": len(document),
        **{name.lower(): _field(said[name]) for name in FIELDS},
        "createdAt": _rfc3339(said["CreationDate"]),
        "pdfVersion": f"{version // 10}.{version % 10}" if version else None,
    }


def _field(value: str) -> str | None:
    printable = "".join(c if c.isprintable() else " " for c in value).strip()
    return printable[: limits.MAX_PDF_FIELD_CHARS] or None


DATE = re.compile(
    r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:Z|([+-])(\d\d)'?(\d\d)?)?", re.ASCII
)


def _rfc3339(date: str) -> str | None:
    """A PDF's date (ISO 32000-1, 7.9.4: `D:20240229123456+02'00'`) in UTC; one without a zone
    counts as UTC. None if it is not one."""
    match = DATE.match(date)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    sign, hours, minutes = match.groups()[6:]
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        moment = datetime(
            year, month or 1, day or 1, hour, minute, second,
            tzinfo=timezone(-ahead if sign == "-" else ahead),
        )  # fmt: skip
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return None


# --- pictures ----------------------------------------------------------------------------


def _draw_pages(document: pdfium.PdfDocument, output_dir: Path, report: Reporter) -> dict[str, Any]:
    count = min(len(document), limits.RENDERED_PDF_PAGES)
    incomplete = 0
    for index in range(count):
        pace = Pace(report, 0.05 + 0.5 * index / count, 0.05 + 0.5 * (index + 1) / count)
        step = f"drawing page {index + 1} of {count}"
        picture, complete = _drawn(document, index, pace, step)
        incomplete += not complete
        save_webp(picture, output_dir, f"page-{index + 1}.webp", report)
        if index == 0:
            name, edge_px = THUMBNAIL
            save_webp(fit(picture, edge_px), output_dir, name, report)
    return {"pagesRendered": count, "pagesIncomplete": incomplete}


def _drawn(
    document: pdfium.PdfDocument, index: int, pace: Pace, step: str
) -> tuple[Image.Image, bool]:
    """A page on white, its longest side `PAGE_EDGE_PX`, and whether it was drawn to the end."""
    with closing(document[index]) as page:
        width, height = _picture_size(page.get_size())
        bitmap = pdfium.PdfBitmap.new_native(
            width, height, format=raw.FPDFBitmap_BGRx, rev_byteorder=True
        )
        with closing(bitmap):
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
            flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
            where = (bitmap, page, 0, 0, width, height, 0, flags)
            complete = _draw_in_turns(where, page, pace, step)
            if document.formenv:
                raw.FPDF_FFLDraw(document.formenv, *where)
            return bitmap.to_pil().convert("RGB"), complete


def _picture_size(points: tuple[float, float]) -> tuple[int, int]:
    scale = PAGE_EDGE_PX / max(points)
    width, height = (min(PAGE_EDGE_PX, max(1, round(side * scale))) for side in points)
    return width, height


def _draw_in_turns(where: tuple[Any, ...], page: pdfium.PdfPage, pace: Pace, step: str) -> bool:
    """Draw with pauses, to tell that we are alive and to end a page that takes for ever."""
    start = time.monotonic()
    turn_ends = start

    def turn_is_over(_: object) -> bool:
        return time.monotonic() >= turn_ends

    pace.tell(0.0, step)
    pause = raw.IFSDK_PAUSE(version=1)
    pdfium.internal.set_callback(pause, "NeedToPauseNow", turn_is_over)
    turn_ends = start + INTERVAL_S
    status = raw.FPDF_RenderPageBitmap_Start(*where, pause)
    while status == raw.FPDF_RENDER_TOBECONTINUED:
        taken = time.monotonic() - start
        pace.tell(taken / limits.MAX_PDF_RENDER_S, step)
        if taken > limits.MAX_PDF_RENDER_S:
            break
        turn_ends = time.monotonic() + INTERVAL_S
        status = raw.FPDF_RenderPage_Continue(page, pause)
    raw.FPDF_RenderPage_Close(page)
    pace.tell(1.0, step)
    if status == raw.FPDF_RENDER_FAILED:
        raise CorruptFile("A page of this PDF is damaged and cannot be drawn.")
    return bool(status == raw.FPDF_RENDER_DONE)


# --- text --------------------------------------------------------------------------------


def _extract_text(
    document: pdfium.PdfDocument, output_dir: Path, report: Reporter
) -> dict[str, Any]:
    """Write `text.txt`: UTF-8, a form feed between pages, cut at `MAX_PDF_TEXT_CHARS`."""
    count, chars, left = len(document), 0, limits.MAX_PDF_TEXT_CHARS
    pace = Pace(report, 0.55, 0.99)
    path = output_dir / "text.txt"
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        for index in range(count):
            pace.tell(index / count, f"reading page {index + 1} of {count}")
            text = _text_of_page(document, index)
            chars += len(text)
            file.write((PAGE_BREAK if index else "") + text[:left])
            left -= min(len(text), left)
            if left == 0:
                break
    if chars:
        report.output(path.name, "text/plain")
    else:
        path.unlink()
    return {
        "textChars": min(chars, limits.MAX_PDF_TEXT_CHARS),
        "textTruncated": chars > limits.MAX_PDF_TEXT_CHARS or index + 1 < count,
    }


TIDY = str.maketrans({"\r": None, "\0": None, PAGE_BREAK: " ", "\x02": "-", "\ufffe": "-"})
"""pdfium ends lines with CR LF, and marks a hyphen at a line's end with U+0002 or U+FFFE."""


def _text_of_page(document: pdfium.PdfDocument, index: int) -> str:
    with closing(document[index]) as page, closing(page.get_textpage()) as text:
        return str(text.get_text_bounded()).translate(TIDY)


# --- warming up --------------------------------------------------------------------------


class _Silence:
    """A Reporter that nobody reads."""

    def progress(self, fraction: float, step: str) -> None: ...

    def output(
        self,
        name: str,
        content_type: str,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
    ) -> None: ...


SAMPLE = b"""%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] /Contents 4 0 R
  /Resources <</Font <</F1 <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>>>>>> endobj
4 0 obj <</Length 32>> stream
BT /F1 9 Tf 9 9 Td (warm) Tj ET
endstream endobj
trailer <</Root 1 0 R>>
%%EOF
"""

PROCESSOR = PdfProcessor()
