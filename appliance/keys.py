"""API keys: what they look like, how they are told apart, and whom they make a request's user.

A key is `upa_` and 32 random characters of base 32 (160 bits), shown once. The database keeps
its SHA-256: for a secret with that much randomness a slow password hash would add nothing but
load (OWASP Password Storage Cheat Sheet is about secrets that people choose).
"""

from __future__ import annotations

import base64
import os
from hashlib import sha256
from typing import Literal

import msgspec

from appliance.permissions import EVERY_SCOPE, Role, Scope

KEY_PREFIX = "upa_"
SHOWN_CHARACTERS = 10
"""How much of a key is kept in clear, for people to recognise it by."""


class ApiKey(msgspec.Struct, frozen=True):
    id: str
    name: str
    role: Role
    prefix: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    """To within a minute (`appliance.last_uses`)."""
    scopes: tuple[Scope, ...] = EVERY_SCOPE
    quota_bytes: int | None = None
    """Of what its owner has; None: the general one holds."""

    @property
    def owner(self) -> str:
        """How jobs name whom they belong to."""
        return f"key:{self.id}"

    def is_valid(self, now: float) -> bool:
        return self.state(now) == "valid"

    def state(self, now: float) -> Literal["valid", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


class Session(msgspec.Struct, frozen=True):
    """A browser's sign-in, with a key or as a person."""

    id: str
    owner: str
    name: str
    """Of the key or the person, as is `role`."""
    role: Role
    created_at: float
    expires_at: float
    last_used_at: float | None
    address: str | None
    agent: str | None
    """The browser, as it calls itself."""


def new_secret() -> str:
    return KEY_PREFIX + new_token()


def new_token() -> str:
    """160 random bits as 32 characters that survive any URL, cookie or shell."""
    return base64.b32encode(os.urandom(20)).decode().lower()


def hash_secret(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
