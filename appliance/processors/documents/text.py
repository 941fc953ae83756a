"""The text of a PDF in two files, written page by page: for people and for viewers.

There is no recognition of scanned text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pypdfium2 as pdfium

from appliance.processors import limits
from appliance.processors.protocol import Reporter

PAGE_BREAK = "\f"

TIDY = str.maketrans({"\r": None, "\0": None, PAGE_BREAK: " ", "\x02": "-", "\ufffe": "-"})
"""pdfium ends lines with CR LF, and marks a hyphen at a line's end with U+0002 or U+FFFE."""


def text_of(page: pdfium.PdfPage) -> str:
    text = page.get_textpage()
    try:
        return str(text.get_text_bounded()).translate(TIDY)
    finally:
        text.close()


class TextFiles:
    """`text.txt`: UTF-8, a form feed between pages. `text.json`: `{"pages": ["…", null]}`, null
    for a page that cannot be read. Both are cut at `MAX_PDF_TEXT_CHARS`."""

    def __init__(self, folder: Path) -> None:
        self._plain: BinaryIO = (folder / "text.txt").open("wb")
        self._json: BinaryIO = (folder / "text.json").open("wb")
        self._json.write(b'{"pages":[')
        self._pages = self._chars = 0
        self.is_full = False

    def add(self, text: str | None) -> None:
        """The next page."""
        kept = text
        if text is not None:
            kept = text[: limits.MAX_PDF_TEXT_CHARS - self._chars]
            self.is_full = len(kept) < len(text)
            self._chars += len(kept)
        separators = (PAGE_BREAK, ",") if self._pages else ("", "")
        self._plain.write((separators[0] + (kept or "")).encode("utf-8", "replace"))
        # A lone surrogate is no Unicode: what stands in text.txt stands here.
        told = None if kept is None else kept.encode("utf-8", "replace").decode()
        self._json.write(separators[1].encode() + msgspec.json.encode(told))
        self._pages += 1

    def close(self) -> None:
        for file in (self._plain, self._json):
            file.close()

    def finish(self, page_count: int, report: Reporter) -> dict[str, Any]:
        """Close and report the files, or remove them when there is no text.

        Facts: textChars, textTruncated (text beyond the limit was left out).
        """
        self._json.write(b"]}")
        self.close()
        if self._chars:
            report.output("text.txt", "text/plain")
            report.output("text.json", "application/json")
        else:
            for file in (self._plain, self._json):
                Path(file.name).unlink()
        return {
            "textChars": self._chars,
            "textTruncated": self.is_full or self._pages < page_count,
        }
