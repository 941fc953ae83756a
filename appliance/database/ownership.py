"""What owners have: how much they take, what they have sent before, and requests they repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from appliance.database.ages import ALL
from appliance.database.lifecycle import Used
from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json, record
from appliance.errors import QuotaExceeded, TooManyOpenUploads

T = TypeVar("T")


class Usage(msgspec.Struct, frozen=True):
    kept_bytes: int
    """Of originals and results."""
    originals: int
    open_uploads: int
    open_files: int
    """The open ones that are to become a file; partial ones are joined to one."""
    open_bytes: int
    """What the open uploads may come to (their length, or what is there of it so far), and the
    complete parts that wait to be joined."""

    @property
    def total_bytes(self) -> int:
        return self.kept_bytes + self.open_bytes

    @property
    def files(self) -> int:
        return self.originals + self.open_files


class Quota(msgspec.Struct, frozen=True):
    """The most that one owner may have; None: any number."""

    size_bytes: int | None = None
    """Originals, results, and what open uploads may come to."""
    files: int | None = None
    """Originals and open uploads."""
    open_uploads: int | None = None

    def check(self, before: Usage, after: Usage) -> None:
        """Raises QuotaExceeded, TooManyOpenUploads where more is taken than there may be. Who is
        above the quota (by results, or because it was lowered) may do what takes no more."""
        if self.size_bytes is not None and self.size_bytes < after.total_bytes > before.total_bytes:
            raise QuotaExceeded(
                f"This would take more than your {self.size_bytes:,} bytes; "
                f"{before.total_bytes:,} are taken. Delete what you need no more.",
                quotaBytes=self.size_bytes,
                usedBytes=before.total_bytes,
            )
        if self.files is not None and self.files < after.files > before.files:
            raise QuotaExceeded(
                f"You may have {self.files:,} files here, and have {before.files:,}. Delete what "
                "you need no more.",
                quotaFiles=self.files,
                usedFiles=before.files,
            )
        if self.open_uploads is not None and (
            self.open_uploads < after.open_uploads > before.open_uploads
        ):
            raise TooManyOpenUploads(
                f"You have {before.open_uploads} unfinished uploads. Finish or delete some first."
            )


UNLIMITED = Quota()


class Standing(msgspec.Struct, frozen=True):
    """What an owner has, and may have."""

    usage: Usage
    quota: Quota


class Taken(msgspec.Struct, frozen=True):
    """What one owner's finished uploads take."""

    owner: str
    size_bytes: int
    """Of originals and results."""
    files: int
    """Originals."""


class TakenInAll(msgspec.Struct, frozen=True):
    owners: int
    """That have anything."""
    size_bytes: int
    files: int


class Remembered(msgspec.Struct, frozen=True):
    """What came of a request with an idempotency key."""

    content: str
    job_ids: tuple[str, ...]


def usage(owner: str) -> Transaction[Usage]:
    kept = yield Statement("usage_of_owner", {"owner": owner})
    (open_ones,) = yield Statement("open_of_owner", {"owner": owner})
    (parts,) = yield Statement("parts_of_owner", {"owner": owner})
    return Usage(
        kept_bytes=kept[0]["bytes"] if kept else 0,
        originals=kept[0]["originals"] if kept else 0,
        open_uploads=open_ones["uploads"],
        open_files=int(open_ones["files"]),
        open_bytes=int(open_ones["bytes"] + parts["bytes"]),
    )


def standing(owner: str, general: Quota) -> Transaction[Standing]:
    quota = yield from quota_of(owner, general)
    return Standing(usage=(yield from usage(owner)), quota=quota)


def taken_by(owners: Iterable[str]) -> Transaction[dict[str, Taken]]:
    """No entry for those who have never had anything."""
    rows = yield Statement("usage_of_owners", {"owners": as_json(list(owners))})
    return {row["owner"]: record(Taken, row) for row in rows}


def largest(limit: int) -> Transaction[list[Taken]]:
    """Those who have the most, first."""
    return [record(Taken, row) for row in (yield Statement("largest_owners", {"limit": limit}))]


def taken_in_all() -> Transaction[TakenInAll]:
    return record(TakenInAll, (yield Statement("usage_in_all"))[0])


def used_by(owners: Iterable[str]) -> Transaction[list[Used]]:
    """By type, kind and place, the most first. Goes through all that these owners have."""
    rows = yield Statement("usage_by_place", {"owners": as_json(list(owners))})
    return [record(Used, row) for row in rows]


def used_by_all() -> Transaction[list[Used]]:
    """As `used_by`, of everybody: through all files, so not for every request."""
    return (yield from used_by(one.owner for one in (yield from largest(ALL))))


def quota_of(owner: str, general: Quota) -> Transaction[Quota]:
    """The `general` one, with the bytes of the owner's key where that has a quota of its own."""
    rows = yield Statement("quota_of_key", {"id": owner.removeprefix("key:")})
    if not rows:
        return general
    return msgspec.structs.replace(general, size_bytes=rows[0]["quota_bytes"])


def within(general: Quota, owner: str, change: Transaction[T]) -> Transaction[T]:
    """`change`, unless the owner has more than the quota by it: then nothing of it is done.

    Exact, however many changes come at once: what it looks at is in its own transaction.
    Raises QuotaExceeded, TooManyOpenUploads.
    """
    quota = yield from quota_of(owner, general)
    if quota == UNLIMITED:
        return (yield from change)
    before = yield from usage(owner)
    done = yield from change
    quota.check(before, (yield from usage(owner)))
    return done


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
