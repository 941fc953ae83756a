"""Identifiers: ULIDs (128 bits: 48 of milliseconds, 80 random; 26 characters of Crockford's
base 32), so that ids sort by time of creation and cannot be guessed.

Source: https://github.com/ulid/spec
"""

from __future__ import annotations

import os
import re
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
SHAPE = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
"""A regular expression."""
_SHAPE = re.compile(SHAPE)


def new_id() -> str:
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -10, -10)])


def is_id(text: str) -> bool:
    return _SHAPE.fullmatch(text) is not None


def time_of(identifier: str) -> float:
    """When an id was made, in seconds since the epoch."""
    number = 0
    for character in identifier[:10]:
        number = number << 5 | _ALPHABET.index(character)
    return number / 1000


def first_id_at(time_s: float) -> str:
    """What sorts before every id that was made at `time_s` or later, and behind every other."""
    number = min(max(round(time_s * 1000), 0), 2**48 - 1) << 80
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -10, -10)])
