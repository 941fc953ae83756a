"""What runs in files that are not PDFs is told, wherever it lies and however it is cut."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest

from appliance.processors.active_content import ActiveContent
from appliance.processors.any import PROCESSOR
from appliance.processors.documents.structure import ACTIONS
from appliance.web import words
from tests.processing import process

OOXML = "application/vnd.openxmlformats-officedocument"
ODF = "application/vnd.oasis.opendocument"


def archive(*names: str) -> bytes:
    """A ZIP with these members, packed, beside a large one."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("[Content_Types].xml", *names):
            packed.writestr(name, "word/vbaProject.bin, Basic/Standard and <script> are only words")
        packed.writestr("word/media/noise.txt", "noise " * 100_000)
    return file.getvalue()


def ole(*names: str) -> bytes:
    """The directory of a compound file (MS-CFB 2.6.1): names of 32 characters in UTF-16."""
    entries = b"".join(name.encode("utf-16-le").ljust(64, b"\0") + bytes(64) for name in names)
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + entries


HARMLESS = archive("word/document.xml")
FILES = {
    "word with macros": (OOXML, archive("word/vbaProject.bin"), ["macros"]),
    "excel with macros": ("application/zip", archive("xl/vbaProject.bin"), ["macros"]),
    "excel with old macros": (OOXML, archive("xl/macrosheets/sheet1.xml"), ["macros"]),
    "word with a control": (OOXML, archive("word/activeX/activeX1.bin"), ["activex"]),
    "word with an object": (OOXML, archive("word/embeddings/oleObject1.bin"), ["objects"]),
    "word without": (OOXML, HARMLESS, []),
    "a zip with the word": ("application/zip", HARMLESS, []),
    "writer with macros": (ODF, archive("Basic/Standard/Module1.xml"), ["macros"]),
    "writer with python": (ODF, archive("Scripts/python/evil.py"), ["macros"]),
    "writer without": (ODF, HARMLESS, []),
    "a book with scripts": ("application/epub+zip", archive("OEBPS/a b.js"), ["javascript"]),
    "a book without": ("application/epub+zip", HARMLESS, []),
    "old word with macros": ("application/x-ole-storage", ole("Root Entry", "Macros"), ["macros"]),
    "old excel with macros": (
        "application/x-ole-storage", ole("Workbook", "_VBA_PROJECT_CUR"), ["macros"]
    ),
    "old word with a package": (
        "application/x-ole-storage", ole("Root Entry", "\x01Ole10Native"), ["objects"]
    ),
    "old word without": ("application/x-ole-storage", ole("Root Entry", "WordDocument"), []),
    "rtf with an object": ("application/rtf", rb"{\rtf1{\object{\*\objdata 01}}}", ["objects"]),
    "rtf without": ("application/rtf", rb"{\rtf1 an \'6fbject}", []),
    "svg with a script": ("image/svg+xml", b"<svg><SCRIPT>x</SCRIPT></svg>", ["javascript"]),
    "svg with a prefix": ("image/svg+xml", b"<s:svg><s:script/></s:svg>", ["javascript"]),
    "svg with a handler": ("image/svg+xml", b"<svg\nonload = 'x'/>", ["javascript"]),
    "svg with a page": ("image/svg+xml", b"<svg><foreignObject/></svg>", ["objects"]),
    "svg that draws": ("image/svg+xml", b"<svg><path d='M0 0'/></svg>", []),
    "html with a link": ("text/html", b"<a href='JavaScript:x'>", ["javascript"]),
    "html with a frame": ("text/html", b"<html><iframe src=//x><script src=x>",
                          ["javascript", "objects"]),
    "html that reads": ("text/html", b"<html><p>on = off, scripts and objects", []),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_runs_is_told(name: str, tmp_path: Path) -> None:
    content_type, data, told = FILES[name]
    assert process(PROCESSOR, data, content_type, tmp_path).facts["activeContent"] == told


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size_bytes", [1, 13, 700])
def test_no_mark_is_lost_between_two_blocks(name: str, size_bytes: int) -> None:
    content_type, data, told = FILES[name]
    active = ActiveContent(content_type)
    for at in range(0, len(data), size_bytes):
        active.feed(data[at : at + size_bytes])
    assert active.facts() == {"activeContent": told}


def test_where_nothing_was_looked_for_nothing_is_said() -> None:
    active = ActiveContent("audio/flac")
    active.feed(b"<script>")
    assert active.facts() == {}


def test_each_has_its_word_on_the_pages() -> None:
    told = {word for _, _, found in FILES.values() for word in found}
    told |= {*ACTIONS.values(), "xfa", "attachments"}
    assert told == words.ACTIVE.keys()
    assert words.holds({"activeContent": ["attachments", "javascript", "unheard-of"]}) == (
        "holds scripts, attachments"
    )
    for nothing in ({}, {"activeContent": []}, {"activeContent": None}, {"activeContent": "xfa"}):
        assert words.holds(nothing) == ""
    script = (Path(__file__).parents[2] / "static/words.js").read_text()
    table = re.search(r"const ACTIVE = \{(.*?)\};", script, re.S)
    assert table is not None
    assert dict(re.findall(r'(\w+): "([^"]*)"', table[1])) == words.ACTIVE
