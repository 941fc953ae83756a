"""A server that is stopped (SIGSTOP: a suspended laptop, a frozen virtual machine) until its lease
has gone to another worker, and then goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import jobs, sqlite, workers
from appliance.database.protocol import Database
from appliance.database.sqlite import SqliteDatabase
from appliance.errors import DatabaseUnavailable
from appliance.jobs import ResultFile
from appliance.storage.local import LocalStorage
from tests import media
from tests.acceptance.conftest import DEADLINE_S
from tests.acceptance.test_lives import alive, processes_of
from tests.torture.conftest import NewServer, Victim
from tests.torture.ledger import Ledger, inspected

OTHER = "other-node:other-life"
THEIRS = b"the other worker's poster"


@pytest.fixture
async def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """The server's database as another process sees it; opened when the server has made it. It
    does not wait long for a lock: who holds one may have been stopped, and is let go then."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 500)
    opened: list[SqliteDatabase] = []

    class Beside:
        async def write(self, transaction: object) -> object:
            if not opened:
                opened.append(await SqliteDatabase.open(tmp_path / "data/appliance.db"))
            return await opened[0].write(transaction)

    yield Beside()
    for database in opened:
        await database.close()


@pytest.mark.parametrize(
    ("stopped", "heartbeat_timeout_s"),
    [("the server", "600"), ("its children too", "3")],
    ids=["finds out when it settles", "finds out by its heartbeat"],
)
async def test_a_worker_stopped_past_its_lease_writes_nothing(
    victim: NewServer,
    ledger: Ledger,
    beside: Database,
    stopped: str,
    heartbeat_timeout_s: str,
) -> None:
    server = victim(heartbeat_timeout_s=heartbeat_timeout_s, stale_after_s="600")
    if heartbeat_timeout_s == "600":
        server.command = (sys.executable, "-m", "tests.torture.blind")
    await server.start()
    video = media.long_film()
    job = await server.request("PUT", "/upload/long.mp4", data=io.BytesIO(video))
    job_id = job["jobId"]
    ledger.promised(job, hashlib.sha256(video).hexdigest())
    await server.until(job_id, lambda job: job["status"] == "PROCESSING" and job["progress"] > 0)

    family = processes_of(server)
    assert server.process is not None
    frozen = {server.process.pid} if stopped == "the server" else family
    await _stop(frozen, beside)
    await beside.write(workers.register(OTHER, node="other-node", now=time.time()))
    lost = jobs.release(job_id, attempt=1, now=time.time(), outcome="lost", detail="stopped")
    assert await beside.write(lost) is not None
    claim = await beside.write(jobs.claim(job_id, worker=OTHER, now=time.time()))
    assert claim is not None
    assert claim.attempt == 2
    if stopped == "the server":  # let the child finish, so that there is a result to be refused
        await _until(lambda: not _children_at_work(family - frozen, server))

    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    await _until(lambda: any("attempt_ended" in line for line in server.output))
    (ended,) = [line for line in server.output if "attempt_ended" in line]
    assert "outcome=lost" in ended
    after = await server.request("GET", f"/jobs/{job_id}")
    assert (after["status"], after["files"]) == ("PROCESSING", [])
    assert [attempt["outcome"] for attempt in after["attempts"]] == ["lost", None]
    results = server.data_dir / "files/processed" / job_id
    assert [path for path in results.rglob("*") if path.is_file()] == []

    await _complete(server, beside, job_id)
    done = await server.finished(job_id)
    ledger.saw(done)
    assert [file["name"] for file in done["files"]] == ["poster.webp"]
    assert await server.bytes_of(f"/jobs/{job_id}/files/poster.webp") == THEIRS
    verdict = await inspected(server.data_dir, ledger)
    assert verdict.faults() == {}
    assert await server.end() == 0


async def _stop(pids: set[int], database: Database) -> None:
    """Stop them at a moment at which they hold no lock on the database, for that would be
    theirs for as long as they are stopped."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        if await _is_free(database):
            return
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        while not await _is_free(database):  # stopped again at once, they would never let go
            assert time.monotonic() < deadline


async def _is_free(database: Database) -> bool:
    try:
        await database.write(workers.leave("nobody"))
    except DatabaseUnavailable:
        return False
    return True


def _children_at_work(below: set[int], server: Victim) -> set[int]:
    """Those of `below` that a nursery forked and that have not ended."""
    assert server.process is not None
    return {
        pid
        for pid in alive(below)
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        != str(server.process.pid)
    }


async def _until(condition: object) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def _complete(server: Victim, database: Database, job_id: str) -> None:
    """The other worker's end: its result stored under its own key, and settled."""
    poster = server.data_dir / "poster"
    poster.write_bytes(THEIRS)
    key = f"processed/{job_id}/2/poster.webp"
    await LocalStorage(server.data_dir / "files").store_file(poster, key)
    file = ResultFile(
        name="poster.webp",
        content_type="image/webp",
        size_bytes=len(THEIRS),
        sha256=hashlib.sha256(THEIRS).hexdigest(),
        storage_key=key,
    )
    complete = jobs.complete(job_id, attempt=2, now=time.time(), result={}, files=[file])
    assert await database.write(complete) is not None
