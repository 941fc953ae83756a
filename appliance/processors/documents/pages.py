"""The pages of a PDF, one after the other: each is opened once, drawn and read.

A page that cannot be opened or drawn is named in the facts and left out; the others are made.
"""

from __future__ import annotations

import io
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import pypdfium2 as pdfium
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401  (formats)

from appliance.errors import CorruptFile
from appliance.processors import limits
from appliance.processors.documents.drawing import draw
from appliance.processors.documents.text import TextFiles, text_of
from appliance.processors.pace import Pace
from appliance.processors.protocol import Reporter
from appliance.processors.silence import Silence
from appliance.processors.watchdog import Pulse

DRAWN_WEIGHT = 20
"""What drawing a page takes, in the time that reading one takes: for the progress."""

START, END = 0.02, 0.95
"""The pages' share of the progress."""

ENDINGS = {"webp": "webp", "jpeg": "jpg", "png": "png"}

WEBP_METHOD = 2
"""As for pictures: twice as fast as libwebp's default, for files 1 to 3 % larger."""


class Wanted(Protocol):
    """The part of the options that is about pages: see `pdf.PdfOptions`."""

    @property
    def pages(self) -> int | str: ...
    @property
    def page_edge_px(self) -> int: ...
    @property
    def format(self) -> str: ...
    @property
    def quality(self) -> int: ...
    @property
    def thumbnail_px(self) -> int: ...
    @property
    def text(self) -> bool: ...


class Pages:
    def __init__(
        self,
        document: pdfium.PdfDocument,
        options: Wanted,
        output_dir: Path,
        report: Reporter,
        pulse: Pulse,
    ) -> None:
        self._document, self._options = document, options
        self._folder, self._report, self._pulse = output_dir, report, pulse
        self._count = len(document)
        asked = self._count if options.pages == "all" else int(options.pages)
        self._pictures = min(asked, self._count, limits.MAX_PDF_PICTURES)
        self._to_draw = max(self._pictures, 1 if options.thumbnail_px else 0)
        self._rendered = self._incomplete = 0
        self._unreadable: list[int] = []

    def work_through(self) -> dict[str, Any]:
        """Facts: pagesRendered, pagesIncomplete (drawn in part, because they took too long),
        pagesUnreadable (how many), unreadablePages (the numbers of the first of them), and with
        `text` those of `TextFiles.finish`. Raises CorruptFile if no page can be read."""
        with ExitStack() as files:
            text = (
                files.enter_context(closing(TextFiles(self._folder)))
                if self._options.text
                else None
            )
            return self._work_through(text)

    def _work_through(self, text: TextFiles | None) -> dict[str, Any]:
        last = self._count if text else self._to_draw
        for index in range(last):
            if index >= self._to_draw and text and text.is_full:
                break
            self._pulse.beat()
            self._work_on(index, text)
        if last and len(self._unreadable) == last:
            raise CorruptFile(
                "No page of this PDF can be read. Check that it opens on your computer,"
                " and upload it again."
            )
        return {
            "pagesRendered": self._rendered,
            "pagesIncomplete": self._incomplete,
            "pagesUnreadable": len(self._unreadable),
            "unreadablePages": self._unreadable[: limits.MAX_PDF_UNREADABLE_LISTED],
            **(text.finish(self._count, self._report) if text else {}),
        }

    def _work_on(self, index: int, text: TextFiles | None) -> None:
        read = None
        try:
            with closing(self._document[index]) as page:
                if text and not text.is_full:
                    read = text_of(page)
                if index < self._to_draw:
                    self._draw(page, index)
                else:
                    step = f"reading page {index + 1} of {self._count}"
                    self._pace(index).tell(0.0, step)
        except pdfium.PdfiumError:
            self._unreadable.append(index + 1)
        if text and not text.is_full:
            text.add(read)

    def _draw(self, page: pdfium.PdfPage, index: int) -> None:
        options, pictured = self._options, index < self._pictures
        edge_px = options.page_edge_px if pictured else options.thumbnail_px
        step = f"drawing page {index + 1} of {max(self._pictures, 1)}"
        picture, complete = draw(self._document, page, edge_px, self._pace(index), step)
        self._incomplete += not complete
        if index == 0 and options.thumbnail_px:
            thumbnail = picture.copy()
            thumbnail.thumbnail((options.thumbnail_px,) * 2, Image.Resampling.LANCZOS)
            self._save(thumbnail, "thumbnail", "webp")
        if pictured:
            self._save(picture, f"page-{index + 1}", options.format)
            self._rendered += 1

    def _save(self, picture: Image.Image, stem: str, format: str) -> None:
        name = f"{stem}.{ENDINGS[format]}"
        save(picture, self._folder / name, format, self._options.quality)
        self._report.output(
            name, f"image/{format}", width_px=picture.width, height_px=picture.height
        )

    def _pace(self, index: int) -> Pace:
        """The stretch of the whole that this page is."""
        texts = self._count if self._options.text else 0
        whole = self._to_draw * DRAWN_WEIGHT + texts

        def done(pages: int) -> float:
            return min(pages, self._to_draw) * DRAWN_WEIGHT + (pages if texts else 0)

        share = (END - START) / whole
        return Pace(self._report, START + done(index) * share, START + done(index + 1) * share)


def save(picture: Image.Image, file: Path | io.BytesIO, format: str, quality: int) -> None:
    if format == "webp":
        picture.save(file, "WEBP", quality=quality, method=WEBP_METHOD)
    elif format == "jpeg":
        picture.save(file, "JPEG", quality=quality)
    else:
        picture.save(file, "PNG", compress_level=6)


def warm(document: pdfium.PdfDocument) -> None:
    """Draw, read and save the first page in every format."""
    with closing(document[0]) as page:
        picture, _ = draw(document, page, 64, Pace(Silence(), 0, 1), "warming")
        text_of(page)
    for format in ENDINGS:
        save(picture, io.BytesIO(), format, 80)
