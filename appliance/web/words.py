"""Figures and names in words that people read: sizes, durations, relative times, who did it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from appliance.jobs import JobType

KINDS: Mapping[str, str] = {
    JobType.IMAGE: "images",
    JobType.PDF: "PDFs",
    JobType.VIDEO: "videos",
    JobType.ANY: "other files",
}

ACTIVE: Mapping[str, str] = {
    "javascript": "scripts",
    "macros": "macros",
    "activex": "ActiveX controls",
    "objects": "embedded objects",
    "attachments": "attachments",
    "launch": "program starts",
    "submit": "forms that send data",
    "import": "imports of data",
    "remote": "links into other files",
    "media": "media",
    "xfa": "a dynamic form",
}
"""What a file carries that runs or is carried along (`activeContent`), in the words of
`static/words.js`."""

_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and marks that turn the direction of what follows them."""


def plain(text: str) -> str:
    """What a file, a child or a person wrote, fit to stand among our own words."""
    return _UNFIT.sub("\ufffd", text.replace("\r\n", "\n"))


def sentence(text: str) -> str:
    """With a large letter at the beginning and one full stop at the end."""
    text = text.rstrip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "…", "”")) else ".")


def count(number: int, thing: str) -> str:
    """`1 job`, `2,400 jobs`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def actor(name: str, known: Mapping[str, str]) -> str:
    """Who did it (`database.audit.Act.actor`), by the name of the key where `known` has it."""
    if name in known:
        return known[name]
    where, _, person = name.partition(":")
    if where == "shell" and person:
        return f"{person}, in a shell"
    return "the appliance" if name == "system" else name


def holds(result: Mapping[str, Any]) -> str:
    """`holds scripts, attachments`: what was found in a file that runs; empty if nothing was.

    The facts are a processor's, plug-ins included: what is no list of texts is passed over.
    """
    found = result.get("activeContent")
    known = [word for kind, word in ACTIVE.items() if isinstance(found, list) and kind in found]
    return f"holds {', '.join(known)}" if known else ""


def bytes_in_words(size: float) -> str:
    """1536 → `1.5 KB`. Decimal units, as file managers and disk makers use them."""
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"


def duration(seconds: float) -> str:
    """95 → `1 m 35 s`; the two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def ago(at: float, now: float) -> str:
    seconds = max(0.0, now - at)
    if seconds < 5:
        return "just now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    raise AssertionError


def span(seconds: float) -> str:
    """How long something is to last, in round figures: 28790 → `8 h`, 3599 → `1 h`."""
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return count(round(hours / 24), "day")


def figure(number: float) -> str:
    """A number as short as it can be understood: `0.25`, `3.5`, `1,200`."""
    if number >= 10 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def percent(part: float) -> str:
    """0.985 → `98.5%`. With a decimal where there is one: 99.9 % is not all."""
    shown = f"{100 * part:.1f}"
    return f"{shown.removesuffix('.0')}%"
