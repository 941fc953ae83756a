"""What an admin has stopped: a type of jobs, or the jobs of an owner.

Uploads are taken all the same, and what runs goes on; nothing new of it is begun. A pause says
who set it, why, and until when.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import record

Kind = Literal["type", "owner"]


class Pause(msgspec.Struct, frozen=True):
    kind: Kind
    name: str
    """A job type, or an owner (`key:<id>`)."""
    reason: str
    actor: str
    since: float
    until: float | None
    """None: until somebody resumes it."""


def set_pause(
    kind: Kind, name: str, *, reason: str, actor: str, now: float, until: float | None
) -> Transaction[Pause]:
    """Begin a pause, or change the one in force."""
    pause = Pause(kind, name, reason, actor, since=now, until=until)
    yield Statement("set_pause", msgspec.structs.asdict(pause))
    return pause


def resume(kind: Kind, name: str) -> Transaction[Pause | None]:
    """End a pause; None when there is none."""
    rows = yield Statement("delete_pause", {"kind": kind, "name": name})
    return record(Pause, rows[0]) if rows else None


def forget_ended(*, now: float) -> Transaction[list[Pause]]:
    rows = yield Statement("delete_ended_pauses", {"now": now})
    return [record(Pause, row) for row in rows]


def in_force(*, now: float) -> Transaction[list[Pause]]:
    rows = yield Statement("pauses_in_force", {"now": now})
    return [record(Pause, row) for row in rows]
