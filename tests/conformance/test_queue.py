"""What every queue must do: offer what is PENDING, wake who waits, never be the truth."""

from __future__ import annotations

import asyncio

from appliance.database import jobs
from appliance.database.protocol import Database
from appliance.jobs import JobType
from appliance.queue.protocol import Queue
from tests.records import a_job


async def test_what_was_enqueued_is_received(database: Database, queue: Queue) -> None:
    job = a_job()
    await database.write(jobs.create([job]))
    await queue.enqueue(job.id, job.type, priority=job.priority)
    (delivery,) = await queue.receive(JobType.IMAGE, limit=5)
    assert delivery.job_id == job.id
    await database.write(jobs.claim(job.id, worker="w", now=1.0))
    await delivery.ack()


async def test_who_waits_is_woken_at_once(database: Database, queue: Queue) -> None:
    waiting = asyncio.create_task(queue.receive(JobType.IMAGE, limit=1))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    job = a_job()
    await database.write(jobs.create([job]))
    await queue.enqueue(job.id, job.type, priority=job.priority)
    async with asyncio.timeout(1.0):  # far below any time after which it would look by itself
        (delivery,) = await waiting
    assert delivery.job_id == job.id


async def test_types_are_kept_apart_and_the_limit_holds(database: Database, queue: Queue) -> None:
    batch = [a_job() for _ in range(5)] + [a_job(type=JobType.PDF)]
    await database.write(jobs.create(batch))
    for job in batch:
        await queue.enqueue(job.id, job.type, priority=job.priority)
    assert len(await queue.receive(JobType.IMAGE, limit=3)) <= 3
    (pdf,) = await queue.receive(JobType.PDF, limit=3)
    assert pdf.job_id == batch[5].id


async def test_a_job_nobody_announced_is_found(database: Database, queue: Queue) -> None:
    """A lost announcement delays a job, and no more."""
    waiting = asyncio.create_task(queue.receive(JobType.IMAGE, limit=1))
    await asyncio.wait([waiting], timeout=0.05)
    job = a_job()
    await database.write(jobs.create([job]))
    async with asyncio.timeout(10):
        (delivery,) = await waiting
    assert delivery.job_id == job.id
