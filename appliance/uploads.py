"""The vocabulary of uploads: what is announced of a file, what its owner asks for, and an upload
that comes in over several requests."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from appliance.jobs import DEFAULT_PRIORITY


class Announced(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request says of a file before the file comes. Believed in nothing."""

    filename: str | None = None
    content_type: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    """Hexadecimal."""
    wants_digest: bool = False
    """The client asks for the SHA-256 of what came, in the answer to the last of it."""


class JobOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the owner asks for."""

    preset: str = "default"
    priority: int = DEFAULT_PRIORITY
    metadata: dict[str, Any] = {}
    callback_url: str | None = None
    """Where the end of the job is told (`appliance.webhooks`)."""


State = Literal["open", "completed", "failed", "expired", "terminated"]
Kind = Literal["plain", "partial", "final"]


class Failure(msgspec.Struct, frozen=True):
    """Why a complete upload became no job."""

    code: str
    detail: str


class Resumable(msgspec.Struct, frozen=True):
    """An upload on its way in, over several requests."""

    id: str
    """Also of the job that it becomes."""
    owner: str
    state: State
    kind: Kind
    """`partial` and `final` are tus' concatenation."""
    length_bytes: int | None
    """None while the client has not told it."""
    offset_bytes: int
    """What is durable."""
    closed: bool
    """The client has said that this was all of it."""
    ends_by_length: bool
    """Whether it is complete with its last byte (tus), or when the client says so (IETF)."""
    announced: Announced
    options: JobOptions
    tus_metadata: str | None
    """The `Upload-Metadata` field as it came, for HEAD to repeat."""
    tus_concat: str | None
    """`Upload-Concat`, likewise."""
    parts: tuple[str, ...]
    """Ids of the partial ones that a final one is made of."""
    created_at: float
    expires_at: float
    ended_at: float | None
    failure: Failure | None

    @property
    def is_full(self) -> bool:
        """Every byte is in."""
        return self.closed or (self.ends_by_length and self.offset_bytes == self.length_bytes)
