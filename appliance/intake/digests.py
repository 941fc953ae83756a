"""The SHA-256 of uploads so far, so that a file is not read again only to be hashed.

It is lost with the server, and for all but the latest uploads: then the file is read at its end.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

KEPT = 1000


@dataclass
class Digest:
    """Of the bytes from the first up to `offset_bytes`."""

    sha256: hashlib._Hash
    offset_bytes: int

    @classmethod
    def of_nothing(cls) -> Digest:
        return cls(hashlib.sha256(), 0)

    def update(self, data: bytes) -> None:
        self.sha256.update(data)
        self.offset_bytes += len(data)


class Digests:
    def __init__(self) -> None:
        self._kept: OrderedDict[str, Digest] = OrderedDict()

    def take(self, upload_id: str, offset_bytes: int) -> Digest | None:
        """The one up to `offset_bytes`, for the caller to go on with; None if it is not known."""
        digest = self._kept.pop(upload_id, None)
        if digest is not None and digest.offset_bytes == offset_bytes:
            return digest
        return Digest.of_nothing() if offset_bytes == 0 else None

    def keep(self, upload_id: str, digest: Digest | None) -> None:
        if digest is None:
            return
        self._kept[upload_id] = digest
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def forget(self, upload_id: str) -> None:
        self._kept.pop(upload_id, None)
