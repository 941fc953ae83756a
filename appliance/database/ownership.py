"""What owners have: how much they take, what they have sent before, and requests they repeat."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json


class Usage(msgspec.Struct, frozen=True):
    kept_bytes: int
    """Of originals and results."""
    originals: int
    open_uploads: int
    open_bytes: int
    """What the open uploads may come to: their length, or what is there of it so far."""

    @property
    def total_bytes(self) -> int:
        return self.kept_bytes + self.open_bytes


class Remembered(msgspec.Struct, frozen=True):
    """What came of a request with an idempotency key."""

    content: str
    job_ids: tuple[str, ...]


def usage(owner: str) -> Transaction[Usage]:
    kept = yield Statement("usage_of_owner", {"owner": owner})
    open_ones = yield Statement("open_of_owner", {"owner": owner})
    return Usage(
        kept_bytes=kept[0]["bytes"] if kept else 0,
        originals=kept[0]["originals"] if kept else 0,
        open_uploads=open_ones[0]["uploads"],
        open_bytes=int(open_ones[0]["bytes"]),
    )


def completed_job(owner: str, sha256: str, *, preset: str) -> Transaction[str | None]:
    """The owner's newest completed job on the same content, if there is one."""
    rows = yield Statement(
        "completed_job_of_content", {"owner": owner, "sha256": sha256, "preset": preset}
    )
    return rows[0]["id"] if rows else None


def remembered(owner: str, key: str) -> Transaction[Remembered | None]:
    rows = yield Statement("idempotency_key", {"owner": owner, "key": key})
    if not rows:
        return None
    job_ids = msgspec.json.decode(rows[0]["job_ids"], type=tuple[str, ...])
    return Remembered(content=rows[0]["content"], job_ids=job_ids)


def remember(
    owner: str, key: str, *, content: str, job_ids: Sequence[str], now: float
) -> Transaction[None]:
    yield Statement(
        "insert_idempotency_key",
        {
            "owner": owner,
            "key": key,
            "content": content,
            "job_ids": as_json(job_ids),
            "now": now,
        },
    )


def forget_old(*, before: float) -> Transaction[int]:
    """Drop idempotency keys that are older than that; how many."""
    rows = yield Statement("delete_old_idempotency_keys", {"before": before})
    return len(rows)
