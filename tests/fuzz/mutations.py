"""Ways to damage a file, as hypothesis strategies: what breaks on its way, and what an attacker
writes."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import strategies as st

HEADER_BYTES = 512
"""Where most of a format's sizes, counts and offsets stand."""

EXTREMES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x00", b"\x00\x00\x00\x01", b"\xff\xff\xff\x7f")  # fmt: skip
"""Numbers at which arithmetic goes wrong, in both byte orders."""


def cut(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(1, max(1, len(data) - 1)))]


def flip_in_header(draw: st.DrawFn, data: bytes) -> bytes:
    return _flipped(draw, data, min(HEADER_BYTES, len(data)))


def flip_anywhere(draw: st.DrawFn, data: bytes) -> bytes:
    return _flipped(draw, data, len(data))


def _flipped(draw: st.DrawFn, data: bytes, end: int) -> bytes:
    out = bytearray(data)
    for at in draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=12)):
        out[at] ^= draw(st.integers(1, 255))
    return bytes(out)


def extreme_number(draw: st.DrawFn, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.sampled_from(EXTREMES))
        at = draw(st.integers(0, max(0, min(len(data), 4 * HEADER_BYTES) - len(number))))
        out[at : at + len(number)] = number
    return bytes(out)


def noise(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data) - 1))
    length = draw(st.integers(1, 4096))
    dice = random.Random(draw(st.integers(0, 1 << 30)))
    return data[:at] + dice.randbytes(min(length, len(data) - at)) + data[at + length :]


def zeroed(draw: st.DrawFn, data: bytes) -> bytes:
    """A block that never came to the disk."""
    at = draw(st.integers(0, len(data) - 1))
    length = min(draw(st.integers(1, 4096)), len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


def without_a_piece(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(1, max(1, len(data) - 1)))
    return data[:at] + data[at + draw(st.integers(1, 2048)) :]


def piece_twice(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data) - 1))
    piece = data[at : at + draw(st.integers(1, 2048))]
    return data[:at] + piece * draw(st.integers(2, 20)) + data[at:]


MUTATIONS: tuple[Callable[[st.DrawFn, bytes], bytes], ...] = (
    cut, flip_in_header, flip_anywhere, extreme_number, noise, zeroed, without_a_piece, piece_twice
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` after one or two of the mutations; never empty."""
    for mutate in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=2)):
        data = mutate(draw, data)
    return data
