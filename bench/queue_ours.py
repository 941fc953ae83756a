"""The appliance's own queue on SQLite, FULL: the contestant of `bench.queue`.

    python -m bench.queue_ours throughput|latency FOLDER

The database, the queue and the pool of a server, with all that they do for a job: the upload's
and the job's row, the claim with its attempt, the settling, a line of history for each move, the
lock, the announcement. For the throughput only the attempt itself is missing: it settles at once.
For the latency there is a real nursery, and a processor that does nothing.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

from appliance.clock import SystemClock
from appliance.coordination.memory import MemoryCoordination
from appliance.database import job_reads, jobs, workers
from appliance.database.sqlite import SqliteDatabase
from appliance.events import ALL_JOBS, JobChanged
from appliance.ids import new_id
from appliance.jobs import JobStatus, JobType
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.processors.protocol import Limits
from appliance.queue.table import TableQueue
from appliance.storage.local import LocalStorage
from appliance.workers.attempt import Attempts, Running
from appliance.workers.nursery import Nursery
from appliance.workers.pool import Pool
from appliance.workers.surroundings import Surroundings
from tests.records import a_job

WORKER = "bench"
LIMITS = Limits(memory_bytes=200_000_000, cpu_s=20, file_bytes=10_000_000, wall_s=30, idle_s=30)


class Parts:
    """Of a server, as `bootstrap` puts them together."""

    def __init__(self, database: SqliteDatabase, folder: Path) -> None:
        self.scratch_dir = folder / "scratch"
        self.scratch_dir.mkdir(exist_ok=True)
        self.storage = LocalStorage.open(folder / "files")
        self.clock = SystemClock()
        self.database = database
        self.coordination = MemoryCoordination(self.clock)
        self.announcer = Announcer(self.coordination)
        self.queue = TableQueue(database, self.clock)
        self.surroundings = Surroundings(
            database=database,
            storage=self.storage,
            scanner=None,
            scratch_dir=self.scratch_dir,
            reserve_bytes=0,
        )

    def pool(self, size: int, *, nursery: Any, attempts: Any) -> Pool:
        return Pool(
            JobType.IMAGE,
            smallest=size,
            largest=size,
            worker_id=WORKER,
            nursery=nursery,
            attempts=attempts,
            queue=self.queue,
            database=self.database,
            coordination=self.coordination,
            announcer=self.announcer,
            clock=self.clock,
        )

    async def submit(self, **fields: Any) -> str:
        job = a_job(created_at=self.clock.now(), **fields)
        await self.database.write(jobs.create([job]))
        await self.queue.enqueue(job.id, job.type, priority=job.priority)
        return job.id


class NoNursery:
    pid = 1
    said = None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class NoWork:
    """In the place of `Attempts`: from the claim to the settling, and nothing in between."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.surroundings = parts.surroundings
        self.done = asyncio.Semaphore(0)

    async def run(self, run: Running, _nursery: Any) -> None:
        claim = run.claim
        job = await self._parts.database.write(
            jobs.complete(
                claim.job.id,
                attempt=claim.attempt,
                now=self._parts.clock.now(),
                result={},
                files=[],
            )
        )
        assert job is not None
        await self._parts.announcer.job_changed(job)
        self.done.release()


async def throughput(parts: Parts) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        work = NoWork(parts)
        pool = parts.pool(order["consumers"], nursery=NoNursery(), attempts=work)
        await pool.warm()
        pool.start()
        left = iter(range(order["jobs"]))

        async def produce() -> None:
            for _ in left:  # noqa: B023
                await parts.submit()

        began, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(produce() for _ in range(order["producers"])))
        for _ in range(order["jobs"]):
            await work.done.acquire()
        took = {"took_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
        await pool.drain(5.0)
        print(json.dumps(took), flush=True)


async def latency(parts: Parts) -> None:
    pool = parts.pool(
        2,
        nursery=Nursery("IMAGE", scratch_dir=parts.scratch_dir, processor="bench.idle_processor"),
        attempts=Attempts(
            database=parts.database,
            storage=parts.storage,
            queue=parts.queue,
            announcer=parts.announcer,
            metrics=Metrics(),
            clock=parts.clock,
            surroundings=parts.surroundings,
            scratch_dir=parts.scratch_dir,
            limits=LIMITS,
        ),
    )
    await pool.warm()
    pool.start()
    while line := await asyncio.to_thread(sys.stdin.readline):
        start_ms, end_ms = [], []
        for _ in range(json.loads(line)["jobs"]):
            key = f"raw/{new_id()}"
            async with await parts.storage.receive(key) as incoming:
                await incoming.write(b"nothing")
                await incoming.commit()
            began = time.monotonic()
            started, ended = await _attempt(parts, key)
            start_ms.append((started - began) * 1000)
            end_ms.append((ended - began) * 1000)
        took = {
            "start_ms": statistics.median(start_ms),
            "largest_ms": max(start_ms),
            "end_ms": statistics.median(end_ms),
        }
        print(json.dumps(took), flush=True)
    await pool.drain(5.0)


async def _attempt(parts: Parts, key: str) -> tuple[float, float]:
    """When the processor was called, and when the settled job was announced."""
    async with parts.coordination.subscribe(ALL_JOBS) as changes:
        job_id = await parts.submit(storage_key=key)
        while message := await changes.next(10.0):
            if msgspec.json.decode(message, type=JobChanged).final:
                break
        ended = time.monotonic()
    job = await parts.database.read(job_reads.get(job_id))
    assert job is not None
    assert job.status is JobStatus.COMPLETED, job.error
    return job.result["beganS"], ended


async def main(discipline: str, folder: Path) -> None:
    database = await SqliteDatabase.open(folder / f"{discipline}.db")
    parts = Parts(database, folder)
    await database.write(workers.register(WORKER, node=WORKER, now=parts.clock.now()))
    await {"throughput": throughput, "latency": latency}[discipline](parts)
    await database.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    uvloop.run(main(sys.argv[1], Path(sys.argv[2])))
