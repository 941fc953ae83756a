"""API keys: what they look like, how they are told apart, and whom they make a request's user.

A key is `upa_` and 32 random characters of base 32 (160 bits), shown once. The database keeps
its SHA-256: for a secret with that much randomness a slow password hash would add nothing but
load (OWASP Password Storage Cheat Sheet is about secrets that people choose).
"""

from __future__ import annotations

import base64
import os
from enum import StrEnum
from hashlib import sha256

import msgspec

KEY_PREFIX = "upa_"
SHOWN_CHARACTERS = 10
"""How much of a key is kept in clear, for people to recognise it by."""


class Role(StrEnum):
    ADMIN = "admin"
    """Sees and does everything."""
    USER = "user"
    """Uploads, and sees what is its own."""


class ApiKey(msgspec.Struct, frozen=True):
    id: str
    name: str
    role: Role
    prefix: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    @property
    def owner(self) -> str:
        """How jobs name whom they belong to."""
        return f"key:{self.id}"

    def is_valid(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


def new_secret() -> str:
    return KEY_PREFIX + new_token()


def new_token() -> str:
    """160 random bits as 32 characters that survive any URL, cookie or shell."""
    return base64.b32encode(os.urandom(20)).decode().lower()


def hash_secret(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
