"""The transactions of resumable uploads: created, advanced, and ended in one of four ways."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.database import jobs
from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json
from appliance.errors import NotFound
from appliance.jobs import Job
from appliance.uploads import Announced, Failure, JobOptions, Resumable, State


def create(upload: Resumable) -> Transaction[None]:
    yield Statement(
        "insert_resumable",
        {
            "id": upload.id,
            "owner": upload.owner,
            "kind": upload.kind,
            "length": upload.length_bytes,
            "by_length": int(upload.ends_by_length),
            "announced": as_json(upload.announced),
            "options": as_json(upload.options),
            "tus_metadata": upload.tus_metadata,
            "tus_concat": upload.tus_concat,
            "parts": as_json(upload.parts),
            "now": upload.created_at,
            "expires_at": upload.expires_at,
        },
    )


def get(upload_id: str) -> Transaction[Resumable | None]:
    rows = yield Statement("resumable", {"id": upload_id})
    return _resumable(rows[0]) if rows else None


def advance(
    upload_id: str,
    *,
    offset_bytes: int,
    length_bytes: int | None,
    closed: bool,
    ends_by_length: bool = False,
    expires_at: float,
) -> Transaction[Resumable | None]:
    """Record what is durable, and what the client has said since; None when it is not open."""
    rows = yield Statement(
        "advance_resumable",
        {
            "id": upload_id,
            "offset": offset_bytes,
            "length": length_bytes,
            "closed": int(closed),
            "by_length": int(ends_by_length),
            "expires_at": expires_at,
        },
    )
    return _resumable(rows[0]) if rows else None


def complete(
    upload_id: str, new_jobs: Sequence[Job], *, now: float, parts: Sequence[str] = ()
) -> Transaction[bool]:
    """End it, with its job where it becomes one, at once; False when it is not open any more.

    The `parts` that it was joined from are forgotten with it. Raises NotFound when another upload
    has become of them.
    """
    rows = yield Statement(
        "end_resumable", {"id": upload_id, "state": "completed", "now": now, "error": None}
    )
    if rows:
        if parts:
            joined = yield Statement("delete_joined_parts", {"ids": as_json(parts)})
            if len(joined) < len(parts):
                raise NotFound("A part of it is gone.")
        yield from jobs.create(new_jobs)
    return bool(rows)


def end(
    upload_id: str, state: State, *, now: float, failure: Failure | None = None
) -> Transaction[Resumable | None]:
    """End it without a job; None when it is not open."""
    error = None if failure is None else as_json(failure)
    rows = yield Statement(
        "end_resumable", {"id": upload_id, "state": state, "now": now, "error": error}
    )
    return _resumable(rows[0]) if rows else None


def forget(upload_id: str) -> Transaction[None]:
    """Drop the row of one that has ended."""
    yield Statement("delete_resumable", {"id": upload_id})


def forget_ended(*, before: float) -> Transaction[int]:
    rows = yield Statement("delete_ended_resumables", {"before": before})
    return len(rows)


class Unfinished(msgspec.Struct, frozen=True):
    """What uploads that are not finished hold, and what those that expired gave back lately."""

    uploads: int
    held_bytes: int
    reclaimed_bytes: int


def unfinished(*, since: float) -> Transaction[Unfinished]:
    """Of all owners; `since` bounds what was reclaimed."""
    held = yield Statement("open_uploads")
    reclaimed = yield Statement("reclaimed_bytes", {"since": since})
    return Unfinished(
        uploads=held[0]["uploads"],
        held_bytes=int(held[0]["bytes"]),
        reclaimed_bytes=int(reclaimed[0]["bytes"]),
    )


def open_offsets() -> Transaction[dict[str, int]]:
    rows = yield Statement("open_resumables")
    return {row["id"]: row["offset"] for row in rows}


def complete_parts() -> Transaction[dict[str, int]]:
    """Partial ones that wait to be joined, each with its size."""
    rows = yield Statement("complete_parts")
    return {row["id"]: row["offset"] for row in rows}


def full() -> Transaction[list[str]]:
    """Ids of open ones that want nothing but their end."""
    rows = yield Statement("full_resumables")
    return [row["id"] for row in rows]


def expired(*, now: float, limit: int) -> Transaction[list[str]]:
    rows = yield Statement("expired_resumables", {"now": now, "limit": limit})
    return [row["id"] for row in rows]


def expired_parts(*, before: float, limit: int) -> Transaction[list[str]]:
    rows = yield Statement("expired_parts", {"before": before, "limit": limit})
    return [row["id"] for row in rows]


def _resumable(row: Row) -> Resumable:
    error = row["error"]
    return Resumable(
        id=row["id"],
        owner=row["owner"],
        state=row["state"],
        kind=row["kind"],
        length_bytes=row["length"],
        offset_bytes=row["offset"],
        closed=bool(row["closed"]),
        ends_by_length=bool(row["by_length"]),
        announced=msgspec.json.decode(row["announced"], type=Announced),
        options=msgspec.json.decode(row["options"], type=JobOptions),
        tus_metadata=row["tus_metadata"],
        tus_concat=row["tus_concat"],
        parts=msgspec.json.decode(row["parts"], type=tuple[str, ...]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        ended_at=row["ended_at"],
        failure=None if error is None else msgspec.json.decode(error, type=Failure),
    )


def forget_unfinished() -> Transaction[None]:
    """After a restore: backups do not hold what was on its way in."""
    yield Statement("forget_unfinished_resumables")
