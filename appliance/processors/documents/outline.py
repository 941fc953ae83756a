"""The outline (bookmarks) of a PDF as a tree in JSON.

Read with pdfium. A circle ends where it would begin again; what is beyond the limits is left
out, and the result says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pypdfium2 as pdfium
from pypdfium2 import raw

from appliance.processors import limits
from appliance.processors.documents.metadata import one_line
from appliance.processors.protocol import Reporter


class Entry(msgspec.Struct):
    title: str
    page: int | None
    """Counted from 1; None where the entry leads out of the document or nowhere."""
    children: list[Entry] = []


def write_outline(
    document: pdfium.PdfDocument, output_dir: Path, report: Reporter
) -> dict[str, Any]:
    """Facts: outlineEntries, outlineTruncated. Result: `outline.json` where there is an outline,
    `{"entries": [{"title", "page", "children"}], "truncated"}`."""
    entries, count, truncated = _read(document)
    if entries:
        path = output_dir / "outline.json"
        path.write_bytes(msgspec.json.encode({"entries": entries, "truncated": truncated}))
        report.output(path.name, "application/json")
    return {"outlineEntries": count, "outlineTruncated": truncated}


def _read(document: pdfium.PdfDocument) -> tuple[list[Entry], int, bool]:
    top: list[Entry] = []
    lists, count = [top], 0
    for bookmark in document.get_toc(max_depth=limits.MAX_PDF_OUTLINE_DEPTH):
        if count == limits.MAX_PDF_OUTLINE_ENTRIES:
            return top, count, True
        count += 1
        entry = Entry(one_line(bookmark.get_title()) or "", _page(bookmark))
        del lists[bookmark.level + 1 :]
        lists[-1].append(entry)
        lists.append(entry.children)
    return top, count, False


def _page(bookmark: pdfium.PdfBookmark) -> int | None:
    destination = bookmark.get_dest()
    if destination is None:
        action = raw.FPDFBookmark_GetAction(bookmark)
        if not action or raw.FPDFAction_GetType(action) != raw.PDFACTION_GOTO:
            return None
        handle = raw.FPDFAction_GetDest(bookmark.pdf, action)
        if not handle:
            return None
        destination = pdfium.PdfDest(handle, pdf=bookmark.pdf)
    index = destination.get_index()
    return None if index is None else index + 1
