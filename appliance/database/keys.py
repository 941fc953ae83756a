"""The transactions of API keys, browser sessions and one-time sign-in links.

Secrets arrive here hashed (`appliance.keys.hash_secret`); none is ever stored in clear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from appliance.database import people
from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json
from appliance.keys import ApiKey, Session
from appliance.permissions import EVERY_SCOPE, Role, Scope
from appliance.principals import Principal

NEWEST = "~"
"""Sorts behind every id."""


class Ended(msgspec.Struct, frozen=True):
    """What was revoked: hashes by which it may still be cached."""

    secret_hashes: tuple[str, ...] = ()
    token_hashes: tuple[str, ...] = ()


# --- keys ----------------------------------------------------------------------------------


def create(key: ApiKey, *, secret_hash: str) -> Transaction[None]:
    fields = msgspec.structs.asdict(key)
    del fields["revoked_at"], fields["last_used_at"]
    fields["scopes"] = as_json(key.scopes)
    yield Statement("insert_key", {**fields, "secret_hash": secret_hash})


def by_secret(secret_hash: str) -> Transaction[ApiKey | None]:
    rows = yield Statement("key_by_secret", {"secret_hash": secret_hash})
    return _key(rows[0]) if rows else None


def by_id(key_id: str) -> Transaction[ApiKey | None]:
    rows = yield Statement("key_by_id", {"id": key_id})
    return _key(rows[0]) if rows else None


def owner_may(owner: str, *, now: float) -> Transaction[bool]:
    """False once the owner's key is revoked or has expired, or the person is blocked."""
    kind, _, key_id = owner.partition(":")
    if kind != "key":
        return not (yield from people.is_blocked(owner))
    rows = yield Statement("key_by_id", {"id": key_id})
    return all(_key(row).is_valid(now) for row in rows)


def list_all() -> Transaction[list[ApiKey]]:
    rows = yield Statement("keys")
    return [_key(row) for row in rows]


def page(*, limit: int, before: str | None = None) -> Transaction[list[ApiKey]]:
    """Newest first."""
    rows = yield Statement("key_page", {"before": before or NEWEST, "limit": limit})
    return [_key(row) for row in rows]


def names(owners: Iterable[str]) -> Transaction[dict[str, str]]:
    """What the keys and people behind `owners` are called; no entry for those unknown."""
    found = {}
    for owner in set(owners):
        kind, _, key_id = owner.partition(":")
        if kind == "key":
            rows = yield Statement("key_by_id", {"id": key_id})
        else:
            rows = yield Statement("person_of", {"owner": owner})
        if rows:
            found[owner] = rows[0]["name"]
    return found


def revoke(key_id: str, *, now: float) -> Transaction[Ended | None]:
    """None when there is no such key or it is revoked already. Its sessions end with it."""
    rows = yield Statement("revoke_key", {"id": key_id, "now": now})
    sessions = yield Statement("delete_sessions_of", {"owner": f"key:{key_id}"})
    if not rows:
        return None
    return Ended(
        secret_hashes=tuple(row["secret_hash"] for row in rows),
        token_hashes=tuple(row["token_hash"] for row in sessions),
    )


def note_uses(of_keys: Mapping[str, float], of_sessions: Mapping[str, float]) -> Transaction[int]:
    """When keys and sessions were used last, by id; how many there were."""
    for key_id, at in of_keys.items():
        yield Statement("note_key_use", {"id": key_id, "at": at})
    for session_id, at in of_sessions.items():
        yield Statement("note_session_use", {"id": session_id, "at": at})
    return len(of_keys) + len(of_sessions)


# --- sessions ------------------------------------------------------------------------------


def start_session(
    session_id: str,
    *,
    owner: str,
    key_id: str | None = None,
    person_id: str | None = None,
    token_hash: str,
    now: float,
    expires_at: float,
    address: str | None = None,
    agent: str | None = None,
) -> Transaction[None]:
    """Of a key or of a person."""
    yield Statement(
        "insert_session",
        {
            "id": session_id,
            "token_hash": token_hash,
            "owner": owner,
            "key_id": key_id,
            "person_id": person_id,
            "now": now,
            "expires_at": expires_at,
            "address": address,
            "agent": agent,
        },
    )


def by_session(token_hash: str, *, now: float) -> Transaction[Principal | None]:
    """Who is signed in with it; None when it is over, or they are not let in any more."""
    rows = yield Statement("session_by_token", {"token_hash": token_hash, "now": now})
    if not rows:
        return None
    row = rows[0]
    scopes = EVERY_SCOPE if row["scopes"] is None else msgspec.json.decode(row["scopes"])
    return Principal(
        owner=row["owner"],
        name=row["name"],
        role=Role(row["role"]),
        scopes=tuple(map(Scope, scopes)),
        key_id=row["key_id"],
        session_id=row["id"],
    )


def sessions(
    *, owner: str | None, now: float, limit: int, before: str | None = None
) -> Transaction[list[Session]]:
    """Those in force, of one owner or of all, newest first."""
    rows = yield Statement(
        "session_page",
        {"owner": owner, "now": now, "before": before or NEWEST, "limit": limit},
    )
    return [
        msgspec.convert({field: row[field] for field in Session.__struct_fields__}, Session)
        for row in rows
    ]


def end_session(token_hash: str) -> Transaction[bool]:
    rows = yield Statement("delete_session", {"token_hash": token_hash})
    return bool(rows)


def end_sessions_of(owner: str) -> Transaction[Ended]:
    rows = yield Statement("delete_sessions_of", {"owner": owner})
    return Ended(token_hashes=tuple(row["token_hash"] for row in rows))


def end_session_by_id(
    session_id: str, *, owner: str | None
) -> Transaction[tuple[Ended, str] | None]:
    """End a session, if it is that owner's (None: whosever it is); also whose it was."""
    rows = yield Statement("delete_session_by_id", {"id": session_id, "owner": owner})
    return (Ended(token_hashes=(rows[0]["token_hash"],)), rows[0]["owner"]) if rows else None


def delete_expired(*, now: float) -> Transaction[int]:
    """Drop the sessions and sign-in links whose time is over; how many sessions there were."""
    yield Statement("delete_expired_signin_links", {"now": now})
    rows = yield Statement("delete_expired_sessions", {"now": now})
    return len(rows)


# --- one-time links ------------------------------------------------------------------------


def create_signin_link(key_id: str, *, token_hash: str, expires_at: float) -> Transaction[None]:
    yield Statement(
        "insert_signin_link",
        {"token_hash": token_hash, "key_id": key_id, "expires_at": expires_at},
    )


def use_signin_link(token_hash: str, *, now: float) -> Transaction[ApiKey | None]:
    """The key that the link signs in, once; None when it was used, is too old or unknown."""
    rows = yield Statement("use_signin_link", {"token_hash": token_hash, "now": now})
    if not rows:
        return None
    key_rows = yield Statement("key_by_id", {"id": rows[0]["key_id"]})
    return _key(key_rows[0])


def _key(row: Row) -> ApiKey:
    fields = {field: row[field] for field in ApiKey.__struct_fields__}
    fields["scopes"] = msgspec.json.decode(row["scopes"])
    return msgspec.convert(fields, ApiKey, strict=False)
