"""The format of encrypted objects: frames of AES-256-GCM under a key of their own.

    header    magic, id of the wrapping key, nonce, the object's data key wrapped by it
    frame     length, nonce, ciphertext, tag        up to FRAME_BYTES of plaintext each
    …
    index     the same, of where frames begin; only where one before the last is shorter
    end       the same, of how much there is in how many frames

Every nonce is random; a data key is used for one object only, so none comes twice. A frame is
bound to its place (its offset is authenticated), and the end to the number of bytes: an object
that was cut, reordered or put together from others does not open. That a whole object is the one
that was stored under its name is not told here: the digests in the database tell that.

Frames are only ever appended, so an object can grow over several requests (a partial has no end
yet), and where a frame lies follows from where those before it begin. Pure: no files in here.
Source of the construction: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption
and its Nonce-Reuse Misuse-Resistance" (STREAM), with random nonces, as frames may be written anew.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.errors import ObjectDamaged

MAGIC = b"\x93UPSEAL1"
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
ID_BYTES = 8
FRAME_BYTES = 1024 * 1024
"""Of plaintext in a frame. Reading one byte means opening one frame: 60 us with AES instructions,
30 ms on a small board without."""

WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
HEADER_BYTES = len(MAGIC) + ID_BYTES + WRAPPED_BYTES
PREFIX_BYTES = 4
OVERHEAD_BYTES = PREFIX_BYTES + NONCE_BYTES + TAG_BYTES
"""Of a frame, beside its ciphertext, which is as long as the plaintext."""

_END = struct.Struct(">QI")
"""Bytes of plaintext; bytes of the index's plaintext, 0: there is none."""
END_BYTES = OVERHEAD_BYTES + _END.size
_IS_NO_FRAME = 0x8000_0000
"""In the prefix of index and end: whoever walks through the frames stops there."""


@dataclass(frozen=True)
class Layout:
    """Where the frames of an object lie."""

    starts: Sequence[int]
    """The offset of each frame's first byte in the plaintext."""
    size_bytes: int
    """Of the plaintext."""

    @classmethod
    def regular(cls, size_bytes: int) -> Layout:
        return cls(range(0, size_bytes, FRAME_BYTES), size_bytes)

    @property
    def is_regular(self) -> bool:
        return self.starts == range(0, self.size_bytes, FRAME_BYTES) or (
            list(self.starts) == list(range(0, self.size_bytes, FRAME_BYTES))
        )

    @property
    def sealed_bytes(self) -> int:
        """Where the frames end in the stored object, which is where the next would begin."""
        return self.place(len(self.starts))

    def length(self, frame: int) -> int:
        """Of a frame's plaintext."""
        return self._start(frame + 1) - self._start(frame)

    def place(self, frame: int) -> int:
        """Where a frame begins in the stored object."""
        return HEADER_BYTES + self._start(frame) + frame * OVERHEAD_BYTES

    def frame_at(self, offset: int) -> int:
        """The frame that holds the plaintext's byte at `offset`."""
        return bisect_right(self.starts, offset) - 1

    def grown(self, lengths: Sequence[int]) -> Layout:
        """With frames of these lengths behind those that are there."""
        starts, size_bytes = list(self.starts), self.size_bytes
        for length in lengths:
            starts.append(size_bytes)
            size_bytes += length
        return Layout(starts, size_bytes)

    def cut(self, frames: int) -> Layout:
        return Layout(self.starts[:frames], self._start(frames))

    def _start(self, frame: int) -> int:
        return self.starts[frame] if frame < len(self.starts) else self.size_bytes


EMPTY = Layout((), 0)


class Wrapping:
    """A key that wraps others; `key_id` says which one it was, and tells nothing of it."""

    def __init__(self, key: bytes, key_id: bytes) -> None:
        self._cipher = AESGCM(key)
        self.key_id = key_id

    def wrap(self, key: bytes, *, purpose: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, purpose + self.key_id)

    def unwrap(self, wrapped: bytes, *, purpose: bytes) -> bytes:
        """Raises ObjectDamaged."""
        try:
            return self._cipher.decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], purpose + self.key_id
            )
        except (InvalidTag, ValueError) as error:
            raise ObjectDamaged("A stored key was changed or is damaged.") from error


class Seal:
    """Seals and opens the parts of one object."""

    def __init__(self, data_key: bytes, subject: str) -> None:
        """`subject`: what people are told is damaged."""
        self._cipher = AESGCM(data_key)
        self._subject = subject

    def frame(self, offset: int, plaintext: bytes | memoryview) -> bytes:
        prefix = len(plaintext).to_bytes(PREFIX_BYTES)
        return self._sealed(prefix, plaintext, b"frame" + offset.to_bytes(8))

    def open_frame(self, offset: int, sealed: memoryview) -> bytes:
        """The plaintext of a whole frame, prefix included. Raises ObjectDamaged."""
        return self._opened(sealed, b"frame" + offset.to_bytes(8))

    def ending(self, layout: Layout) -> bytes:
        """Index, where one is needed, and end."""
        index = b"" if layout.is_regular else struct.pack(f">{len(layout.starts)}Q", *layout.starts)
        end = self._closing(_END.pack(layout.size_bytes, len(index)), b"end")
        return self._closing(index, b"index") + end if index else end

    def open_end(self, sealed: memoryview) -> tuple[int, int]:
        """Bytes of the plaintext, and of the index before the end. Raises ObjectDamaged."""
        size_bytes, index_bytes = _END.unpack(self._opened(sealed, b"end"))
        return size_bytes, index_bytes

    def open_index(self, sealed: memoryview, size_bytes: int) -> Layout:
        """Raises ObjectDamaged."""
        index = self._opened(sealed, b"index")
        return Layout(struct.unpack(f">{len(index) // 8}Q", index), size_bytes)

    def _closing(self, plaintext: bytes, kind: bytes) -> bytes:
        prefix = (_IS_NO_FRAME | len(plaintext)).to_bytes(PREFIX_BYTES)
        return self._sealed(prefix, plaintext, kind)

    def _sealed(self, prefix: bytes, plaintext: bytes | memoryview, place: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return b"".join((prefix, nonce, self._cipher.encrypt(nonce, plaintext, place + prefix)))

    def _opened(self, sealed: memoryview, place: bytes) -> bytes:
        prefix = bytes(sealed[:PREFIX_BYTES])
        nonce = bytes(sealed[PREFIX_BYTES : PREFIX_BYTES + NONCE_BYTES])
        try:
            return self._cipher.decrypt(nonce, sealed[PREFIX_BYTES + NONCE_BYTES :], place + prefix)
        except (InvalidTag, ValueError) as error:
            raise ObjectDamaged(
                f"{self._subject} was changed in the store or is damaged. Restore it from a backup."
            ) from error


def frame_length(prefix: bytes) -> int | None:
    """Of the plaintext of the frame that begins with `prefix`; None: it is no whole frame."""
    length = int.from_bytes(prefix)
    return length if len(prefix) == PREFIX_BYTES and 0 < length <= FRAME_BYTES else None


class Sealing:
    """Plaintext in, stored bytes out, in pieces as they come.

    `header` is written before all else; empty for an object that goes on (`layout`).
    """

    def __init__(self, seal: Seal, header: bytes, layout: Layout = EMPTY) -> None:
        self._seal = seal
        self._out = [header]
        self._held = bytearray()
        self._lengths: list[int] = []
        self._before = layout
        self._size_bytes = layout.size_bytes

    def add(self, data: bytes | memoryview) -> bool:
        """Whether there is a frame to be taken out."""
        self._held += data
        return len(self._held) >= FRAME_BYTES

    @property
    def held_bytes(self) -> int:
        """Of plaintext, not taken out yet."""
        return len(self._held)

    def frames(self) -> bytes:
        """What is stored for the full frames that are there."""
        while len(self._held) >= FRAME_BYTES:
            self._take(FRAME_BYTES)
        return self._taken()

    def flush(self) -> bytes:
        """What is stored for all that is there; the last frame may be a short one."""
        while self._held:
            self._take(min(FRAME_BYTES, len(self._held)))
        return self._taken()

    def finish(self) -> bytes:
        """The rest, and the end of the object."""
        return self.flush() + self._seal.ending(self.layout)

    @property
    def layout(self) -> Layout:
        """Of what was taken out so far."""
        return self._before.grown(self._lengths)

    def _take(self, length: int) -> None:
        with memoryview(self._held) as held:
            self._out.append(self._seal.frame(self._size_bytes, held[:length]))
        del self._held[:length]
        self._lengths.append(length)
        self._size_bytes += length

    def _taken(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)
