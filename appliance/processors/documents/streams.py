"""Bombs in the streams of a PDF, found before a parser opens it.

pdfium inflates content and object streams whole, and where memory ends its process aborts. What
a stream inflates to is counted here in small pieces that are dropped at once.

The file is searched for streams as bytes, not followed through its tables: dictionaries of
streams are never compressed or encrypted (ISO 32000-1, 7.5.7 and 7.6.1), so none is missed
because two parsers disagree about a damaged file. Pictures and attachments are left out: pdfium
reads pictures by lines, and attachments never.

Limits: what an encrypted stream inflates to is not known, and a filter may be named in an object
of its own; then the memory that the child may use is the bound.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.errors import LimitExceeded
from appliance.processors import limits

MAX_DEFLATE_RATIO = 1032
"""What deflate can do at best: RFC 1951 codes 258 bytes in 2 bits."""

DICTIONARY_BYTES = 4096
"""How far before its data a stream's dictionary is looked for."""

PIECE_BYTES = 256 * 1024

_STREAM = re.compile(rb"stream\r?\n")
_FLATE = re.compile(rb"/(?:FlateDecode|Fl)\b")
_NOT_INFLATED = re.compile(rb"/Subtype\s*/Image\b|/Type\s*/EmbeddedFile\b")


def refuse_bombs(path: Path) -> None:
    """Raise LimitExceeded if a stream inflates to more than `MAX_PDF_STREAM_BYTES`, or all
    together to more than `MAX_PDF_STREAMS_BYTES`."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        total = 0
        for start, end, layers in _suspects(data):
            size = _inflated_size(data, start, end, layers)
            total += size
            _hold("A stream of this PDF", size, limits.MAX_PDF_STREAM_BYTES)
            _hold("This PDF", total, limits.MAX_PDF_STREAMS_BYTES)


def _hold(what: str, size: int, limit: int) -> None:
    """Counting ends at the limit, so that the size itself is not known."""
    if size > limit:
        raise LimitExceeded(
            f"{what} unpacks to more than {limit:,} bytes, the most that this server processes.",
            limit=limit,
        )


def _suspects(data: mmap.mmap) -> Iterator[tuple[int, int, int]]:
    """Where the data of each stream begins and ends that could be too large, and how many times
    it is deflated."""
    for match in _STREAM.finditer(data):
        start = match.end()
        if data[match.start() - 3 : match.start()] == b"end":
            continue
        dictionary = data[max(0, match.start() - DICTIONARY_BYTES) : match.start()]
        dictionary = dictionary[dictionary.rfind(b" obj") + 1 :]
        layers = len(_FLATE.findall(dictionary))
        if not layers or _NOT_INFLATED.search(dictionary):
            continue
        end = data.find(b"endstream", start)
        end = len(data) if end < 0 else end
        if (end - start) * MAX_DEFLATE_RATIO**layers > limits.MAX_PDF_STREAM_BYTES:
            yield start, end, layers


def _inflated_size(data: mmap.mmap, start: int, end: int, layers: int) -> int:
    """The size after the layer that makes most of it, counted no further than just beyond
    `MAX_PDF_STREAM_BYTES`. What cannot be inflated any further ends there, as for pdfium."""
    pieces: Iterable[bytes] = (
        data[at : min(at + PIECE_BYTES, end)] for at in range(start, end, PIECE_BYTES)
    )
    sizes = [0] * layers
    for layer in range(layers):
        pieces = _inflated(pieces, sizes, layer)
    for _ in pieces:
        if max(sizes) > limits.MAX_PDF_STREAM_BYTES:
            break
    return max(sizes)


def _inflated(pieces: Iterable[bytes], sizes: list[int], layer: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    for piece in pieces:
        rest = piece
        while rest and not inflater.eof:
            try:
                made = inflater.decompress(rest, PIECE_BYTES)
            except zlib.error:  # encrypted, damaged from here on, or no deflate data at all
                made, rest = b"", b""
            else:
                rest = inflater.unconsumed_tail
            sizes[layer] += len(made)
            yield made
