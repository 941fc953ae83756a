"""What is recorded of backups: when one was taken, what it holds, when it was last proven."""

from __future__ import annotations

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import record

MOST_REMEMBERED = 100


class Backup(msgspec.Struct, frozen=True):
    began_at: float
    ended_at: float | None
    """None: under way, or its process was killed."""
    place: str
    snapshot: str | None
    """None: it did not come to be."""
    files: int
    size_bytes: int
    new_bytes: int
    lacking: int
    """Files that were missing or damaged in the store."""
    error: str | None
    proven_at: float | None
    faults: str | None
    """What the proof found."""


def begin(place: str, *, now: float) -> Transaction[None]:
    yield Statement("begin_backup", {"now": now, "place": place})
    yield Statement("forget_old_backups")


def end(
    began_at: float,
    *,
    now: float,
    snapshot: str | None = None,
    files: int = 0,
    size_bytes: int = 0,
    new_bytes: int = 0,
    lacking: int = 0,
    error: str | None = None,
) -> Transaction[None]:
    yield Statement("end_backup", dict(locals()))


def prove(place: str, snapshot: str, *, now: float, faults: str | None) -> Transaction[None]:
    yield Statement("prove_backup", dict(locals()))


def is_damaged(place: str) -> Transaction[bool]:
    """Whether the newest backup in that place was found to be."""
    rows = yield Statement("newest_backup_of", {"place": place})
    return bool(rows) and rows[0]["faults"] is not None


def snapshots(place: str) -> Transaction[set[str]]:
    """Those that were taken there lately, whether they still are there or not."""
    latest = yield Statement("latest_backups", {"limit": MOST_REMEMBERED})
    return {row["snapshot"] for row in latest if row["place"] == place and row["snapshot"]}


def latest(limit: int) -> Transaction[list[Backup]]:
    """The newest first."""
    rows = yield Statement("latest_backups", {"limit": limit})
    return [record(Backup, row) for row in rows]
