"""What somebody may: permissions, and the only place that maps roles and scopes to them.

A role says what a person or program is there for; a key's scopes narrow it, and never widen it.
Which route needs which permission is in `appliance.web.routes`, and nowhere else. Whose a job is
comes on top: `READ`, `MANAGE` and `UPLOAD` are about one's own, the others about everybody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Permission(StrEnum):
    SELF = "self"
    """See and end one's own sessions, sign out."""
    UPLOAD = "upload"
    """Begin, continue and cancel uploads of one's own."""
    READ = "read"
    """See one's own jobs, their files and their events."""
    MANAGE = "manage"
    """Cancel, retry and delete one's own jobs."""
    READ_ALL = "read_all"
    """See everybody's jobs and files, the dashboard, dead letters, figures."""
    OPERATE = "operate"
    """Cancel and retry everybody's jobs, review dead letters, pause and resume."""
    ADMINISTER = "administer"
    """Make and revoke keys, end others' sessions, delete others' jobs, read the audit log."""


class Role(StrEnum):
    USER = "user"
    """Uploads, sees and manages what is its own."""
    VIEWER = "viewer"
    """Sees everything but keys and the audit log, and changes nothing."""
    OPERATOR = "operator"
    """Keeps things going: what user and viewer may, and other people's jobs stop and go."""
    ADMIN = "admin"
    """Everything."""


class Scope(StrEnum):
    """What a key is good for (RFC 6749, 3.3), within its role."""

    UPLOAD = "upload"
    READ = "read"
    MANAGE = "manage"
    """Change jobs, one's own and, for those whose role allows it, everybody's."""
    ADMIN = "admin"
    """Everything that the role allows."""


EVERY_SCOPE = tuple(Scope)
OWN = frozenset({Permission.SELF, Permission.UPLOAD, Permission.READ, Permission.MANAGE})
"""What touches nobody else; all others are administrative, and their refusals are audited."""

OF_ROLE: Mapping[Role, frozenset[Permission]] = {
    Role.USER: OWN,
    Role.VIEWER: frozenset({Permission.SELF, Permission.READ, Permission.READ_ALL}),
    Role.OPERATOR: OWN | {Permission.READ_ALL, Permission.OPERATE},
    Role.ADMIN: frozenset(Permission),
}

OF_SCOPE: Mapping[Scope, frozenset[Permission]] = {
    Scope.UPLOAD: frozenset({Permission.SELF, Permission.UPLOAD}),
    Scope.READ: frozenset({Permission.SELF, Permission.READ, Permission.READ_ALL}),
    Scope.MANAGE: frozenset({Permission.SELF, Permission.MANAGE, Permission.OPERATE}),
    Scope.ADMIN: frozenset(Permission),
}


def permitted(role: Role, scopes: Iterable[Scope]) -> frozenset[Permission]:
    """What the role and one of the scopes allow both."""
    allowed: frozenset[Permission] = frozenset().union(*(OF_SCOPE[scope] for scope in scopes))
    return OF_ROLE[role] & allowed


def missing(permission: Permission, role: Role) -> str:
    """What somebody of `role` lacks who has not got `permission`, in words."""
    if permission in OF_ROLE[role]:
        scopes = [scope for scope in Scope if permission in OF_SCOPE[scope]]
        return f"Your key lacks the scope {' or '.join(scopes)}."
    roles = [one for one in Role if permission in OF_ROLE[one]]
    return f"This needs the role {' or '.join(roles)}; yours is {role}."
