"""The clients' record of what was promised to them, and the inspection that holds the disk to it.

The record lies in the test's own process, outside of the one that is killed. The inspection reads
the data directory itself, with SQL and hashes of its own: the product is not asked how it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FINAL = ("COMPLETED", "FAILED", "CANCELLED")
QUIET_S = 15.0 if "APPLIANCE_TEST_SEEDED" in os.environ else 90.0
"""Longest wait until everything that was promised is done."""
TIDY_S = 5.0
"""Longest wait from then on until what was needed for it is cleared away."""


@dataclass(frozen=True)
class Promise:
    """A file for which a client has a 202."""

    filename: str
    sha256: str


@dataclass
class Ledger:
    promises: dict[str, Promise] = field(default_factory=dict)
    """What was answered 202, by job id."""
    seen: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """When it ended and the digests of its results, as first shown as COMPLETED, by job id."""
    seen_twice: list[str] = field(default_factory=list)

    def promised(self, job: Any, sha256: str) -> None:
        assert job["jobId"] not in self.promises, "one id was given to two uploads"
        self.promises[job["jobId"]] = Promise(job["filename"], sha256)

    def saw(self, job: Any) -> None:
        """A client was shown this job: what it once saw as a result must never be another one."""
        if job["status"] != "COMPLETED":
            if job["jobId"] in self.seen:
                self.seen_twice.append(f"{job['jobId']}: COMPLETED, then {job['status']}")
            return
        shown = (job["finishedAt"], tuple(sorted(file["sha256"] for file in job["files"])))
        if self.seen.setdefault(job["jobId"], shown) != shown:
            self.seen_twice.append(f"{job['jobId']}: {self.seen[job['jobId']]}, then {shown}")


@dataclass
class Verdict:
    """What the inspection found wrong, by kind, each in words."""

    lost: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    seen_twice: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Good files whose job did not end COMPLETED."""
    left_over: list[str] = field(default_factory=list)

    def faults(self) -> dict[str, list[str]]:
        return {kind: found[:5] for kind, found in vars(self).items() if found}


@contextlib.contextmanager
def rows_of(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """The server's database, for reading beside it."""
    connection = sqlite3.connect(f"file:{data_dir / 'appliance.db'}?mode=ro", uri=True, timeout=10)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def unfinished(data_dir: Path) -> list[str]:
    with rows_of(data_dir) as rows:
        query = f"SELECT id, status, attempt FROM jobs WHERE status NOT IN {FINAL}"
        return [f"{row['id']} {row['status']} {row['attempt']}" for row in rows.execute(query)]


async def until_quiet(data_dir: Path, *, deadline_s: float = QUIET_S) -> list[str]:
    """Wait until every job has ended and nothing is under way; what is not so at the deadline."""
    deadline = time.monotonic() + deadline_s
    while found := unfinished(data_dir):
        if time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.02)
    deadline = time.monotonic() + TIDY_S
    while (found := _under_way(data_dir)) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return found


def _under_way(data_dir: Path) -> list[str]:
    folders = (data_dir / "files/incoming", data_dir / "scratch")
    return [str(path.relative_to(data_dir)) for folder in folders for path in folder.iterdir()]


async def inspected(data_dir: Path, ledger: Ledger, *, deadline_s: float = QUIET_S) -> Verdict:
    """Wait until everything is quiet, then hold all that lies on the disk to the ledger."""
    left = await until_quiet(data_dir, deadline_s=deadline_s)
    verdict = await asyncio.to_thread(_inspect, data_dir, ledger)
    for found in left:
        (verdict.left_over if "/" in found else verdict.stuck).append(found)
    return verdict


def _inspect(data_dir: Path, ledger: Ledger) -> Verdict:
    verdict = Verdict(seen_twice=list(ledger.seen_twice))
    with rows_of(data_dir) as rows:
        assert [row[0] for row in rows.execute("PRAGMA integrity_check")] == ["ok"]
        assert rows.execute("PRAGMA foreign_key_check").fetchall() == []
        uploads = {row["id"]: row for row in rows.execute("SELECT * FROM uploads")}
        jobs = {row["id"]: row for row in rows.execute("SELECT * FROM jobs")}
        attempts = rows.execute("SELECT * FROM attempts").fetchall()
        files = rows.execute("SELECT * FROM files").fetchall()
        completions = Counter(
            row["job_id"]
            for row in rows.execute("SELECT job_id FROM history WHERE status = 'COMPLETED'")
        )
    _hold_to_promises(data_dir, ledger, uploads, jobs, verdict)
    _hold_rows_to_files(data_dir, uploads, verdict)
    completed = Counter(row["job_id"] for row in attempts if row["outcome"] == "completed")
    attempt_of_files: dict[str, set[str]] = defaultdict(set)
    digests: dict[str, list[str]] = defaultdict(list)
    for row in files:
        attempt_of_files[row["job_id"]].add(row["storage_key"].split("/")[2])
        digests[row["job_id"]].append(row["sha256"])
        if problem := _differs(data_dir / "files" / row["storage_key"], row["sha256"]):
            verdict.altered.append(problem)
    for row in attempts:
        if row["outcome"] is None and jobs[row["job_id"]]["status"] in FINAL:
            verdict.stuck.append(f"{row['job_id']}: attempt {row['number']} never ended")
    for job_id, job in jobs.items():
        times = 1 if job["status"] == "COMPLETED" else 0
        if not completed[job_id] == completions[job_id] == times:
            verdict.seen_twice.append(
                f"{job_id} {job['status']}: {completed[job_id]} attempts completed it, "
                f"{completions[job_id]} times in its history"
            )
        if (whose := attempt_of_files[job_id]) - {str(job["attempt"])}:
            verdict.seen_twice.append(f"{job_id}: results of {whose}, settled {job['attempt']}")
        shown = ledger.seen.get(job_id)
        if shown and (job["status"], *sorted(digests[job_id])) != ("COMPLETED", *shown[1]):
            verdict.seen_twice.append(f"{job_id}: seen {shown}, now {tuple(job)}")
    return verdict


def _hold_to_promises(
    data_dir: Path, ledger: Ledger, uploads: Any, jobs: Any, verdict: Verdict
) -> None:
    for job_id, promise in ledger.promises.items():
        upload, job = uploads.get(job_id), jobs.get(job_id)
        if upload is None or job is None:
            verdict.lost.append(f"{job_id}: no row")
            continue
        path = data_dir / "files/raw" / job_id / promise.filename
        if not path.exists():
            verdict.lost.append(f"{job_id}: no file")
        elif problem := _differs(path, promise.sha256):
            verdict.altered.append(problem)
        if upload["sha256"] != promise.sha256:
            verdict.altered.append(f"{job_id}: the row says {upload['sha256']}")
        if job["status"] in FINAL and job["status"] != "COMPLETED":
            verdict.failed.append(f"{job_id} {job['status']}: {job['error']}")


def _hold_rows_to_files(data_dir: Path, uploads: Any, verdict: Verdict) -> None:
    """Acknowledged or not, a row stands for a whole file."""
    for job_id, upload in uploads.items():
        if problem := _differs(data_dir / "files" / upload["storage_key"], upload["sha256"]):
            verdict.altered.append(f"{job_id}: {problem}")


def _differs(path: Path, sha256: str) -> str | None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return f"{path} is missing"
    return None if found == sha256 else f"{path} has {found}, not {sha256}"


def in_words(verdicts: Iterable[Verdict]) -> str:
    """Every kind with its number, zeros included."""
    totals: Counter[str] = Counter()
    for verdict in verdicts:
        totals.update({kind: len(found) for kind, found in vars(verdict).items()})
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in totals.items())
