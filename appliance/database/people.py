"""The transactions of people who sign in at an OpenID provider."""

from __future__ import annotations

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import record
from appliance.people import Person


def welcome(person: Person) -> Transaction[Person]:
    """Note who has signed in; as they are known from now on. They may be blocked."""
    rows = yield Statement("welcome_person", msgspec.structs.asdict(person))
    return record(Person, rows[0])


def latest(*, limit: int) -> Transaction[list[Person]]:
    """Who signed in last first."""
    rows = yield Statement("people", {"limit": limit})
    return [record(Person, row) for row in rows]


def is_blocked(owner: str) -> Transaction[bool]:
    rows = yield Statement("person_of", {"owner": owner})
    return any(row["blocked_at"] is not None for row in rows)


def set_blocked(person_id: str, blocked_at: float | None) -> Transaction[Person | None]:
    """None: there is no such person."""
    rows = yield Statement("set_person_blocked", {"id": person_id, "blocked_at": blocked_at})
    return record(Person, rows[0]) if rows else None
