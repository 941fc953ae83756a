"""What a PDF says of itself: its information dictionary, its version and the sizes of its pages.

ISO 32000-1, 14.3.3. What XMP adds to it is read with the structure (`structure`).
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pypdfium2 as pdfium
from pypdfium2 import raw

from appliance.processors import limits

FIELDS = ("Title", "Author", "Subject", "Keywords", "Creator", "Producer")


def describe(document: pdfium.PdfDocument) -> dict[str, Any]:
    """Facts: pageCount, title, author, subject, keywords, creator, producer (null where the
    document is silent), createdAt, modifiedAt (RFC 3339), pdfVersion, tagged, encrypted,
    pageSizes (`[{"width", "height", "pages"}]` in points of 1/72 inch, the most frequent first).
    """
    said = document.get_metadata_dict()
    version = document.get_version()
    return {
        "pageCount": len(document),
        **{name.lower(): one_line(said[name]) for name in FIELDS},
        "createdAt": rfc3339(said["CreationDate"]),
        "modifiedAt": rfc3339(said["ModDate"]),
        "pdfVersion": f"{version // 10}.{version % 10}" if version else None,
        "tagged": bool(document.is_tagged()),
        "encrypted": raw.FPDF_GetSecurityHandlerRevision(document) >= 0,
        "pageSizes": _page_sizes(document),
    }


def one_line(value: str) -> str | None:
    """Fit for a fact: printable, without line ends, bounded; None if nothing is left."""
    printable = "".join(c if c.isprintable() else " " for c in value).strip()
    return printable[: limits.MAX_PDF_FIELD_CHARS] or None


def _page_sizes(document: pdfium.PdfDocument) -> list[dict[str, Any]]:
    sizes: Counter[tuple[float, float]] = Counter()
    for index in range(len(document)):
        try:
            width, height = document.get_page_size(index)
        except pdfium.PdfiumError:  # told by name when the page is read
            continue
        sizes[round(width, 1), round(height, 1)] += 1
    return [
        {"width": width, "height": height, "pages": pages}
        for (width, height), pages in sizes.most_common(limits.MAX_PDF_PAGE_SIZES)
    ]


DATE = re.compile(
    r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:Z|([+-])(\d\d)'?(\d\d)?)?", re.ASCII
)


def rfc3339(date: str) -> str | None:
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
