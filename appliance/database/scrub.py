"""How far the reading of all stored files has come, and which are not what was stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from appliance.database import audit
from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json, record
from appliance.database.stored_files import StoredFile, originals_named, results_named


class Scrub(msgspec.Struct, frozen=True):
    """A pass over all files, and how far it is."""

    began_at: float
    ended_at: float | None
    """None: it is under way."""
    results: bool
    """The originals are done."""
    after: str
    name: str
    files: int
    bytes: int


class DamagedFile(msgspec.Struct, frozen=True):
    storage_key: str
    job_id: str
    name: str
    found_at: float
    unreadable: str | None
    """What the store said when it could not be read; None: it was read, and is another one."""


class OutOfOrder(NamedTuple):
    """How many files are."""

    damaged: int
    unreadable: int


def progress() -> Transaction[Scrub | None]:
    """None: none was ever begun."""
    rows = yield Statement("scrub")
    return record(Scrub, rows[0]) if rows else None


def begin(*, now: float) -> Transaction[None]:
    yield Statement("begin_scrub", {"now": now})


def next_files(at: Scrub, *, limit: int) -> Transaction[list[StoredFile]]:
    if at.results:
        return (yield from results_named(at.after, at.name, limit=limit))
    return (yield from originals_named(at.after, limit=limit))


def advance(at: Scrub, read: list[StoredFile], *, now: float) -> Transaction[None]:
    """`read` are those that came next; none: this part, or the pass, is at its end."""
    last = read[-1] if read else None
    yield Statement(
        "advance_scrub",
        {
            "results": at.results or last is None,
            "after": last.id if last else "",
            "name": last.name if last else "",
            "files": len(read),
            "bytes": sum(file.size_bytes for file in read),
            "ended_at": now if last is None and at.results else None,
        },
    )


def mark_damaged(
    file: StoredFile, *, now: float, unreadable: str | None = None
) -> Transaction[bool]:
    """Whether it is news; what is news is audited. `unreadable`: why it could not be read."""
    rows = yield Statement(
        "mark_damaged",
        {
            "storage_key": file.storage_key,
            "job_id": file.id,
            "name": file.name,
            "now": now,
            "unreadable": unreadable,
        },
    )
    if rows:
        action = "file.damaged" if unreadable is None else "file.unreadable"
        yield from _audit(action, file, now=now)
    return bool(rows)


def mark_sound(file: StoredFile, *, now: float) -> Transaction[bool]:
    """Whether it was out of order before; then it is audited."""
    rows = yield Statement("mark_sound", {"storage_key": file.storage_key})
    if rows:
        yield from _audit("file.sound", file, now=now)
    return bool(rows)


def forget(file: StoredFile) -> Transaction[None]:
    """That it was out of order: there is nothing any more that could be."""
    yield Statement("mark_sound", {"storage_key": file.storage_key})


def _audit(action: str, file: StoredFile, *, now: float) -> Transaction[None]:
    detail = {"key": file.storage_key}
    yield from audit.add(actor="system", action=action, subject=file.id, now=now, detail=detail)


def damaged_among(keys: Iterable[str]) -> Transaction[Mapping[str, str | None]]:
    """Each with why it could not be read; None: it was, and is damaged."""
    rows = yield Statement("damaged_among", {"keys": as_json(list(keys))})
    return {row["storage_key"]: row["unreadable"] for row in rows}


def damaged(limit: int) -> Transaction[list[DamagedFile]]:
    """Those that were read before those that could not be."""
    rows = yield Statement("damaged_files", {"limit": limit})
    return [record(DamagedFile, row) for row in rows]


def out_of_order() -> Transaction[OutOfOrder]:
    rows = yield Statement("count_damaged_files")
    return OutOfOrder(rows[0]["damaged"], rows[0]["unreadable"])
