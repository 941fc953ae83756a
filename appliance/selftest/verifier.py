"""Holds what the server has against what it promised: every acknowledged file, read back.

lost       there is no such job, or its original or a result cannot be read any more
altered    the bytes are not those that were sent, or not those that the result was said to be
stuck      not in a final state by the deadline
failed     ended as FAILED, although the file is good
twice      completed more than once, or the result has changed since it was first seen
unchecked  not read back by the deadline, so nothing is known
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from appliance.jobs import JobStatus
from appliance.selftest.client import Client
from appliance.selftest.ledger import Entry

AT_ONCE = 8
WAITING_AT_ONCE = 32


@dataclass(frozen=True)
class AttemptTold:
    """An attempt as the server tells it; times in seconds since the epoch."""

    started_at: float
    ended_at: float | None
    outcome: str | None


@dataclass
class Findings:
    """Job ids by what is wrong with them; a job can be in several."""

    lost: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    unchecked: set[str] = field(default_factory=set)
    attempts: dict[str, list[AttemptTold]] = field(default_factory=dict)
    """By job id, the oldest first."""
    reasons: list[str] = field(default_factory=list)
    """A line for each thing that was found."""

    @property
    def is_good(self) -> bool:
        return not self.reasons

    def note(self, what: str, entry: Entry, reason: str) -> None:
        getattr(self, what).add(entry.job_id)
        self.reasons.append(f"{what}: {entry.filename} of job {entry.job_id}: {reason}")

    def add(self, other: Findings) -> None:
        for what in ("lost", "altered", "stuck", "failed", "twice", "unchecked"):
            getattr(self, what).update(getattr(other, what))
        self.attempts |= other.attempts
        self.reasons += [line for line in other.reasons if line not in self.reasons]


async def settled(client: Client, entries: Iterable[Entry], *, deadline: float) -> None:
    """Wait until every job is final, at the longest until the deadline (monotonic)."""
    turns = asyncio.Semaphore(WAITING_AT_ONCE)

    async def wait(entry: Entry) -> None:
        async with turns:
            try:
                job = await client.final(entry, deadline=deadline)
            except TimeoutError:
                return
            if job is not None:
                see(entry, job)

    await _all(wait(entry) for entry in entries)


async def verify(
    client: Client, entries: Iterable[Entry], *, deadline: float, results: bool = True
) -> Findings:
    """Read everything back; without `results` the originals only."""
    findings = Findings()
    turns = asyncio.Semaphore(AT_ONCE)

    async def check(entry: Entry) -> None:
        async with turns:
            try:
                await _check_original(client, entry, findings, deadline)
                if results:
                    await _check_job(client, entry, findings, deadline)
            except TimeoutError:
                findings.note("unchecked", entry, "there was no time left to read it back")

    await _all(check(entry) for entry in entries)
    return findings


def see(entry: Entry, job: Any) -> bool:
    """Note the result of a job that is COMPLETED; False when another one was seen before."""
    if job["status"] != JobStatus.COMPLETED:
        return entry.seen is None
    result = [job["attempt"], [(file["name"], file["sha256"]) for file in job["files"]]]
    if entry.seen is None:
        entry.seen = result
    return bool(entry.seen == result)


async def _check_job(client: Client, entry: Entry, findings: Findings, deadline: float) -> None:
    job = await client.json(f"/jobs/{entry.job_id}", deadline=deadline)
    if job is None:
        findings.note("lost", entry, "there is no such job")
        return
    findings.attempts[entry.job_id] = [_told(attempt) for attempt in job["attempts"]]
    if not JobStatus(job["status"]).is_final:
        findings.note("stuck", entry, f"still {job['status']}")
    elif job["status"] != JobStatus.COMPLETED:
        error = job["error"] or {}
        findings.note("failed", entry, f"{error.get('code')}: {error.get('message')}")
    completed = [one for one in job["attempts"] if one["outcome"] == "completed"]
    moves = [move for move in job["history"] if move["status"] == JobStatus.COMPLETED]
    if len(completed) > 1 or len(moves) > 1:
        findings.note("twice", entry, "completed more than once")
    if not see(entry, job):
        findings.note("twice", entry, "its result is another one than was seen before")
    for file in job["files"]:
        found = await client.read(file["url"], deadline=deadline)
        if found is None:
            findings.note("lost", entry, f"its result {file['name']} cannot be read")
        elif found.sha256 != file["sha256"]:
            findings.note("altered", entry, f"its result {file['name']} has another SHA-256")


async def _check_original(
    client: Client, entry: Entry, findings: Findings, deadline: float
) -> None:
    found = await client.read(f"/jobs/{entry.job_id}/files/original", deadline=deadline)
    if found is None:
        findings.note("lost", entry, "its original cannot be read")
    elif found.sha256 != entry.sha256:
        findings.note("altered", entry, "its original has another SHA-256 than was sent")


def _told(attempt: Any) -> AttemptTold:
    ended = attempt["endedAt"]
    return AttemptTold(
        started_at=datetime.fromisoformat(attempt["startedAt"]).timestamp(),
        ended_at=None if ended is None else datetime.fromisoformat(ended).timestamp(),
        outcome=attempt["outcome"],
    )


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it; what the first one raises ends the others, and is raised as it is."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
