"""File names, as they come from strangers, made fit to show and to store.

A name is metadata: nothing is decided by it but the agreement of its extension with the
content. Any Unicode is kept except what is dangerous to show or impossible to store.
"""

from __future__ import annotations

import re
import unicodedata

MAX_BYTES = 200
"""In UTF-8. File systems take 255; the rest is room for suffixes of ours."""

NAMELESS = "unnamed"

# Bidirectional controls let `cod.exe` be shown as `exe.doc`; they are not needed in a name.
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_EDGES = "." + "".join(filter(str.isspace, map(chr, range(0x3001))))
"""A dot and every space there is: not at the beginning of a name, nor at its end."""


def clean(name: str | None) -> str:
    """`name` without path, control characters and edges of dots or spaces; never empty."""
    text = re.split(r"[/\\]", name or "")[-1]
    if not (text.isascii() and text.isprintable()):
        text = _without_controls(text)
    text = text.strip(_EDGES)
    return _shorten(text) or NAMELESS


def _without_controls(text: str) -> str:
    text = _BIDI_CONTROLS.sub("", text)
    text = "".join(
        character
        for character in text
        if unicodedata.category(character) not in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
    )
    # Normalised last: an accent finds its letter only when what stood between them is gone.
    return unicodedata.normalize("NFC", text)


def extension(name: str) -> str:
    """The last extension in lower case with its dot, or the empty string."""
    stem, dot, last = name.rpartition(".")
    if not dot or not stem or not re.fullmatch(r"[A-Za-z0-9]{1,12}", last):
        return ""
    return f".{last.lower()}"


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_BYTES:
        return name
    suffix = extension(name)
    stem = name[: len(name) - len(suffix)] if suffix else name
    room = MAX_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(_EDGES) + suffix
