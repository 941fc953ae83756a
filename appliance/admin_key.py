"""Making and revoking API keys, and seeing to it that there always is an admin's.

The first admin key comes from the configuration, or is made at the first start and written to a
file that only the server's user can read, with a one-time link to sign in by.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from appliance.database import audit, keys
from appliance.database.protocol import Database, Transaction
from appliance.errors import ConfigurationError
from appliance.ids import new_id
from appliance.keys import SHOWN_CHARACTERS, ApiKey, hash_secret, new_secret, new_token
from appliance.permissions import EVERY_SCOPE, Role, Scope
from appliance.threads import in_thread

SIGNIN_LINK_S = 24 * 3600
CONFIGURED_KEY = "APPLIANCE_ADMIN_KEY"
"""Name of the admin key that the configuration gives."""


async def create_key(
    database: Database,
    *,
    name: str,
    role: Role,
    now: float,
    secret: str | None = None,
    scopes: tuple[Scope, ...] = EVERY_SCOPE,
    expires_at: float | None = None,
    quota_bytes: int | None = None,
    actor: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; its secret is returned once and kept nowhere.

    With an `actor`, somebody did this and it is audited.
    """
    secret = secret or new_secret()
    key = msgspec.structs.replace(
        _new_key(name, role, now, secret),
        scopes=scopes,
        expires_at=expires_at,
        quota_bytes=quota_bytes,
    )

    def record() -> Transaction[None]:
        yield from keys.create(key, secret_hash=hash_secret(secret))
        if actor is not None:
            detail: dict[str, Any] = {"name": name, "role": role, "scopes": scopes}
            if quota_bytes is not None:
                detail["quotaBytes"] = quota_bytes
            yield from audit.add(
                actor=actor, action="key.create", subject=key.owner, now=now, detail=detail
            )

    await database.write(record())
    return key, secret


async def revoke_key(
    database: Database, key_id: str, *, now: float, actor: str
) -> keys.Ended | None:
    """End a key and its sessions; None when there is no such valid key. It is audited."""

    def record() -> Transaction[keys.Ended | None]:
        key = yield from keys.by_id(key_id)
        ended = yield from keys.revoke(key_id, now=now)
        if key is not None and ended is not None:
            detail = {"name": key.name, "sessions": len(ended.token_hashes)}
            yield from audit.add(
                actor=actor, action="key.revoke", subject=key.owner, now=now, detail=detail
            )
        return ended

    return await database.write(record())


def _new_key(name: str, role: Role, now: float, secret: str) -> ApiKey:
    return ApiKey(
        id=new_id(), name=name, role=role, prefix=secret[:SHOWN_CHARACTERS], created_at=now
    )


async def ensure_admin_key(
    database: Database, *, key_file: Path, configured: str | None, now: float
) -> str | None:
    """Make an admin key where none is valid; returns a one-time sign-in token when it did.

    With `configured`, that is the key, and no token is made. Raises ConfigurationError.
    """
    if configured is not None:
        await _use_configured(database, configured, now)
        return None
    known = await database.read(keys.list_all())
    if any(key.role is Role.ADMIN and key.is_valid(now) for key in known):
        return None
    secret, token = new_secret(), new_token()
    # The file first: a key that is valid and that nobody knows would lock everybody out.
    await in_thread(_write_secret, key_file, secret)
    key = _new_key("admin", Role.ADMIN, now, secret)

    def record() -> Transaction[None]:
        yield from keys.create(key, secret_hash=hash_secret(secret))
        yield from keys.create_signin_link(
            key.id, token_hash=hash_secret(token), expires_at=now + SIGNIN_LINK_S
        )

    await database.write(record())
    return token


def _write_secret(path: Path, secret: str) -> None:
    """Durable, and readable by nobody else from its first byte on."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


async def _use_configured(database: Database, secret: str, now: float) -> None:
    """Make the configured key valid, and the one that was configured before it void."""
    current = await database.read(keys.by_secret(hash_secret(secret)))
    if current is not None and current.is_valid(now):
        return
    if current is not None:
        raise ConfigurationError(
            ["APPLIANCE_ADMIN_KEY: this key was revoked, and stays so. Set another one."]
        )
    for key in await database.read(keys.list_all()):
        if key.name == CONFIGURED_KEY:
            await database.write(keys.revoke(key.id, now=now))
    await create_key(database, name=CONFIGURED_KEY, role=Role.ADMIN, now=now, secret=secret)
