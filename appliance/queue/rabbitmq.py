"""The queue of several workers: RabbitMQ says that there is work, the table says which.

    exchange file-processing (direct, durable)
      ├─ process.image, .pdf, .video, .any ─► file-processing-queue.image, …   durable, 1 hour, DLX
      └─ failed ─► file-processing-dlq      ◄─ exchange file-processing-dlx

A message is announced for each job that becomes PENDING. Each wakes one worker, wherever it is,
which asks the table what is next (`database.turns`: priorities, owners in turn, pauses), and is
acknowledged when that job is settled. So the order is the same as in the embedded default, and the
broker may lose, double or delay messages: `repair` announces again what was lost, a doubled one
finds nothing to claim. While the broker is away the table is asked every `POLL_S`.

A type has a queue of its own, since some workers take some types only, and what is taken from a
queue cannot be chosen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import aio_pika
import msgspec
import structlog
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aiormq.exceptions import AMQPError

from appliance.clock import Clock
from appliance.database import figures, turns
from appliance.database.protocol import Database
from appliance.errors import ConfigurationError
from appliance.jobs import Job, JobStatus, JobType

log = structlog.get_logger()

logging.getLogger("aiormq").setLevel(logging.CRITICAL)
"""It tells of each try to reach the broker; `RabbitQueue.fault` is told once."""

EXCHANGE = "file-processing"
QUEUE = "file-processing-queue"
DEAD_EXCHANGE = "file-processing-dlx"
DEAD_QUEUE = "file-processing-dlq"
PROCESS = "process"
FAILED = "failed"

MESSAGE_TTL_S = 3600.0
MAX_DEAD = 100_000
"""Messages in the queue of the dead; the oldest go. The table keeps them all."""
POLL_S = 2.0
AWAY_S = 1.0
"""Between two tries to reach the broker."""
TIMEOUT_S = 5.0
"""For one answer of the broker."""
MOST_WAITING = 10_000
"""Announcements that wait to be sent; what is beyond is left to `repair`."""
MOST_REPAIRED = 1000

FAULTS = (AMQPError, OSError, RuntimeError)
"""What a broker that is away raises. A channel that is closed raises a RuntimeError in aio-pika."""


class Names(NamedTuple):
    """What is called how at the broker."""

    namespace: str | None

    def of(self, name: str) -> str:
        return name if self.namespace is None else f"{self.namespace}.{name}"

    def queue(self, job_type: JobType) -> str:
        return self.of(f"{QUEUE}.{job_type.value.lower()}")


@dataclass(frozen=True)
class RabbitDelivery:
    job_id: str
    token: AbstractIncomingMessage | None
    """None: found by looking into the table."""

    async def ack(self) -> None:
        if self.token is not None:
            await _ack(self.token)


async def _ack(token: AbstractIncomingMessage) -> None:
    try:
        await token.ack()
    except FAULTS as error:  # it goes to somebody else, who finds nothing to claim
        log.debug("message_not_acknowledged", reason=str(error))


@dataclass(frozen=True)
class _Source:
    """Where the messages of one type come from."""

    channel: AbstractChannel
    queue: AbstractQueue
    arrived: asyncio.Queue[AbstractIncomingMessage]


@dataclass(frozen=True)
class _Link:
    """What there is while the broker is reached."""

    connection: AbstractConnection
    exchange: AbstractExchange
    sources: Mapping[JobType, _Source]


class RabbitQueue:
    def __init__(self, url: str, database: Database, clock: Clock) -> None:
        """`?namespace=…` in the address goes before all names, for several appliances that share a
        virtual host."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self._names = Names(query.pop("namespace", None))
        self._url = parts._replace(query=urlencode(query)).geturl()
        self._database = database
        self._clock = clock
        self._link: _Link | None = None
        self._linked = asyncio.Event()
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MOST_WAITING)
        """Routing keys and messages, to be sent."""
        self._short: dict[JobType, int] = {}
        """By how many announcements each queue was short when it was last looked at."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.fault: str | None = None
        """Why the broker is not reached, for those who run the server."""

    @classmethod
    async def open(cls, url: str, database: Database, clock: Clock) -> RabbitQueue:
        """A broker that does not answer is logged, and asked again."""
        opened = cls(url, database, clock)
        opened._spawn(opened._stay_linked(), "rabbitmq-link")
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S):
                await opened._linked.wait()
        return opened

    async def close(self) -> None:
        if self._link is not None:  # what was announced last is sent
            with suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT_S):
                    await self._waiting.join()
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()  # again where the client took it for a fault of its own
            await asyncio.wait(tasks, timeout=1.0)

    async def check(self) -> None:
        """Raises ConfigurationError where the broker does not answer, or refuses."""
        if self._link is None:
            raise ConfigurationError([f"APPLIANCE_QUEUE_URL: {self.fault}"])

    # --- announcing -----------------------------------------------------------------------------

    async def enqueue(self, job_id: str, job_type: JobType, *, priority: int) -> None:
        message = {"jobId": job_id, "type": job_type, "priority": priority}
        self._announce(f"{PROCESS}.{job_type.value.lower()}", message)

    async def give_up(self, job: Job) -> None:
        error = None if job.error is None else msgspec.structs.asdict(job.error)
        message = {"jobId": job.id, "type": job.type, "owner": job.owner, "error": error}
        self._announce(FAILED, message)

    def _announce(self, routing_key: str, message: Mapping[str, Any]) -> None:
        with suppress(asyncio.QueueFull):  # the table has it
            self._waiting.put_nowait((routing_key, msgspec.json.encode(message)))

    async def repair(self) -> int:
        """A queue that was short of announcements twice in a row is told of as many jobs again."""
        link = self._link
        if link is None:
            return 0
        queue = await self._database.read(figures.queue())
        announced = 0
        for job_type, pending in queue.by_type(JobStatus.PENDING).items():
            short = min(pending, MOST_REPAIRED) - await self._messages(link, job_type)
            again = min(short, self._short.get(job_type, 0))
            self._short[job_type] = max(0, short - max(0, again))
            for _ in range(again):
                await self.enqueue("", job_type, priority=0)
            announced += max(0, again)
        return announced

    async def _messages(self, link: _Link, job_type: JobType) -> int:
        try:
            async with asyncio.timeout(TIMEOUT_S), link.connection.channel() as channel:
                found = await channel.declare_queue(self._names.queue(job_type), passive=True)
                return found.declaration_result.message_count or 0
        except FAULTS as error:
            log.debug("queue_not_counted", reason=str(error))
            return MOST_REPAIRED  # nothing is short as far as is known

    async def _publish(self, exchange: AbstractExchange) -> None:
        while True:
            routing_key, body = await self._waiting.get()
            try:
                message = aio_pika.Message(
                    body,
                    content_type="application/json",
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                )
                await exchange.publish(message, routing_key, timeout=TIMEOUT_S)
            finally:
                self._waiting.task_done()

    # --- taking ---------------------------------------------------------------------------------

    async def receive(
        self, job_type: JobType, *, limit: int, small_only: bool = False
    ) -> Sequence[RabbitDelivery]:
        while True:
            tokens = await self._tokens(job_type, limit)
            try:
                ids = await self._database.read(
                    turns.ready(
                        job_type,
                        limit=len(tokens) or limit,
                        now=self._clock.now(),
                        small_only=small_only,
                    )
                )
            except BaseException:
                self._return(tokens)
                raise
            for spare in tokens[len(ids) :]:  # others have had what they were announced for
                await _ack(spare)
            if ids:
                return [
                    RabbitDelivery(job_id, tokens[at] if at < len(tokens) else None)
                    for at, job_id in enumerate(ids)
                ]

    async def _tokens(self, job_type: JobType, limit: int) -> list[AbstractIncomingMessage]:
        """Up to `limit` messages, as soon as there is one; none after POLL_S.

        It consumes for as long as that only: what this process has no worker for stays in the
        queue, for others.
        """
        link = self._link
        if link is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._linked.wait()
            return []
        source = link.sources[job_type]
        try:
            if source.arrived.empty():
                await self._consume(source, limit)
        except FAULTS as error:
            self._note(error)
        except asyncio.CancelledError:
            self._return(_taken(source, limit))
            raise
        return _taken(source, limit)

    async def _consume(self, source: _Source, limit: int) -> None:
        await source.channel.set_qos(prefetch_count=limit)
        tag = await source.queue.consume(source.arrived.put, timeout=TIMEOUT_S)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    source.arrived.put_nowait(await source.arrived.get())
        finally:
            await asyncio.shield(source.queue.cancel(tag, timeout=TIMEOUT_S))

    def _return(self, tokens: Sequence[AbstractIncomingMessage]) -> None:
        for token in tokens:
            self._spawn(_requeue(token), "rabbitmq-return")

    # --- the link -------------------------------------------------------------------------------

    async def _stay_linked(self) -> None:
        while True:
            try:
                await self._link_once()
            except FAULTS as error:
                self._note(error)
            except Exception:
                log.exception("rabbitmq_link_broke")  # top of a loop: it must go on
            await asyncio.sleep(AWAY_S)

    async def _link_once(self) -> None:
        """Reach the broker, and return when it is lost, or one of the channels."""
        connection = await aio_pika.connect(self._url, timeout=TIMEOUT_S)
        lost = asyncio.get_running_loop().create_future()

        def broke(_: object, error: BaseException | None = None) -> None:
            if not lost.done():
                lost.set_result(error)

        publishing: asyncio.Task[None] | None = None
        try:
            connection.close_callbacks.add(broke)
            channel = await connection.channel()
            channel.close_callbacks.add(broke)
            exchange = await _declare(channel, self._names)
            sources = {}
            for job_type in JobType:
                own = await connection.channel()
                own.close_callbacks.add(broke)
                queue = await own.get_queue(self._names.queue(job_type), ensure=False)
                sources[job_type] = _Source(own, queue, asyncio.Queue())
            self._link = _Link(connection, exchange, sources)
            self._linked.set()
            if self.fault is not None:
                log.info("rabbitmq_is_back")
                self.fault = None
            publishing = self._spawn(self._publish(exchange), "rabbitmq-publish")
            await asyncio.wait((lost, publishing), return_when=asyncio.FIRST_COMPLETED)
            if lost.done() and lost.result() is not None:
                self._note(lost.result())
        finally:
            self._link = None
            self._linked.clear()
            if publishing is not None:
                publishing.cancel()
            await connection.close()

    def _note(self, error: BaseException) -> None:
        told = f"RabbitMQ does not answer as it should: {str(error) or type(error).__name__}"
        if self.fault is None:
            log.warning("rabbitmq_is_away", reason=told)
        self.fault = told

    def _spawn(self, work: Any, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note(error)


def _taken(source: _Source, limit: int) -> list[AbstractIncomingMessage]:
    """What has arrived; a message that comes late is there for the next."""
    return [source.arrived.get_nowait() for _ in range(min(limit, source.arrived.qsize()))]


async def _requeue(token: AbstractIncomingMessage) -> None:
    try:
        await token.nack(requeue=True)
    except FAULTS as error:  # the broker does it by itself, when the channel is gone
        log.debug("message_not_returned", reason=str(error))


async def _declare(channel: AbstractChannel, names: Names) -> AbstractExchange:
    """The exchanges and queues, where they are not there."""
    direct = aio_pika.ExchangeType.DIRECT
    exchange = await channel.declare_exchange(names.of(EXCHANGE), direct, durable=True)
    dead_exchange = await channel.declare_exchange(names.of(DEAD_EXCHANGE), direct, durable=True)
    for job_type in JobType:
        queue = await channel.declare_queue(
            names.queue(job_type),
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-message-ttl": int(MESSAGE_TTL_S * 1000),
                "x-dead-letter-exchange": names.of(DEAD_EXCHANGE),
            },
        )
        await queue.bind(exchange, f"{PROCESS}.{job_type.value.lower()}")
    dead = await channel.declare_queue(
        names.of(DEAD_QUEUE),
        durable=True,
        arguments={"x-queue-type": "quorum", "x-max-length": MAX_DEAD},
    )
    await dead.bind(exchange, FAILED)
    await dead.bind(dead_exchange, FAILED)
    return exchange
