"""What is recorded of backups: when one was taken, what it holds, when it was last proven."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from appliance.clock import CLOCK_SKEW_S
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


class LastProof(NamedTuple):
    """When; None: never."""

    at: float | None
    sound_at: float | None
    """Of the last that found no fault."""


def begin(place: str, *, now: float) -> Transaction[None]:
    yield Statement("begin_backup", {"now": now, "place": place})
    yield Statement("forget_old_backups", {"latest": now + CLOCK_SKEW_S, "limit": MOST_REMEMBERED})


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


def last_proof(*, now: float, place: str | None = None) -> Transaction[LastProof]:
    """In that place, or in any."""
    rows = yield Statement("last_proof", {"latest": now + CLOCK_SKEW_S, "place": place})
    return LastProof(rows[0]["at"], rows[0]["sound_at"])


def is_damaged(place: str, *, now: float) -> Transaction[bool]:
    """Whether the newest backup in that place was found to be."""
    rows = yield Statement("newest_backup_of", {"latest": now + CLOCK_SKEW_S, "place": place})
    return bool(rows) and rows[0]["faults"] is not None


def snapshots(place: str, *, now: float) -> Transaction[set[str]]:
    """Those that were taken there lately, whether they still are there or not."""
    known = yield from latest(MOST_REMEMBERED, now=now)
    return {one.snapshot for one in known if one.place == place and one.snapshot}


def latest(limit: int, *, now: float) -> Transaction[list[Backup]]:
    """The newest first. Those of the future last: the clock was set back since."""
    rows = yield Statement("latest_backups", {"latest": now + CLOCK_SKEW_S, "limit": limit})
    return [record(Backup, row) for row in rows]
