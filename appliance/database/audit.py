"""The audit log: every administrative act with who, when, what and how many.

It is written in the transaction of the act, so there is neither one without the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json

NEWEST = 2**63 - 1


class Selection(msgspec.Struct, frozen=True):
    """Which acts; with nothing set, all of them."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: float | None = None
    until: float | None = None
    """Before it, so that two spans that meet share no act."""


ALL = Selection()


class Act(msgspec.Struct, frozen=True):
    id: int
    at: float
    actor: str
    """`key:<id>` over HTTP, `shell:<user>` from the command, `system` for the appliance itself."""
    action: str
    """Of what and what: `job.cancel`, `dead_letters.retry`, `pause.set`."""
    subject: str
    """What it was done to: a job's id, `type:VIDEO`, `filter`."""
    detail: dict[str, Any]
    jobs: int | None
    """How many jobs it touched."""


def add(
    *,
    actor: str,
    action: str,
    subject: str,
    now: float,
    detail: Mapping[str, Any] | None = None,
    jobs: int | None = None,
) -> Transaction[None]:
    yield Statement(
        "add_audit",
        {
            "at": now,
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": as_json(detail or {}),
            "jobs": jobs,
        },
    )


def page(selection: Selection = ALL, *, limit: int, before: int = NEWEST) -> Transaction[list[Act]]:
    """Newest first."""
    wanted = msgspec.structs.asdict(selection)
    rows = yield Statement("audit_page", {**wanted, "before": before, "limit": limit})
    return [
        Act(
            **{field: row[field] for field in Act.__struct_fields__ if field != "detail"},
            detail=msgspec.json.decode(row["detail"]),
        )
        for row in rows
    ]
