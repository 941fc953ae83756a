"""Dead letters: jobs that were given up and wait for review, in groups of those that failed alike.

A dead letter ends in one of two ways: its job is tried again (`redrives`), or it is discarded and
the job stays FAILED.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from appliance.clock import rfc3339
from appliance.database.job_reads import NEWEST
from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json, record
from appliance.jobs import JobError, JobType


class DeadLetter(msgspec.Struct, frozen=True):
    job_id: str
    created_at: float
    owner: str
    type: JobType
    filename: str
    size_bytes: int
    error_code: str
    error_class: str
    step: str
    message: str
    fingerprint: str


class Group(msgspec.Struct, frozen=True):
    """Dead letters with the same fingerprint."""

    fingerprint: str
    type: JobType
    error_code: str
    error_class: str
    step: str
    message: str
    """Of the latest."""
    jobs: int
    first_at: float
    last_at: float
    example: str
    """Id of the newest of its jobs."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Which dead letters; with nothing set, all of them."""

    ids: tuple[str, ...] | None = None
    fingerprint: str | None = None
    owner: str | None = None
    type: JobType | None = None
    code: str | None = None
    since: float | None = None
    """Seconds since the epoch: failed then or later."""
    until: float | None = None
    """Failed before then."""

    def of_groups(self) -> Filter:
        """As much of it as tells whole groups apart."""
        return Filter(fingerprint=self.fingerprint, type=self.type, code=self.code)

    def parameters(self) -> dict[str, Any]:
        return {
            "ids": None if self.ids is None else as_json(self.ids),
            "fingerprint": self.fingerprint,
            "owner": self.owner,
            "type": self.type,
            "code": self.code,
            "since": self.since,
            "until": self.until,
        }

    def document(self) -> dict[str, Any]:
        """What is set, as JSON for people: camelCase, times RFC 3339."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("since", "until"):
            if name in document:
                document[name] = rfc3339(document[name])
        return document


class Untold(msgspec.Struct, frozen=True):
    """A group of new dead letters that the operators have not heard of."""

    fingerprint: str
    type: JobType
    error_code: str
    step: str
    message: str
    jobs: int
    first_at: float
    last_at: float


def fingerprint(job_type: str, error: JobError, error_class: str) -> str:
    """The same for jobs of one type that failed in the same way; 16 hexadecimal digits.

    Numbers in the step ("page 3") make no difference, nor does the message.
    """
    parts = (job_type, error.code, error_class, re.sub(r"\d+", "#", error.step))
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def keep(
    job_id: str, *, owner: str, job_type: str, error: JobError, error_class: str, now: float
) -> Transaction[None]:
    """Record that a job was given up; part of the transaction that makes it FAILED."""
    yield Statement(
        "insert_dead_letter",
        {
            "job_id": job_id,
            "now": now,
            "owner": owner,
            "type": job_type,
            "error_code": error.code,
            "error_class": error_class,
            "step": error.step,
            "message": error.message,
            "fingerprint": fingerprint(job_type, error, error_class),
        },
    )


def discard(wanted: Filter, *, limit: int) -> Transaction[list[str]]:
    """End the review of up to `limit` of them; the ids of their jobs, which stay FAILED."""
    rows = yield Statement("discard_dead_letters", {**wanted.parameters(), "limit": limit})
    return [row["job_id"] for row in rows]


def get(job_id: str) -> Transaction[DeadLetter | None]:
    rows = yield Statement("dead_letter", {"job_id": job_id})
    return record(DeadLetter, rows[0]) if rows else None


def page(wanted: Filter, *, before: str | None = None, limit: int) -> Transaction[list[DeadLetter]]:
    """Newest job first; `before` is the id of a job."""
    if not (yield from _count_in_groups(wanted)):
        return []  # rather than to look through all that are not wanted
    grouped = wanted.fingerprint is not None
    rows = yield Statement(
        "dead_letters_page_of_group" if grouped else "dead_letters_page",
        {**wanted.parameters(), "before_id": before or NEWEST, "limit": limit},
    )
    return [record(DeadLetter, row) for row in rows]


def count(wanted: Filter) -> Transaction[int]:
    """How many match. Of what groups tell apart it is known; else all are looked at."""
    if wanted == wanted.of_groups():
        return (yield from _count_in_groups(wanted))
    rows = yield Statement("count_dead_letters_matching", wanted.parameters())
    number: int = rows[0]["jobs"]
    return number


def _count_in_groups(wanted: Filter) -> Transaction[int]:
    """How many there are in groups that match; no more than those can."""
    rows = yield Statement("count_in_groups", wanted.parameters())
    return int(rows[0]["jobs"])


def count_all() -> Transaction[int]:
    """However many there are, this costs the same."""
    rows = yield Statement("count_dead_letters")
    return int(rows[0]["jobs"])


def groups(*, limit: int) -> Transaction[list[Group]]:
    """The largest first."""
    rows = yield Statement("dead_letter_groups", {"limit": limit})
    return _groups(rows)


def group(fingerprint: str) -> Transaction[Group | None]:
    rows = yield Statement("dead_letter_group", {"fingerprint": fingerprint})
    found = _groups(rows)
    return found[0] if found else None


def untold() -> Transaction[list[Untold]]:
    """What the operators have not been told of, in groups, the largest first."""
    rows = yield Statement("untold_dead_letters")
    return [record(Untold, row) for row in rows]


def mark_told(told: Sequence[Untold], *, now: float) -> Transaction[None]:
    """Record that the operators were told of these groups, as `untold` gave them.

    What came since stays untold. A group in which something came to light meanwhile that is older
    than the newest of `told` stays untold as a whole: it is told again, and nothing is lost.
    """
    jobs = {group.fingerprint: group.jobs for group in told}
    until = max(group.last_at for group in told)
    yield Statement("mark_told", {"told": as_json(jobs), "until": until, "now": now})


def _groups(rows: Sequence[Row]) -> list[Group]:
    return [record(Group, row) for row in rows]
