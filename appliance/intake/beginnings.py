"""Resumable uploads that are begun once, however often the request comes (`Idempotency-Key`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from appliance.database import ownership, resumables
from appliance.database.protocol import Transaction
from appliance.errors import IdempotencyConflict
from appliance.intake.receiver import DELETED_SINCE, OTHER_CONTENT
from appliance.uploads import Announced, JobOptions, Kind, Resumable


def create_once(upload: Resumable, key: str | None, said: str) -> Transaction[Resumable | None]:
    """Record it, or return the one that an earlier request with the same key has made."""
    if key is not None:
        known = yield from earlier(upload.owner, key, said)
        if known is not None:
            return known
        yield from ownership.remember(
            upload.owner, key, content=said, job_ids=[upload.id], now=upload.created_at
        )
    yield from resumables.create(upload)
    return None


def earlier(owner: str, key: str, said: str) -> Transaction[Resumable | None]:
    """Raises IdempotencyConflict."""
    remembered = yield from ownership.remembered(owner, key)
    if remembered is None:
        return None
    if remembered.content != said:
        raise IdempotencyConflict(OTHER_CONTENT, jobIds=list(remembered.job_ids))
    upload = yield from resumables.get(remembered.job_ids[0])
    if upload is None:
        raise IdempotencyConflict(DELETED_SINCE)
    return upload


def digest(
    kind: Kind,
    announced: Announced,
    options: JobOptions,
    tus_metadata: str | None,
    parts: Sequence[str] = (),
) -> str:
    """Over all that makes two requests to begin an upload the same."""
    said = msgspec.json.encode([kind, announced, options, tus_metadata, *parts])
    return hashlib.sha256(said).hexdigest()
