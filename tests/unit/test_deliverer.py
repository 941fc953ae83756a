"""The deliverer and its outbox: real SQLite, real receivers on sockets, a clock that is moved."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import outgoing
from appliance.admin_key import create_key, revoke_key
from appliance.database import deliveries, jobs, webhooks
from appliance.database.protocol import Database
from appliance.ids import new_id
from appliance.jobs import Job
from appliance.maintenance.deliverer import (
    CLAIM_S,
    GONE,
    PATIENCE_S,
    SENDERS_OF_A_LANE,
    UNANSWERED,
    Deliverer,
)
from appliance.maintenance.pruner import KEEP_DELIVERIES_S
from appliance.maintenance.watch import Watch
from appliance.metrics import Metrics
from appliance.permissions import Role
from appliance.webhooks import (
    JITTER,
    JOB_EVENTS,
    LONGEST_WAIT_S,
    MAX_PAYLOAD_BYTES,
    WAITS_S,
    Delivery,
    Event,
    Secrets,
    Webhook,
    job_payload,
    new_secret,
)
from tests import databases
from tests.clocks import MovedClock
from tests.hooks import OK, Hook, answering, hooked
from tests.records import FAULT, a_job, a_result
from tests.web.wire import until

OWNER = "key:A"


@dataclass
class Stage:
    database: Database
    clock: MovedClock
    deliverer: Deliverer
    metrics: Metrics
    stack: AsyncExitStack

    async def hook(self) -> Hook:
        return await self.stack.enter_async_context(hooked())

    async def endpoint(self, url: str, *events: Event, owner: str = OWNER) -> str:
        webhook = Webhook(
            id=new_id(), owner=owner, url=url, events=events or JOB_EVENTS, description="",
            active=True, created_at=self.clock.now(),
        )  # fmt: skip
        await self.database.write(webhooks.create(webhook, secret=new_secret()))
        return webhook.id

    async def settled(self, how: str = "completed", **fields: Any) -> str:
        """The id of a job that came to its end this way just now."""
        job, now = a_job(**fields), self.clock.now()
        await self.database.write(jobs.create([job]))
        if how == "cancelled":
            assert await self.database.write(jobs.cancel(job.id, now=now, actor=OWNER))
            return job.id
        assert await self.database.write(jobs.claim(job.id, worker="w", now=now))
        move = (
            jobs.complete(job.id, attempt=1, now=now, result={"width": 3}, files=[])
            if how == "completed"
            else jobs.fail(
                job.id, attempt=1, now=now, error=FAULT, error_class="X", stderr_tail=None
            )
        )
        assert await self.database.write(move)
        return job.id

    async def send(self, *, after_s: float = 0.0) -> None:
        """Let time pass, and send all that is due then."""
        self.clock.pass_time(after_s)
        await self.deliverer.run_once()
        await self.deliverer.drain(10.0)

    async def sent(self, **wanted: Any) -> list[Delivery]:
        """All there are, the oldest first."""
        found = await self.database.read(deliveries.page(owner=None, limit=500, **wanted))
        return sorted(found, key=lambda one: one.id)

    async def the_only(self) -> Delivery:
        (found,) = await self.sent()
        return found

    async def webhook(self, webhook_id: str) -> Webhook:
        found = await self.database.read(webhooks.get(webhook_id))
        assert found is not None
        return found


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock, metrics = MovedClock(), Metrics()
    async with AsyncExitStack() as stack:
        database = await databases.opened(tmp_path)
        stack.push_async_callback(database.close)
        asking = await stack.enter_async_context(outgoing.opened(allow_private=True))
        deliverer = Deliverer(database=database, outgoing=asking, metrics=metrics, clock=clock)
        stack.push_async_callback(deliverer.drain, 0.0)
        yield Stage(database, clock, deliverer, metrics, stack)


# --- who is told of what -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_every_end_of_a_job_is_told_to_those_who_asked(stage: Stage, how: str) -> None:
    hook = await stage.hook()
    every = await stage.endpoint(f"{hook.url}/every")
    await stage.endpoint(f"{hook.url}/this", Event(f"job.{how}"))
    await stage.endpoint(f"{hook.url}/others", *(set(JOB_EVENTS) - {f"job.{how}"}))
    await stage.endpoint(f"{hook.url}/another-owner", owner="key:B")
    off = await stage.webhook(await stage.endpoint(f"{hook.url}/off"))
    off = msgspec.structs.replace(off, active=False)
    await stage.database.write(webhooks.change(off, now=stage.clock.now()))
    job_id = await stage.settled(how, metadata={"order": 7})
    await stage.send()
    assert sorted(one.path for one in hook.messages) == ["/hook/every", "/hook/this"]
    for message in hook.messages:
        told = message.json()
        assert told["type"] == f"job.{how}"
        assert told["timestamp"] == told["data"]["finishedAt"] == "1970-01-12T13:46:40.000Z"
        assert (told["data"]["jobId"], told["data"]["status"]) == (job_id, how.upper())
        assert told["data"]["metadata"] == {"order": 7}
    assert {one.state for one in await stage.sent()} == {"delivered"}
    assert len(set(hook.ids())) == 2
    (one,) = await stage.sent(webhook_id=every)
    assert (one.job_id, one.attempt, one.due_at, one.ended_at) == (job_id, 1, None, 1_000_000.0)


async def test_a_callback_is_told_with_a_secret_of_its_owner(stage: Stage) -> None:
    hook = await stage.hook()
    first = await stage.settled(callback_url=f"{hook.url}/mine?order=7")
    await stage.settled("failed", callback_url=hook.url)
    await stage.settled()
    await stage.send()
    assert [one.path for one in hook.messages] == ["/hook/mine?order=7", "/hook"]
    assert hook.messages[0].json()["data"]["jobId"] == first
    secrets = await stage.database.read(webhooks.callback_secrets(OWNER))
    assert secrets is not None
    assert all(signed_by(secrets.secret, message) for message in hook.messages)


async def test_nobody_is_told_and_nothing_written_without_a_webhook(stage: Stage) -> None:
    await stage.endpoint("http://127.0.0.1:9/", owner="key:B")
    for how in ("completed", "failed", "cancelled"):
        await stage.settled(how)
    assert await stage.sent() == []


async def test_what_is_not_committed_is_not_told(stage: Stage) -> None:
    """The outbox and the end of the job are one transaction."""
    await stage.endpoint("http://127.0.0.1:9/")
    job = a_job()
    await stage.database.write(jobs.create([job]))

    def failing() -> Any:
        yield from jobs.cancel(job.id, now=stage.clock.now(), actor=OWNER)
        raise RuntimeError("no commit")

    with pytest.raises(RuntimeError, match="no commit"):
        await stage.database.write(failing())
    assert await stage.sent() == []


def signed_by(secret: str, message: Any) -> bool:
    """Whether one of the signatures is that of `secret`, by nothing but the standard's text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message.id}.{message.headers['webhook-timestamp']}.".encode() + message.body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{digest}" in message.headers["webhook-signature"].split(" ")


async def test_an_old_secret_signs_beside_the_new_one_for_a_day(stage: Stage) -> None:
    hook = await stage.hook()
    webhook_id = await stage.endpoint(hook.url)
    old = await stage.database.read(webhooks.secrets_of(webhook_id))
    new = await stage.database.write(webhooks.rotate(webhook_id, now=stage.clock.now()))
    assert old is not None
    assert new is not None
    await stage.settled()
    await stage.send()
    await stage.settled()
    await stage.send(after_s=24 * 3600)
    both, one = hook.messages
    assert [signed_by(secrets.secret, both) for secrets in (old, new)] == [True, True]
    assert [signed_by(secrets.secret, one) for secrets in (old, new)] == [False, True]
    assert one.headers["webhook-timestamp"] == str(int(stage.clock.now()))


def test_a_payload_is_small_however_large_the_job_is() -> None:
    job = msgspec.structs.replace(
        a_job(), status="COMPLETED", finished_at=1.0, result={"text": "x" * 20_000}
    )
    files = tuple(a_result(job.id, 1, f"page-{number}.webp") for number in range(200))
    large = msgspec.structs.replace(job, files=files, metadata={"note": "ü" * 10_000})
    for one, left_out in ((job, ["result"]), (large, ["result", "files", "metadata"])):
        data = told(one)
        assert data["shortened"] == left_out
        assert not set(left_out) & data.keys()
        assert data["statusUrl"] == f"/status/{job.id}"
    assert "shortened" not in told(msgspec.structs.replace(job, result={}))


def told(job: Job) -> Any:
    payload = job_payload(job)
    assert len(payload.encode()) <= MAX_PAYLOAD_BYTES
    return msgspec.json.decode(payload)["data"]


# --- trying again ------------------------------------------------------------------------


async def test_eight_tries_in_27_hours_all_the_same(stage: Stage) -> None:
    hook = await stage.hook()
    hook.answer = answering(500, body=b"out of order")
    webhook_id = await stage.endpoint(hook.url)
    await stage.settled()
    await stage.send()
    for number, wait_s in enumerate(WAITS_S, start=1):
        await stage.send(after_s=wait_s - 0.1)
        assert len(hook.messages) == number
        await stage.send(after_s=wait_s * JITTER + 0.1)
        assert len(hook.messages) == number + 1
    delivery = await stage.the_only()
    assert (delivery.state, delivery.attempt, delivery.due_at) == ("failed", 8, None)
    assert len({(one.id, one.body) for one in hook.messages}) == 1
    assert len({one.headers["webhook-timestamp"] for one in hook.messages}) == 8
    tries = (await stage.database.read(deliveries.tries([delivery.id])))[delivery.id]
    assert [one.number for one in tries] == list(range(1, 9))
    assert {(one.status, one.answer) for one in tries} == {(500, "out of order")}
    await stage.send(after_s=30 * 24 * 3600)
    assert len(hook.messages) == 8
    assert (await stage.webhook(webhook_id)).active
    count = stage.metrics.deliveries.labels
    assert (count("retried")._value.get(), count("failed")._value.get()) == (7, 1)


@pytest.mark.parametrize(
    ("asked", "waits_s"),
    [
        ("120", 120.0),
        (formatdate(1_000_300, usegmt=True), 300.0),
        (str(10**8), LONGEST_WAIT_S),
        ("1", WAITS_S[0]), ("soon", WAITS_S[0]), ("-5", WAITS_S[0]), ("²", WAITS_S[0]),
    ],
)  # fmt: skip
async def test_a_receiver_may_ask_for_patience(stage: Stage, asked: str, waits_s: float) -> None:
    hook = await stage.hook()
    hook.answer = answering(429, f"Retry-After: {asked}".encode().decode("latin-1"))
    await stage.endpoint(hook.url)
    await stage.settled()
    await stage.send()
    hook.answer = OK
    await stage.send(after_s=waits_s - 0.1)
    assert len(hook.messages) == 1
    await stage.send(after_s=WAITS_S[0] * JITTER + 0.1)
    assert (await stage.the_only()).state == "delivered"


async def test_a_clock_that_is_set_back_holds_nothing_up(stage: Stage) -> None:
    hook = await stage.hook()
    hook.answer = answering(500)
    await stage.endpoint(hook.url)
    await stage.settled()
    await stage.send()
    stage.clock.wall -= 30 * 24 * 3600
    await stage.send()
    assert len(hook.messages) == 2


BOMB = gzip.compress(b"x" * 20_000_000)
BOMB_AS_IT_IS = BOMB[:1024].decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("answer", "status", "beginning", "fault"),
    [
        (answering(200, body=b"thanks"), 200, "thanks", None),
        (answering(201, body=b"y" * 5_000_000), 201, "y" * 1024, None),
        (answering(200, "Content-Encoding: gzip", body=BOMB), 200, BOMB_AS_IT_IS, None),
        (answering(200, body=b"\x00\xff<script>"), 200, "\x00\ufffd<script>", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut", 200, "cut", None),
        (answering(301, "Location: http://127.0.0.1:9/"), 301, "", "redirects are not followed"),
        (answering(404), 404, "", "It answered 404."),
        (answering(503), 503, "", "It answered 503."),
        (b"", None, None, "without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, None, "without an answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"z" * 100_000, None, None, "without an answer"),
    ],
    ids=["ok", "huge", "bomb", "bytes", "cut", "redirect", "404", "503", "closes", "ssh", "head"],
)  # fmt: skip
async def test_whatever_is_answered(
    stage: Stage, answer: bytes, status: int | None, beginning: str | None, fault: str | None
) -> None:
    hook = await stage.hook()
    hook.answer = answer
    await stage.endpoint(hook.url)
    await stage.settled()
    await stage.send()
    delivery = await stage.the_only()
    assert delivery.state == ("delivered" if fault is None else "pending")
    (tried,) = (await stage.database.read(deliveries.tries([delivery.id])))[delivery.id]
    assert tried.status == status
    assert (tried.fault is None) if fault is None else (fault in (tried.fault or ""))
    assert len(tried.answer or "") <= 1024
    if beginning is not None:
        assert tried.answer == databases.kept(beginning)
    await stage.send(after_s=6.0)
    assert len(hook.messages) == (1 if fault is None else 2)


async def test_nobody_there(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    await stage.endpoint(f"http://127.0.0.1:{port}/")
    await stage.settled()
    await stage.send()
    (tries,) = (await stage.database.read(deliveries.tries([(await stage.the_only()).id]))).values()
    assert [one.fault for one in tries] == ["It cannot be connected to."]


async def test_a_slow_one_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "DELIVERY_TIMEOUT_S", 0.05)
    hook = await stage.hook()
    hook.holds = True
    await stage.endpoint(hook.url)
    await stage.settled()
    await stage.send()
    delivery = await stage.the_only()
    ((tried,),) = (await stage.database.read(deliveries.tries([delivery.id]))).values()
    assert (delivery.state, tried.status) == ("pending", None)
    assert "No answer within" in (tried.fault or "")


# --- endpoints that do not work ----------------------------------------------------------


async def test_gone_is_gone(stage: Stage) -> None:
    hook = await stage.hook()
    webhook_id = await stage.endpoint(hook.url)
    hook.answer = answering(503)
    await stage.settled()
    await stage.send()
    hook.answer = answering(410)
    await stage.settled()
    await stage.send()
    webhook = await stage.webhook(webhook_id)
    assert (webhook.active, webhook.disabled_reason) == (False, GONE)
    assert {one.state for one in await stage.sent()} == {"failed"}
    await stage.settled()
    await stage.send(after_s=3600)
    assert len(hook.messages) == 2


async def test_after_five_days_of_failure_it_is_switched_off_and_operators_hear(
    stage: Stage,
) -> None:
    watch = Watch(stage.database, stage.clock, own_pools=list)
    hook = await stage.hook()
    hook.answer = answering(500)
    webhook_id = await stage.endpoint(hook.url)
    await stage.settled()
    await stage.send()
    stage.clock.pass_time(PATIENCE_S / 2)
    hook.answer = OK
    await stage.send()
    assert (await stage.webhook(webhook_id)).failing_since is None
    hook.answer = answering(500)
    await stage.settled()
    await stage.send(after_s=1)
    await stage.send(after_s=PATIENCE_S - 1)
    assert (await stage.webhook(webhook_id)).active
    assert await watch.look() == []
    await stage.settled()
    await stage.send(after_s=1)
    webhook = await stage.webhook(webhook_id)
    assert (webhook.active, webhook.disabled_reason) == (False, UNANSWERED)
    (news,) = await watch.look()
    assert webhook_id in news.text
    assert hook.url not in news.text
    assert await watch.look() == []
    again = msgspec.structs.replace(webhook, active=True)
    on = await stage.database.write(webhooks.change(again, now=stage.clock.now()))
    assert on is not None
    assert (on.active, on.failing_since, on.disabled_at) == (True, None, None)


async def test_nothing_is_sent_for_a_key_that_has_ended(stage: Stage) -> None:
    hook, now = await stage.hook(), stage.clock.now()
    key, _ = await create_key(stage.database, name="k", role=Role.USER, now=now)
    await stage.endpoint(hook.url, owner=key.owner)
    await stage.settled(owner=key.owner, callback_url=hook.url)
    await revoke_key(stage.database, key.id, now=now, actor="me")
    await stage.send()
    assert hook.messages == []
    assert {one.state for one in await stage.sent()} == {"failed"}


# --- many of them ------------------------------------------------------------------------


async def test_a_slow_endpoint_holds_up_no_other(stage: Stage) -> None:
    slow, quick = await stage.hook(), await stage.hook()
    slow.holds = True
    await stage.endpoint(slow.url)
    await stage.endpoint(quick.url)
    for _ in range(20):
        await stage.settled()
    for _ in range(10):
        await stage.deliverer.run_once()
    await until(lambda: len(set(quick.ids())) == 20)
    assert len(slow.messages) == SENDERS_OF_A_LANE
    slow.release()
    await until(lambda: len(set(slow.ids())) == 20)
    assert slow.most_at_once <= SENDERS_OF_A_LANE
    await stage.deliverer.drain(10.0)
    assert {one.state for one in await stage.sent()} == {"delivered"}
    assert (len(slow.messages), len(quick.messages)) == (20, 20)


async def test_two_servers_share_the_work_and_send_nothing_twice(stage: Stage) -> None:
    hook = await stage.hook()
    for name in ("a", "b", "c"):
        await stage.endpoint(f"{hook.url}/{name}")
    for _ in range(30):
        await stage.settled()
    async with outgoing.opened(allow_private=True) as asking:
        second = Deliverer(
            database=stage.database, outgoing=asking, metrics=Metrics(), clock=stage.clock
        )
        for _ in range(4):
            await stage.deliverer.run_once()
            await second.run_once()
        await stage.deliverer.drain(10.0)
        await second.drain(10.0)
    assert len(hook.messages) == len(set(hook.ids())) == 90


async def test_what_a_dead_server_had_begun_is_sent_again(stage: Stage) -> None:
    """Under the same id; what the dead one would say of it later, touches nothing."""
    hook = await stage.hook()
    lane = await stage.endpoint(hook.url)
    await stage.settled()
    hook.holds = True
    await stage.deliverer.run_once()
    await until(lambda: hook.messages)
    await stage.deliverer.drain(0.0)
    hook.release()
    await stage.send(after_s=CLAIM_S - 1)
    assert len(hook.messages) == 1
    first = await stage.the_only()
    stage.clock.pass_time(1)
    now = stage.clock.now()
    second = await stage.database.write(deliveries.claim(lane, now=now, until=now + 1))
    assert second is not None
    told = deliveries.Try(number=1, at=now, took_s=0.0)
    late = deliveries.settle(first, told, state="delivered", due_at=None, now=now)
    assert await stage.database.write(late) is False
    assert (await stage.the_only()).state == "pending"
    await stage.send(after_s=1)
    assert len(hook.messages) == 2
    assert len(set(hook.ids())) == 1
    assert (await stage.the_only()).state == "delivered"


async def test_old_ones_are_forgotten_with_their_tries(stage: Stage) -> None:
    hook = await stage.hook()
    await stage.endpoint(hook.url)
    await stage.settled()
    await stage.send()
    old = await stage.the_only()
    stage.clock.pass_time(KEEP_DELIVERIES_S)
    await stage.settled()
    before = stage.clock.now() - KEEP_DELIVERIES_S + 1
    assert await stage.database.write(deliveries.prune(before=before, limit=500)) == 1
    assert [one.state for one in await stage.sent()] == ["pending"]
    assert await stage.database.read(deliveries.tries([old.id])) == {}


def test_a_signature_names_the_second_and_not_more() -> None:
    secret = new_secret()
    signed = Secrets(secret).sign("id", "{}", now=1_000_000.9)
    assert signed["webhook-timestamp"] == "1000000"
    assert signed == Secrets(secret).sign("id", "{}", now=1_000_000.1)
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) >= 24
