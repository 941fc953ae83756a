"""What a PDF carries below its pages: scripts, attachments, actions, signatures, XMP.

pdfium's interface does not show most of it, so pypdf reads it: every object that hangs from the
trailer is looked at once, wherever it hangs, save what only draws (content, resources, the looks
of annotations) and what only points (destinations, tags). An action counts whoever triggers it.

Limits: this tells what is there, not what it does, and a document without findings is not
proven harmless: pypdf and a reader may disagree about a damaged file. Sizes of attachments are
what the document claims; nothing is unpacked to see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pypdf
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    IndirectObject,
    NumberObject,
    StreamObject,
)

from appliance.processors import limits
from appliance.processors.documents.metadata import one_line
from appliance.processors.watchdog import Bloated, Stalled, watched

logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells of every fault it mends

ACTIONS = {
    "/JavaScript": "javascript",
    "/Launch": "launch",
    "/SubmitForm": "submit",
    "/ImportData": "import",
    "/GoToR": "remote",
    "/GoToE": "remote",
    "/Rendition": "media",
    "/Movie": "media",
    "/Sound": "media",
    "/RichMediaExecute": "media",
}
"""What runs, starts, sends or plays something (ISO 32000-1, 12.6.4), by the names told."""

MEDIA_ANNOTATIONS = {"/RichMedia", "/Movie", "/Sound", "/Screen", "/3D"}

ONLY_DRAWN_OR_POINTED = {
    "/Contents", "/Resources", "/AP", "/Thumb", "/PieceInfo", "/Group",
    "/Parent", "/P", "/Dests", "/Dest", "/StructTreeRoot", "/Metadata", "/EF",
}  # fmt: skip


@dataclass
class Structure:
    """What has been found so far."""

    active: set[str] = field(default_factory=set)
    scripts: int = 0
    links: int = 0
    signatures: int = 0
    attachments: list[dict[str, Any]] = field(default_factory=list)
    attachment_count: int = 0
    xmp: dict[str, str | None] = field(default_factory=dict)
    complete: bool = False
    """False: something may have been missed."""

    def facts(self) -> dict[str, Any]:
        return {
            "activeContent": sorted(self.active),
            "scripts": self.scripts,
            "links": self.links,
            "signatures": self.signatures,
            "attachmentCount": self.attachment_count,
            "attachments": list(self.attachments),
            "structureComplete": self.complete,
        }


def examine(source: BinaryIO, *, limit_s: float = limits.MAX_PDF_STRUCTURE_S) -> Structure:
    """Never raises for the document: what cannot be read is missing, and `complete` is False."""
    found = Structure()
    try:
        found.complete = watched(  # without a beat: the time is for all of it
            lambda _: _examine(source, found),
            silent_cpu_s=limit_s,
            memory_bytes=limits.MAX_PDF_MEMORY_BYTES,
        )
    except (Stalled, Bloated):
        found = Structure(**vars(found))  # the thread may go on with the old one
    return found


def warm(source: BinaryIO) -> None:
    """Parse a document without a thread of its own."""
    if not _examine(source, Structure()):
        raise ValueError("the sample is not understood")


def _examine(source: BinaryIO, found: Structure) -> bool:
    """Whether everything could be read."""
    try:
        reader = pypdf.PdfReader(source, strict=False)
        complete = True
        for dictionary in _dictionaries(reader):
            if dictionary is None:
                complete = False
            else:
                _note(dictionary, found)
        found.xmp = _xmp(reader)
    except Exception:  # noqa: BLE001  whatever its parser trips over; pdfium has judged the file
        return False
    return complete


def _dictionaries(reader: pypdf.PdfReader) -> Iterator[DictionaryObject | None]:
    """Every dictionary that hangs from the trailer, once; None for an object that cannot be read
    and at the end if there are too many."""
    seen: set[tuple[int, int]] = set()
    rest: list[Any] = [reader.trailer]
    while rest:
        value = rest.pop()
        if isinstance(value, IndirectObject):
            key = (value.idnum, value.generation)
            if key in seen:
                continue
            seen.add(key)
            if len(seen) > limits.MAX_PDF_OBJECTS:
                yield None
                return
            try:
                value = value.get_object()
            except Exception:  # noqa: BLE001  as above: one broken object must not hide the others
                yield None
                continue
        if isinstance(value, DictionaryObject):
            yield value
            rest.extend(value.raw_get(name) for name in value if name not in ONLY_DRAWN_OR_POINTED)
        elif isinstance(value, ArrayObject):
            rest.extend(item for item in list.__iter__(value) if not isinstance(item, NumberObject))


def _note(dictionary: DictionaryObject, found: Structure) -> None:
    kind = _name(dictionary, "/S")
    if kind in ACTIONS:
        found.active.add(ACTIONS[kind])
    elif kind == "/URI":
        found.links += 1
    if kind == "/JavaScript" or "/JS" in dictionary:
        found.active.add("javascript")
        found.scripts += 1
    if _name(dictionary, "/Subtype") in MEDIA_ANNOTATIONS:
        found.active.add("media")
    if "/XFA" in dictionary:
        found.active.add("xfa")
    if "/ByteRange" in dictionary and "/Contents" in dictionary:
        found.signatures += 1
    if "/EF" in dictionary:
        found.active.add("attachments")
        found.attachment_count += 1
        if len(found.attachments) < limits.MAX_PDF_ATTACHMENTS:
            found.attachments.append(_attachment(dictionary))


def _name(dictionary: DictionaryObject, key: str) -> str | None:
    value = dictionary.get(key)
    return str(value) if isinstance(value, str) else None


def _attachment(specification: DictionaryObject) -> dict[str, Any]:
    """Of a file specification (ISO 32000-1, 7.11.3)."""
    name = specification.get("/UF") or specification.get("/F") or ""
    size = None
    files = specification.get("/EF")
    if isinstance(files, DictionaryObject):
        file = files.get("/UF") or files.get("/F")
        if isinstance(file, StreamObject):
            parameters = file.get("/Params")
            if isinstance(parameters, DictionaryObject):
                size = parameters.get("/Size")
    return {
        "name": (one_line(str(name)) or "")[: limits.MAX_PDF_ATTACHMENT_NAME_CHARS] or None,
        "sizeBytes": int(size) if isinstance(size, int) and size >= 0 else None,
    }


def _xmp(reader: pypdf.PdfReader) -> dict[str, str | None]:
    """The members of XMP (ISO 16684-1) that the facts have room for; absent where it is silent."""
    about = reader.xmp_metadata
    if about is None:
        return {}
    read: dict[str, Callable[[], Any]] = {
        "title": lambda: _one_of(about.dc_title),
        "author": lambda: ", ".join(about.dc_creator or []),
        "subject": lambda: _one_of(about.dc_description),
        "keywords": lambda: about.pdf_keywords or ", ".join(about.dc_subject or []),
        "creator": lambda: about.xmp_creator_tool,
        "producer": lambda: about.pdf_producer,
        "language": lambda: ", ".join(about.dc_language or []),
        "pdfA": lambda: (about.pdfaid_part or "") + (about.pdfaid_conformance or "").lower(),
    }
    said = {name: one_line(str(value() or "")) for name, value in read.items()}
    return {name: value for name, value in said.items() if value}


def _one_of(texts: dict[str, str] | None) -> str | None:
    """Of a text in several languages, the default one."""
    return (texts or {}).get("x-default") or next(iter((texts or {}).values()), None)
