"""The transactions of API keys, browser sessions and one-time sign-in links.

Secrets arrive here hashed (`appliance.keys.hash_secret`); none is ever stored in clear.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from appliance.database.protocol import Row, Statement, Transaction
from appliance.keys import ApiKey


def create(key: ApiKey, *, secret_hash: str) -> Transaction[None]:
    fields = msgspec.structs.asdict(key)
    del fields["revoked_at"]
    yield Statement("insert_key", {**fields, "secret_hash": secret_hash})


def by_secret(secret_hash: str) -> Transaction[ApiKey | None]:
    rows = yield Statement("key_by_secret", {"secret_hash": secret_hash})
    return _key(rows[0]) if rows else None


def by_session(token_hash: str, *, now: float) -> Transaction[ApiKey | None]:
    rows = yield Statement("session_key", {"token_hash": token_hash, "now": now})
    return _key(rows[0]) if rows else None


def owner_may(owner: str, *, now: float) -> Transaction[bool]:
    """False once the owner's key is revoked or has expired."""
    rows = yield Statement("key_by_id", {"id": owner.removeprefix("key:")})
    return all(_key(row).is_valid(now) for row in rows)


def list_all() -> Transaction[list[ApiKey]]:
    rows = yield Statement("keys")
    return [_key(row) for row in rows]


def names(owners: Iterable[str]) -> Transaction[dict[str, str]]:
    """What the keys behind `owners` (`key:<id>`) are called; no entry for those unknown."""
    found = {}
    for owner in set(owners):
        kind, _, key_id = owner.partition(":")
        rows = (yield Statement("key_by_id", {"id": key_id})) if kind == "key" else ()
        if rows:
            found[owner] = _key(rows[0]).name
    return found


def revoke(key_id: str, *, now: float) -> Transaction[bool]:
    """False when there is no such key or it is revoked already. Its sessions end with it."""
    rows = yield Statement("revoke_key", {"id": key_id, "now": now})
    yield Statement("delete_sessions_of_key", {"key_id": key_id})
    return bool(rows)


def start_session(
    key_id: str, *, token_hash: str, now: float, expires_at: float
) -> Transaction[None]:
    yield Statement(
        "insert_session",
        {"token_hash": token_hash, "key_id": key_id, "now": now, "expires_at": expires_at},
    )


def end_session(token_hash: str) -> Transaction[None]:
    yield Statement("delete_session", {"token_hash": token_hash})


def delete_expired(*, now: float) -> Transaction[int]:
    """Drop the sessions and sign-in links whose time is over; how many sessions there were."""
    yield Statement("delete_expired_signin_links", {"now": now})
    rows = yield Statement("delete_expired_sessions", {"now": now})
    return len(rows)


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
    return msgspec.convert(
        {field: row[field] for field in ApiKey.__struct_fields__}, ApiKey, strict=False
    )
