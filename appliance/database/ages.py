"""What is deleted by its age: originals and results, each at their own. A job goes with the last of
its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from appliance.database import stored_files
from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json, record
from appliance.database.stored_files import DeletedJob
from appliance.ids import time_of
from appliance.jobs import JobType

Kind = Literal["originals", "results"]
KINDS: tuple[Kind, ...] = ("originals", "results")

DAY_S = 24 * 3600.0
ALL = 2**31
"""As the limit of a statement."""


@dataclass(frozen=True)
class Age:
    """For how many days files are kept after the end of their job; 0: for ever. That of an owner,
    which the database has, goes before that of the preset, and that before `days`."""

    days: int
    presets: Mapping[str, int] = field(default_factory=dict)

    def at(self, now: float) -> dict[str, Any]:
        """As parameters of the statements that compare them."""
        return {"now": now, "days": self.days, "presets": as_json(self.presets)}


@dataclass(frozen=True)
class Ages:
    """At which ages something becomes of files."""

    originals: Age
    results: Age = Age(0)
    cold_after_s: float | None = None
    """When an original goes to the cold place; None: never, or there is none."""
    least_cold_bytes: int = 0
    """Smaller ones stay."""

    def of(self, kind: Kind) -> Age:
        return self.originals if kind == "originals" else self.results


class Share(msgspec.Struct, frozen=True):
    """What is due of one owner, type and kind."""

    owner: str
    type: JobType
    kind: Kind
    files: int
    size_bytes: int


class Expired(msgspec.Struct, frozen=True):
    """Files whose rows are gone, because of their age; they are the caller's to delete."""

    original_key: str | None
    """Of the original, if that goes and its row stays."""
    originals: int
    results: int
    size_bytes: int
    jobs: tuple[tuple[str, str], ...]
    """That lost them and stay: id and owner."""
    deleted: tuple[DeletedJob, ...]
    """That had no other files."""

    @property
    def job_ids(self) -> list[str]:
        return [*(job_id for job_id, _ in self.jobs), *(job.id for job in self.deleted)]


class Outlook(msgspec.Struct, frozen=True):
    """Where a job's original is and what becomes of its files; times None: never, or not before
    something else has happened."""

    place: Literal["hot", "cold", "deleted"]
    expired_at: float | None
    """When the original was deleted by its age."""
    cold_at: float | None
    original_due_at: float | None
    """When it is to be deleted: the longest age of its upload's jobs counts."""
    results_due_at: float | None
    """Of this job."""
    kept_by: Literal["pin", "review"] | None
    """What keeps files longer than their age; also a job beside it on the same original."""


def due(kind: Kind, age: Age, *, now: float, limit: int = ALL) -> Transaction[list[str]]:
    """Ids of the uploads whose originals, or of the jobs whose results, are old enough."""
    statement = "originals_due" if kind == "originals" else "results_due"
    rows = yield Statement(statement, {**age.at(now), "limit": limit})
    return [row["id"] for row in rows]


def due_for_deletion(ages: Ages, *, now: float) -> Transaction[list[Share]]:
    """How much that is. Results of jobs that go with their original there are none."""
    shares: list[Share] = []
    for kind in KINDS:
        ids = yield from due(kind, ages.of(kind), now=now)
        rows = yield Statement(f"amount_of_{kind}", {"ids": as_json(ids)})
        shares += [record(Share, row) for row in rows]
    return shares


def expire_original(upload_id: str, age: Age, *, now: float) -> Transaction[Expired | None]:
    """Let an original go; None where it has come to be needed or kept. Its jobs that have results
    stay with those, the others go too."""
    jobs = yield Statement("jobs_losing_original", {"upload_id": upload_id, **age.at(now)})
    if not jobs:
        return None
    deleted = yield from _deleted(row["id"] for row in jobs if not row["has_results"])
    size_bytes = sum(job.size_bytes for job in deleted)
    expired = yield Statement("expire_upload", {"id": upload_id, "now": now})
    return Expired(
        original_key=expired[0]["storage_key"] if expired else None,
        originals=1,
        results=0,
        size_bytes=size_bytes + sum(row["size_bytes"] for row in expired),
        jobs=tuple((row["id"], row["owner"]) for row in jobs if row["has_results"]),
        deleted=deleted,
    )


def expire_results(job_id: str, age: Age, *, now: float) -> Transaction[Expired | None]:
    """Let a job's results go, and the job, if its original has gone before; None where they have
    come to be needed or kept."""
    rows = yield Statement("job_losing_results", {"id": job_id, **age.at(now)})
    if not rows:
        return None
    (row,) = rows
    deleted: tuple[DeletedJob, ...] = ()
    if row["is_last"]:
        deleted = yield from _deleted([job_id])
    else:
        yield Statement("delete_job_files", {"id": job_id})
        yield Statement("expire_results", {"id": job_id})
    return Expired(
        original_key=None,
        originals=0,
        results=row["files"],
        size_bytes=row["size_bytes"],
        jobs=() if row["is_last"] else ((job_id, row["owner"]),),
        deleted=deleted,
    )


def expire(kind: Kind, an_id: str, age: Age, *, now: float) -> Transaction[Expired | None]:
    """Of what was `due`, whatever has become of it since."""
    if kind == "originals":
        return (yield from expire_original(an_id, age, now=now))
    return (yield from expire_results(an_id, age, now=now))


def lose_original(upload_id: str, *, now: float) -> Transaction[None]:
    """Record that an original is gone, whatever it was to be kept for."""
    yield Statement("expire_upload", {"id": upload_id, "now": now})


def lose_results(job_id: str) -> Transaction[None]:
    """Likewise of a job's results."""
    yield Statement("delete_job_files", {"id": job_id})
    yield Statement("expire_results", {"id": job_id})


def _deleted(job_ids: Iterable[str]) -> Transaction[tuple[DeletedJob, ...]]:
    found = []
    for job_id in job_ids:
        job = yield from stored_files.delete(job_id)
        if job is not None:
            found.append(job)
    return tuple(found)


def outlook(job_id: str, owner: str, ages: Ages) -> Transaction[Outlook | None]:
    """None where there is no such job."""
    own = {row["kind"]: row["days"] for row in (yield Statement("ages_of_owner", {"owner": owner}))}
    rows = yield Statement("keepers", {"job_id": job_id})
    this = next((row for row in rows if row["id"] == job_id), None)
    if this is None:
        return None

    def due_at(row: Row, kind: Kind) -> float | None:
        age = ages.of(kind)
        days = own.get(kind, age.presets.get(row["preset"], age.days))
        if not days or row["finished_at"] is None or row["is_pinned"] or row["is_reviewed"]:
            return None
        return float(row["finished_at"] + days * DAY_S)

    expired_at, is_cold = this["expired_at"], this["cold_since"] is not None
    ends = [due_at(row, "originals") for row in rows]
    cold_at = None
    goes = not is_cold and expired_at is None and this["size_bytes"] >= ages.least_cold_bytes
    if ages.cold_after_s is not None and goes:
        cold_at = time_of(this["upload_id"]) + ages.cold_after_s
    kept_by: Literal["pin", "review"] | None = None
    if any(row["is_pinned"] for row in rows):
        kept_by = "pin"
    elif any(row["is_reviewed"] for row in rows):
        kept_by = "review"
    return Outlook(
        place="deleted" if expired_at is not None else "cold" if is_cold else "hot",
        expired_at=expired_at,
        cold_at=cold_at,
        original_due_at=None
        if expired_at is not None or None in ends
        else max(end for end in ends if end is not None),
        results_due_at=None if this["files_left"] == "original" else due_at(this, "results"),
        kept_by=kept_by,
    )


def owner_ages() -> Transaction[dict[str, dict[Kind, int]]]:
    """For how many days the files of some owners are kept; 0: for ever."""
    found: dict[str, dict[Kind, int]] = {}
    for row in (yield Statement("owner_ages")):
        found.setdefault(row["owner"], {})[row["kind"]] = row["days"]
    return found


def set_owner_age(owner: str, kind: Kind, days: int) -> Transaction[None]:
    yield Statement("set_owner_age", {"owner": owner, "kind": kind, "days": days})


def delete_owner_age(owner: str, kind: Kind) -> Transaction[bool]:
    """Whether there was one."""
    return bool((yield Statement("delete_owner_age", {"owner": owner, "kind": kind})))
