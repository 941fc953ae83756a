"""PDF documents: pictures of pages, the text of all, the outline, and what else is in them.

pdfium (Chrome's) decides what a document is and draws and reads its pages; pypdf looks at what
pdfium's interface does not show: scripts, attachments, signatures, XMP (decision record 0011).

Limits: there is no recognition of scanned text. Fonts that a document does not carry come from
the system's font folders where the sandbox lets them be read, else from pdfium's own fourteen.
pdfium mends what it can: a page with a damaged content stream is drawn as far as it goes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import pypdfium2 as pdfium
from pypdfium2 import raw

from appliance.errors import (
    CorruptFile,
    EmptyDocument,
    EncryptedFile,
    LimitExceeded,
    UnsupportedFile,
)
from appliance.processors import limits
from appliance.processors.documents import structure
from appliance.processors.documents.metadata import describe
from appliance.processors.documents.outline import write_outline
from appliance.processors.documents.pages import Pages, warm
from appliance.processors.documents.streams import refuse_bombs
from appliance.processors.faults import blaming_the_file
from appliance.processors.protocol import Reporter, Task
from appliance.processors.watchdog import Bloated, Pulse, Stalled, watched


class PdfOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preset may say in its table `[pdf]`."""

    pages: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_PDF_PICTURES)] | Literal["all"] = 5
    """How many pages become pictures, from the first; "all" ends at `MAX_PDF_PICTURES`."""
    page_edge_px: Annotated[int, msgspec.Meta(ge=16, le=limits.MAX_PDF_EDGE_PX)] = 1280
    """The longest side of such a picture."""
    format: Literal["webp", "jpeg", "png"] = "webp"
    """Of the pages' pictures; the thumbnail is WebP."""
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 80
    """Of WebP and JPEG."""
    thumbnail_px: Annotated[int, msgspec.Meta(ge=0, le=limits.MAX_PDF_EDGE_PX)] = 320
    """The longest side of the first page's thumbnail; 0 makes none."""
    text: bool = True
    outline: bool = True
    structure: bool = True
    """Look for scripts, attachments, signatures and XMP."""


class PdfProcessor:
    """See `protocol.Processor`."""

    name = "pdf"
    version = "2"
    content_types = ("application/pdf",)
    options = PdfOptions
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        """Draw a page with text, read it back, and parse it with pypdf too."""
        with closing(pdfium.PdfDocument(SAMPLE)) as document:
            warm(document)
            describe(document)
            document.save(copy := io.BytesIO())
        structure.warm(copy)

    def process(self, task: Task[PdfOptions], report: Reporter) -> dict[str, Any]:
        """Facts: those of `metadata.describe`, `Pages.work_through`, `write_outline` and
        `Structure.facts`, the latter two where the options ask for them.

        Results: `thumbnail.webp`, `page-1.webp` and so on, `text.txt` and `text.json` unless
        there is no text, `outline.json` where there is one. Raises CorruptFile, EncryptedFile,
        EmptyDocument, UnsupportedFile, LimitExceeded.
        """
        if task.content_type != "application/pdf":
            raise UnsupportedFile(f"Documents of type {task.content_type} are not supported.")
        report.progress(0.0, "reading")
        with blaming_the_file("PDF"):
            _refuse_cut_off(task.input_path)
            refuse_bombs(task.input_path)
            facts = _with_pdfium(task, report)
            if task.options.structure:
                report.progress(0.98, "looking for scripts and attachments")
                facts = _with_structure(facts, task.input_path)
            return facts


def _with_pdfium(task: Task[PdfOptions], report: Reporter) -> dict[str, Any]:
    def work(pulse: Pulse) -> dict[str, Any]:
        with _opened(task.input_path) as document:
            facts = describe(document)
            pages = Pages(document, task.options, task.output_dir, report, pulse)
            facts |= pages.work_through()
            if task.options.outline:
                pulse.beat()
                facts |= write_outline(document, task.output_dir, report)
            return facts

    try:
        return watched(
            work,
            silent_cpu_s=limits.MAX_PDF_PAGE_CPU_S,
            memory_bytes=limits.MAX_PDF_MEMORY_BYTES,
        )
    except Stalled:
        raise LimitExceeded(
            f"A page of this PDF takes more than {limits.MAX_PDF_PAGE_CPU_S:g} s of processor"
            " time to read or draw. Simplify it (print it to a new PDF), and upload it again.",
            limit=limits.MAX_PDF_PAGE_CPU_S,
        ) from None
    except Bloated as bloated:
        raise LimitExceeded(
            f"A page of this PDF takes more than {bloated.limit_bytes:,} bytes of memory to read or"
            " draw. Simplify it (print it to a new PDF), and upload it again.",
            limit=bloated.limit_bytes,
        ) from None


def _with_structure(facts: dict[str, Any], path: Path) -> dict[str, Any]:
    """XMP fills in where the information dictionary is silent."""
    with path.open("rb") as source:
        found = structure.examine(source)
    if not found.complete and path.stat().st_size <= limits.MAX_PDF_REWRITTEN_BYTES:
        again = structure.examine(_rewritten(path))
        found = again if again.complete else found
    silent = {name for name, value in facts.items() if value is None}
    added = {name: found.xmp[name] for name in silent & found.xmp.keys()}
    own = {name: found.xmp.get(name) for name in ("language", "pdfA")}
    return facts | added | own | found.facts()


def _rewritten(path: Path) -> BinaryIO:
    """The document as pdfium has mended it, without encryption: pypdf mends less, and knows no
    AES without a further library."""
    copy = io.BytesIO()
    with _opened(path) as document:
        document.save(copy, flags=raw.FPDF_REMOVE_SECURITY)
    copy.seek(0)
    return copy


# --- opening -----------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[pdfium.PdfDocument]:
    handle = raw.FPDF_LoadDocument(os.fsencode(path) + b"\0", None)
    if not handle:
        raise _refusal(raw.FPDF_GetLastError())
    with closing(pdfium.PdfDocument(handle)) as document:
        if len(document) == 0:
            raise EmptyDocument(
                "This PDF has no pages. Check that it opens on your computer, and upload it again."
            )
        limits.hold("document", len(document), limits.MAX_PDF_PAGES, "pages")
        if document.get_formtype() != raw.FORMTYPE_NONE:
            document.init_forms()  # what was filled into a form is drawn by the form, not the page
        yield document


def _refuse_cut_off(path: Path) -> None:
    """pdfium rebuilds a document whose end is missing, and silently loses pages. Every PDF ends
    with %%EOF; that it may stand in the last 1,024 bytes is Acrobat's rule, which all follow."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_536))
        tail = file.read().rstrip(b"\0\t\r\n ")  # some scanners fill up a block
    if size == 0:
        raise EmptyDocument("This file is empty: there is no document in it. Upload it again.")
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
