"""RabbitMQ as it is in use: shared by several workers, cut off, emptied, and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import aio_pika
import pytest

from appliance.clock import SystemClock
from appliance.database import job_reads, jobs
from appliance.database.protocol import Database
from appliance.errors import ConfigurationError
from appliance.ids import new_id
from appliance.jobs import Job, JobType
from appliance.queue.protocol import Delivery, Queue
from appliance.queue.rabbitmq import DEAD_QUEUE, Names, RabbitQueue
from tests import brokers
from tests.faulty_network import Fate, FaultyNetwork, faulty_network
from tests.records import FAULT, a_job
from tests.services import needed

DEADLINE_S = 20.0


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    async with brokers.names_of_its_own(new_id()) as found:
        yield found


async def opened(names: Names, database: Database, through: str | None = None) -> RabbitQueue:
    assert names.namespace is not None
    url = brokers.url(names.namespace)
    if through is not None:
        url = url.replace(url.rpartition("@")[2].partition("/")[0], through)
    return await RabbitQueue.open(url, database, SystemClock())


async def created(database: Database, queue: Queue | None, count: int = 1) -> list[Job]:
    made = [a_job() for _ in range(count)]
    await database.write(jobs.create(made))
    for job in made:
        if queue is not None:
            await queue.enqueue(job.id, job.type, priority=job.priority)
    return made


async def claimed(database: Database, deliveries: list[Delivery]) -> list[str]:
    """As a pool does it, at once."""
    ids = [delivery.job_id for delivery in deliveries]
    return [
        claim.job.id for claim in await database.write(jobs.claim_all(ids, worker="w", now=1.0))
    ]


async def messages(name: str) -> int:
    """That are ready in a queue."""
    async with (
        await aio_pika.connect(needed("RABBITMQ_URL", "rabbitmq")) as connection,
        connection.channel() as channel,
    ):
        found = await channel.declare_queue(name, passive=True)
        return found.declaration_result.message_count or 0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.02)


async def test_jobs_go_to_who_has_a_worker_free(database: Database, names: Names) -> None:
    """And none twice: two processes take from one queue."""
    busy, free = await opened(names, database), await opened(names, database)
    try:
        made = {job.id for job in await created(database, busy, 20)}
        async with asyncio.timeout(DEADLINE_S):
            (first,) = await busy.receive(JobType.IMAGE, limit=1)
            seen = await claimed(database, [first])
            while len(seen) < 20:  # `busy` holds one message, and no more
                deliveries = list(await free.receive(JobType.IMAGE, limit=3))
                assert 1 <= len(deliveries) <= 3
                seen += await claimed(database, deliveries)
                for delivery in deliveries:
                    await delivery.ack()
        await first.ack()
        assert sorted(seen) == sorted(made)
    finally:
        await busy.close()
        await free.close()


async def test_what_a_lost_process_held_goes_to_another(database: Database, names: Names) -> None:
    lost, other = await opened(names, database), await opened(names, database)
    try:
        (job,) = await created(database, lost)
        (delivery,) = await lost.receive(JobType.IMAGE, limit=1)
        assert delivery.job_id == job.id
        await lost.close()
        async with asyncio.timeout(DEADLINE_S):
            (again,) = await other.receive(JobType.IMAGE, limit=1)
        assert again.job_id == job.id
        assert again.token is not None
        assert again.token.redelivered
    finally:
        await lost.close()
        await other.close()


async def test_who_stops_waiting_loses_no_message(database: Database, names: Names) -> None:
    queue = await opened(names, database)
    try:
        for _ in range(5):
            waiting = asyncio.ensure_future(queue.receive(JobType.IMAGE, limit=2))
            await asyncio.wait([waiting], timeout=0.02)
            waiting.cancel()
            await asyncio.wait([waiting])
        made = await created(database, queue, 2)
        async with asyncio.timeout(DEADLINE_S):
            seen: list[str] = []
            while len(seen) < 2:
                seen += await claimed(database, list(await queue.receive(JobType.IMAGE, limit=2)))
        assert sorted(seen) == sorted(job.id for job in made)
    finally:
        await queue.close()


async def test_while_the_broker_is_away_the_table_is_asked(
    database: Database, names: Names
) -> None:
    url = needed("RABBITMQ_URL", "rabbitmq")
    up = True

    def fate(_: int) -> Fate:
        return Fate() if up else Fate(busy=True)

    async with faulty_network(url, fate) as network:
        queue = await opened(names, database, network.url.removeprefix("http://"))
        try:
            assert queue.fault is None
            await queue.check()
            up = False
            await cut(network)
            await until(lambda: queue.fault is not None)
            with pytest.raises(ConfigurationError, match="APPLIANCE_QUEUE_URL: RabbitMQ"):
                await queue.check()
            (job,) = await created(database, queue)
            async with asyncio.timeout(DEADLINE_S):
                (delivery,) = await queue.receive(JobType.IMAGE, limit=1)
            assert delivery.job_id == job.id
            assert await claimed(database, [delivery]) == [job.id]
            await delivery.ack()

            up = True
            await until(lambda: queue.fault is None)
            (next_job,) = await created(database, queue)
            async with asyncio.timeout(DEADLINE_S):
                (delivery,) = await queue.receive(JobType.IMAGE, limit=1)
            assert delivery.job_id == next_job.id
            assert await queue.repair() == 0
        finally:
            await queue.close()


async def cut(network: FaultyNetwork) -> None:
    await network.end()


async def test_what_the_broker_lost_is_announced_again(database: Database, names: Names) -> None:
    queue = await opened(names, database)
    try:
        made = await created(database, None, 3)
        assert await queue.repair() == 0  # they may just be on their way
        assert await queue.repair() == 3
        async with asyncio.timeout(DEADLINE_S):
            while await messages(names.queue(JobType.IMAGE)) < 3:
                await asyncio.sleep(0.02)
        assert await queue.repair() == 0
        deliveries = list(await queue.receive(JobType.IMAGE, limit=3))
        assert await claimed(database, deliveries)
        assert {one.job_id for one in deliveries} <= {job.id for job in made}
    finally:
        await queue.close()


async def test_a_doubled_message_finds_nothing_to_claim(database: Database, names: Names) -> None:
    queue = await opened(names, database)
    try:
        (job,) = await created(database, queue)
        for _ in range(4):
            await queue.enqueue(job.id, job.type, priority=job.priority)
        (delivery,) = await queue.receive(JobType.IMAGE, limit=1)
        assert await claimed(database, [delivery]) == [job.id]
        await delivery.ack()
        waiting = asyncio.ensure_future(queue.receive(JobType.IMAGE, limit=2))
        async with asyncio.timeout(DEADLINE_S):
            while await messages(names.queue(JobType.IMAGE)):
                await asyncio.sleep(0.02)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    finally:
        await queue.close()


async def test_what_was_given_up_is_told_to_the_queue_of_the_dead(
    database: Database, names: Names
) -> None:
    queue = await opened(names, database)
    try:
        (job,) = await created(database, queue)
        await database.write(jobs.claim(job.id, worker="w", now=1.0))
        failed = await database.write(
            jobs.fail(job.id, attempt=1, now=2.0, error=FAULT, error_class="X", stderr_tail=None)
        )
        assert failed is not None
        await queue.give_up(failed)
        async with (
            await aio_pika.connect(needed("RABBITMQ_URL", "rabbitmq")) as connection,
            connection.channel() as channel,
        ):
            dead = await channel.get_queue(names.of(DEAD_QUEUE))
            async with asyncio.timeout(DEADLINE_S):
                while (message := await dead.get(fail=False)) is None:
                    await asyncio.sleep(0.02)
            told = json.loads(message.body)
            await message.ack()
        assert (told["jobId"], told["error"]["code"]) == (job.id, FAULT.code)
        assert await database.read(job_reads.get(job.id)) == failed
    finally:
        await queue.close()


async def test_the_queues_are_as_they_are_drawn(database: Database, names: Names) -> None:
    """DIAGRAMS.md, 4. Declared with other arguments, the broker refuses."""
    queue = await opened(names, database)
    try:
        async with (
            await aio_pika.connect(needed("RABBITMQ_URL", "rabbitmq")) as connection,
            connection.channel() as channel,
        ):
            await channel.declare_queue(
                f"{names.namespace}.file-processing-queue.video",
                durable=True,
                arguments={
                    "x-queue-type": "quorum",
                    "x-message-ttl": 3_600_000,
                    "x-dead-letter-exchange": f"{names.namespace}.file-processing-dlx",
                },
            )
            exchange = f"{names.namespace}.file-processing"
            await channel.declare_exchange(exchange, aio_pika.ExchangeType.DIRECT, durable=True)
            await channel.declare_queue(f"{names.namespace}.file-processing-dlq", passive=True)
    finally:
        await queue.close()


async def test_a_wrong_password_is_told(database: Database, names: Names) -> None:
    url = needed("RABBITMQ_URL", "rabbitmq").replace("appliance:", "appliance:wrong")
    queue = await RabbitQueue.open(url, database, SystemClock())
    try:
        with pytest.raises(ConfigurationError, match="ACCESS_REFUSED"):
            await queue.check()
    finally:
        await queue.close()
