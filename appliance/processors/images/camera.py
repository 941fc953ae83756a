"""What the camera wrote beside the picture: for its owner, and for nobody else.

Read from EXIF (CIPA DC-008-2024) alone; XMP, IPTC and makers' notes are left unread. A field
that is broken is missing; nothing in here can make a picture fail.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from PIL import Image

from appliance.processors import limits

_EXIF_IFD, _GPS_IFD, _INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
_MAX_TEXT_CHARS = 100

_Tags = Mapping[int, Any]


def personal_facts(source: Image.Image) -> dict[str, Any]:
    """Of a loaded picture, those that are known: `make`, `model`, `lens`, `software`, `artist`,
    `takenAt` (ISO 8601, with an offset if the camera knew it), `exposureS`, `aperture` (f-number),
    `iso`, `focalLengthMm`, `location` (`latitude`, `longitude` in degrees WGS 84, north and east
    positive, and `altitudeM`)."""
    exif = _exif(source)
    if exif is None:
        return {}
    shot, place = _ifd(exif, _EXIF_IFD), _ifd(exif, _GPS_IFD)
    fields: dict[str, tuple[Callable[..., Any], _Tags, Any]] = {
        "make": (_text, exif, 0x010F),
        "model": (_text, exif, 0x0110),
        "lens": (_text, shot, 0xA434),
        "software": (_text, exif, 0x0131),
        "artist": (_text, exif, 0x013B),
        "takenAt": (_moment, shot, (0x9003, 0x9011)),
        "exposureS": (_number, shot, 0x829A),
        "aperture": (_number, shot, 0x829D),
        "iso": (_number, shot, 0x8827),
        "focalLengthMm": (_number, shot, 0x920A),
        "location": (_location, place, None),
    }
    facts = {}
    for name, (read, tags, tag) in fields.items():
        try:
            value = read(tags, tag)
        except Exception:  # noqa: BLE001  hostile or clumsy metadata: this field is missing
            value = None
        if value is not None:
            facts[name] = value
    return facts


def kept_exif(source: Image.Image) -> bytes:
    """The EXIF block for a result that keeps it: without the orientation, which is applied, the
    embedded preview, which may show what was cut away, and the maker's note, which no longer
    fits. Empty when there is none, or it cannot be read."""
    exif = _exif(source)
    if exif is None:
        return b""
    kept = Image.Exif()
    try:
        kept.update({tag: value for tag, value in exif.items() if tag in _KEPT_TAGS})
        for ifd in (_EXIF_IFD, _GPS_IFD):
            tags = {tag: value for tag, value in _ifd(exif, ifd).items() if tag not in _LOST_TAGS}
            if tags:
                kept.get_ifd(ifd).update(tags)
        return kept.tobytes() if len(kept) or kept.get_ifd(_EXIF_IFD) else b""
    except Exception:  # noqa: BLE001  as above
        return b""


_KEPT_TAGS = {0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298}
"""Description, make, model, software, date, artist, copyright."""

_LOST_TAGS = {0x927C, 0xA002, 0xA003, _INTEROPERABILITY_IFD}
"""Maker's note, width and height of the original."""


def _exif(source: Image.Image) -> Image.Exif | None:
    if len(source.info.get("exif") or b"") > limits.MAX_EXIF_BYTES:
        return None
    try:
        return source.getexif()
    except Exception:  # noqa: BLE001  as above
        return None


def _ifd(exif: Image.Exif, tag: int) -> _Tags:
    try:
        return exif.get_ifd(tag)
    except Exception:  # noqa: BLE001  as above
        return {}


def _text(tags: _Tags, tag: int) -> str | None:
    value = tags.get(tag)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    text = "".join(c for c in value.partition("\0")[0] if c.isprintable()).strip()
    return text[:_MAX_TEXT_CHARS] or None


def _number(tags: _Tags, tag: int) -> float | None:
    value = tags.get(tag)
    if isinstance(value, tuple):
        value = value[0]
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) and number > 0 else None


def _moment(tags: _Tags, tag: tuple[int, int]) -> str | None:
    text = _text(tags, tag[0])
    if text is None:
        return None
    moment = datetime.strptime(text, "%Y:%m:%d %H:%M:%S").isoformat()
    offset = _text(tags, tag[1]) or ""
    return moment + offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else moment


def _location(tags: _Tags, _: None) -> dict[str, float] | None:
    latitude, longitude = _degrees(tags, 1, 90), _degrees(tags, 3, 180)
    if latitude is None or longitude is None:
        return None
    place = {"latitude": latitude, "longitude": longitude}
    altitude = _number(tags, 6)
    if altitude is not None:
        below = tags.get(5) in (1, b"\1")
        place["altitudeM"] = round(-altitude if below else altitude, 1)
    return place


def _degrees(tags: _Tags, tag: int, most: int) -> float | None:
    """The coordinate at `tag + 1` (degrees, minutes, seconds), with the letter at `tag`."""
    parts = [float(part) for part in tags.get(tag + 1, ())]
    degrees: float = sum(part / 60**number for number, part in enumerate(parts))
    if not parts or not math.isfinite(degrees) or not 0 <= degrees <= most:
        return None
    return round(-degrees if _text(tags, tag) in ("S", "W") else degrees, 6)
