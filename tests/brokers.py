"""A queue at a real RabbitMQ (scripts/services), with names of its own, which go with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika

from appliance.clock import SystemClock
from appliance.database.protocol import Database
from appliance.ids import new_id
from appliance.jobs import JobType
from appliance.queue.rabbitmq import DEAD_EXCHANGE, DEAD_QUEUE, EXCHANGE, Names, RabbitQueue
from tests.services import needed


def url(namespace: str) -> str:
    return f"{needed('RABBITMQ_URL', 'rabbitmq')}?namespace={namespace}"


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[RabbitQueue]:
    namespace = new_id()
    async with names_of_its_own(namespace):
        queue = await RabbitQueue.open(url(namespace), database, SystemClock())
        try:
            yield queue
        finally:
            await queue.close()


@asynccontextmanager
async def names_of_its_own(namespace: str) -> AsyncIterator[Names]:
    names = Names(namespace)
    try:
        yield names
    finally:
        async with (
            await aio_pika.connect(needed("RABBITMQ_URL", "rabbitmq")) as connection,
            connection.channel() as channel,
        ):
            for job_type in JobType:
                await channel.queue_delete(names.queue(job_type))
            await channel.queue_delete(names.of(DEAD_QUEUE))
            for exchange in (EXCHANGE, DEAD_EXCHANGE):
                await channel.exchange_delete(names.of(exchange))
