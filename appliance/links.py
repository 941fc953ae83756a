"""Upload links: by which somebody without an account sends files to somebody who has one."""

from __future__ import annotations

from typing import Literal

import msgspec


class UploadLink(msgspec.Struct, frozen=True):
    id: str
    owner: str
    """Who gets what comes by it."""
    note: str | None
    """For who opens it."""
    preset: str
    files: int
    """How many may come by it."""
    used: int
    """How many have."""
    max_bytes: int | None
    """Of each file; None: as much as the server takes."""
    types: tuple[str, ...]
    """Media types; none: all that the server takes."""
    created_at: float
    expires_at: float
    revoked_at: float | None = None

    @property
    def left(self) -> int:
        return max(0, self.files - self.used)

    def state(self, now: float) -> Literal["open", "used", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at <= now:
            return "expired"
        return "open" if self.left else "used"
