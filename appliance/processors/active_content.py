"""What a file of another kind than PDF carries that runs: macros, scripts, embedded objects.

Its bytes are looked at as they pass, for names and marks that lie in plain sight: nothing is
unpacked or parsed, so no bomb is met. The names of a ZIP's members stand uncompressed in its
directory (APPNOTE 4.3.12), those of an OLE file in UTF-16 (MS-CFB 2.6.1).

Limits: it tells what is there, not what it does, and what hides itself (encodings, a member of a
member) is not found. Without findings a file is not proven harmless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

OVERLAP_BYTES = 512
"""What is looked for is shorter, so that none of it is lost between two blocks."""

Marks = Mapping[str, re.Pattern[bytes]]


def _member(name: bytes) -> re.Pattern[bytes]:
    """An entry of a ZIP's central directory: 42 bytes after its signature begins the name."""
    return re.compile(rb"PK\x01\x02.{42}" + name, re.DOTALL)


def _entry(*names: str) -> re.Pattern[bytes]:
    """A directory entry of an OLE file with one of these names, with its end."""
    return re.compile(b"|".join(re.escape(f"{name}\0".encode("utf-16-le")) for name in names))


_PAGE: Marks = {
    "javascript": re.compile(
        rb"""<(?:\w{1,20}:)?script\b|[\s"'/]on[a-z]{3,30}\s{0,20}=|javascript:""", re.IGNORECASE
    ),
    "objects": re.compile(rb"<(?:\w{1,20}:)?(?:iframe|object|embed|foreignobject)\b", re.I),
}
_OOXML: Marks = {
    "macros": _member(rb"[\w/]{0,40}(?:vbaProject\.bin|macrosheets/)"),
    "activex": _member(rb"[\w/]{0,40}activeX/"),
    "objects": _member(rb"[\w/]{0,40}embeddings/"),
}

MARKS: Mapping[str, Marks] = {
    "application/vnd.openxmlformats-officedocument": _OOXML,
    "application/zip": _OOXML,  # what Office writes has no fixed first member
    "application/vnd.oasis.opendocument": {
        "macros": _member(rb"(?:Basic|Scripts)/."),
        "objects": _member(rb"Object "),
    },
    "application/epub+zip": {"javascript": _member(rb"[\w ./-]{1,200}\.js")},
    "application/x-ole-storage": {
        "macros": _entry("_VBA_PROJECT", "_VBA_PROJECT_CUR", "Macros"),
        "objects": _entry("\x01Ole10Native"),
    },
    "application/rtf": {"objects": re.compile(rb"\\obj(?:data|emb|ocx|autlink)\b")},
    "image/svg+xml": _PAGE,
    "text/html": _PAGE,
    "application/xml": _PAGE,
}
"""What is looked for in files of a type, by the word that is told."""


class ActiveContent:
    """Is fed with a file in blocks. For a type that is not in MARKS, it knows nothing."""

    def __init__(self, content_type: str) -> None:
        self._sought = dict(MARKS.get(content_type, {}))
        self._is_known = bool(self._sought)
        self._found: set[str] = set()
        self._end = b""

    def feed(self, block: bytes) -> None:
        if not self._sought:
            return
        seen = self._end + block
        self._found |= {word for word, mark in self._sought.items() if mark.search(seen)}
        for word in self._found & self._sought.keys():
            del self._sought[word]
        self._end = seen[-OVERLAP_BYTES:]

    def facts(self) -> dict[str, list[str]]:
        return {"activeContent": sorted(self._found)} if self._is_known else {}
