"""The cold place, pins, and what is stored where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json, record
from appliance.database.stored_files import StoredFile
from appliance.ids import first_id_at
from appliance.jobs import JobType

COUNTED = 1000
"""Files at a time that are only counted."""


class Pass(msgspec.Struct, frozen=True):
    """The last time that files were moved."""

    ran_at: float
    files: int
    bytes: int
    error: str | None


class Pin(msgspec.Struct, frozen=True):
    job_id: str
    actor: str
    reason: str
    pinned_at: float


class Totals(NamedTuple):
    files: int
    size_bytes: int


class Used(msgspec.Struct, frozen=True):
    """What one owner has of one type in one place."""

    owner: str
    type: JobType
    kind: Literal["originals", "results"]
    place: Literal["hot", "cold"]
    files: int
    size_bytes: int


def to_make_cold(
    *, before: float, least_bytes: int, after: str, limit: int
) -> Transaction[list[StoredFile]]:
    """Originals from before that time that no job works on, behind the id `after`; none that is
    smaller than `least_bytes`."""
    rows = yield Statement(
        "to_make_cold",
        {
            "before": first_id_at(before),
            "least_bytes": least_bytes,
            "after": after,
            "limit": limit,
        },
    )
    return [record(StoredFile, row) for row in rows]


def mark_cold(upload_id: str, *, now: float) -> Transaction[bool]:
    return bool((yield Statement("mark_cold", {"id": upload_id, "now": now})))


def note(*, now: float, files: int, size_bytes: int, error: str | None) -> Transaction[None]:
    parameters = {"now": now, "files": files, "bytes": size_bytes, "error": error}
    yield Statement("note_lifecycle", parameters)


def last_pass() -> Transaction[Pass | None]:
    rows = yield Statement("lifecycle")
    return record(Pass, rows[0]) if rows else None


def cold() -> Transaction[Totals]:
    """Originals in the cold place."""
    rows = yield Statement("cold_totals")
    return Totals(rows[0]["files"], rows[0]["bytes"])


def due_for_cold(*, before: float, least_bytes: int) -> Transaction[Totals]:
    """Of all that is `to_make_cold`."""
    files, size_bytes, after = 0, 0, ""
    while batch := (
        yield from to_make_cold(before=before, least_bytes=least_bytes, after=after, limit=COUNTED)
    ):
        files += len(batch)
        size_bytes += sum(file.size_bytes for file in batch)
        after = batch[-1].id
    return Totals(files, size_bytes)


def pin_of(job_id: str) -> Transaction[Pin | None]:
    rows = yield Statement("pin_of", {"job_id": job_id})
    return record(Pin, rows[0]) if rows else None


def set_pin(job_id: str, *, actor: str, reason: str, now: float) -> Transaction[Pin]:
    parameters = {"job_id": job_id, "actor": actor, "reason": reason, "now": now}
    yield Statement("set_pin", parameters)
    pin = yield from pin_of(job_id)
    assert pin is not None
    return pin


def pinned(job_ids: Sequence[str]) -> Transaction[list[Pin]]:
    rows = yield Statement("pins_of", {"job_ids": as_json(job_ids)})
    return [record(Pin, row) for row in rows]


def delete_pin(job_id: str) -> Transaction[bool]:
    """Whether there was one."""
    return bool((yield Statement("delete_pin", {"job_id": job_id})))
