"""A page of a PDF as a picture, with pauses in which it is decided whether to go on."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pypdfium2 as pdfium
from PIL import Image
from pypdfium2 import raw

from appliance.processors import limits
from appliance.processors.pace import INTERVAL_S, Pace


def draw(
    document: pdfium.PdfDocument, page: pdfium.PdfPage, edge_px: int, pace: Pace, step: str
) -> tuple[Image.Image, bool]:
    """A page on white, its longest side `edge_px`, and whether it was drawn to the end.

    Raises PdfiumError for a page that cannot be drawn.
    """
    width, height = _picture_size(page.get_size(), edge_px)
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


def _picture_size(points: tuple[float, float], edge_px: int) -> tuple[int, int]:
    scale = edge_px / max(points)
    width, height = (min(edge_px, max(1, round(side * scale))) for side in points)
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
        raise pdfium.PdfiumError("the page cannot be drawn")
    return bool(status == raw.FPDF_RENDER_DONE)
