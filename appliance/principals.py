"""Who was identified, however it was done: by an API key, a session or a token."""

from __future__ import annotations

import re
from functools import cached_property

import msgspec

from appliance.ids import is_id
from appliance.keys import ApiKey
from appliance.permissions import Permission, Role, Scope, permitted


def is_owner(text: str) -> bool:
    """Whether `text` looks like the owner of a job."""
    kind, _, name = text.partition(":")
    if kind == "jwt":
        return re.fullmatch(r"[0-9a-f]{8}:[\x21-\x7e]{1,255}", name) is not None
    return kind == "key" and is_id(name)


class Principal(msgspec.Struct, frozen=True, dict=True):
    """Small enough to be kept in the cache, as JSON."""

    owner: str
    """How jobs name whom they belong to: `key:<id>`, `jwt:<hash of the issuer>:<sub>`; the latter
    for tokens and for people alike."""
    name: str
    """For people."""
    role: Role
    scopes: tuple[Scope, ...]
    key_id: str | None = None
    session_id: str | None = None
    """None: a program that sends a key or a token itself."""

    @classmethod
    def of_key(cls, key: ApiKey) -> Principal:
        return cls(
            owner=key.owner,
            name=key.name,
            role=key.role,
            scopes=key.scopes,
            key_id=key.id,
        )

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        return permitted(self.role, self.scopes)

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    @property
    def sees_only(self) -> str | None:
        """Whose jobs it sees: an owner's, or None for everybody's."""
        return None if self.may(Permission.READ_ALL) else self.owner

    @property
    def sessions_of(self) -> str | None:
        """Whose sessions it sees and ends: an owner's, or None for everybody's."""
        return None if self.may(Permission.ADMINISTER) else self.owner
