"""People who sign in at an OpenID provider, and the role that their groups there give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec

from appliance.permissions import OF_ROLE, Role


class Person(msgspec.Struct, frozen=True):
    """Somebody as the provider described them when they signed in last."""

    id: str
    owner: str
    """How jobs name whom they belong to; the same for tokens of the same issuer and subject."""
    name: str
    email: str | None
    role: Role
    first_seen_at: float
    signed_in_at: float
    blocked_at: float | None = None


def owner_of(issuer: str, subject: str) -> str:
    """`sub` is unique within its issuer only (OpenID Connect Core 1.0, 5.7)."""
    return f"jwt:{sha256(issuer.encode()).hexdigest()[:8]}:{subject}"


class GroupRoles(msgspec.Struct, frozen=True):
    """Which groups are which role."""

    claim: str
    """Where the groups are named; with dots, within another claim."""
    roles: Mapping[str, Role]
    default: Role | None
    """Of who is in none of them; None: they are not let in."""

    def role(self, claims: Mapping[str, object]) -> Role | None:
        """The one that may most."""
        known = [self.roles[group] for group in named(claims, self.claim) if group in self.roles]
        return max(known, key=lambda role: len(OF_ROLE[role]), default=self.default)


def named(claims: Mapping[str, object], path: str) -> Iterable[str]:
    """The words of a claim that is a list of them, or has blanks between them."""
    value: object = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else ()
