"""The deliverer: sends what the outbox holds, to webhooks and to the callbacks of uploads.

Each endpoint is a lane of its own, and so is each host of callbacks. A lane that has something due
is given a sender, and one more with each pass for as long as that does not suffice, up to four: a
slow endpoint keeps its own senders waiting and no others. A sender gives its place up after a
while, so that with many slow lanes all have their turn.

What was sent just before a crash is sent again, under the same id: at least once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import structlog

from appliance.clock import Clock
from appliance.database import deliveries, webhooks
from appliance.database.deliveries import Claimed
from appliance.database.protocol import Database, Transaction
from appliance.errors import ApplianceError, OutgoingFailed
from appliance.metrics import Metrics
from appliance.outgoing import Answer, Outgoing
from appliance.webhooks import Event, Try, wait_s

log = structlog.get_logger()

SENDERS = 64
SENDERS_OF_A_LANE = 4
TURN_S = 15.0
CLAIM_S = 60.0
"""Longer than a request may take: then its sender is taken to be dead, and it is sent again."""
PATIENCE_S = 5 * 24 * 3600.0
"""An endpoint that takes nothing for so long is switched off."""

GONE = "It answered 410 Gone."
UNANSWERED = "It has taken nothing for 5 days."
OWNER_ENDED = "The key of its owner has ended."


class Deliverer:
    name = "deliverer"
    interval_s = 0.25

    def __init__(
        self, *, database: Database, outgoing: Outgoing, metrics: Metrics, clock: Clock
    ) -> None:
        self._database = database
        self._outgoing = outgoing
        self._metrics = metrics
        self._clock = clock
        self._senders: set[asyncio.Task[None]] = set()
        self._busy: Counter[str] = Counter()
        """How many senders each lane has."""
        self._after = ""
        """The lane that was looked at last, so that the others come first."""

    async def run_once(self) -> Mapping[str, int]:
        """Give senders to the lanes that need one. They go on when this returns."""
        free = SENDERS - len(self._senders)
        if free <= 0:
            return {}
        looking = deliveries.due_lanes(after=self._after, now=self._clock.now(), limit=free)
        lanes = await self._database.read(looking)
        self._after = lanes[-1] if len(lanes) == free else ""
        for lane in lanes:
            if self._busy[lane] < SENDERS_OF_A_LANE:
                self._busy[lane] += 1
                sender = asyncio.create_task(self._serve(lane), name=f"deliverer {lane}")
                self._senders.add(sender)
                sender.add_done_callback(self._senders.discard)
        return {}

    async def drain(self, timeout_s: float) -> None:
        """Wait for the requests under way; what has no answer by then is sent again later."""
        if self._senders:
            _, late = await asyncio.wait(self._senders, timeout=timeout_s)
            for sender in late:
                sender.cancel()
            if late:
                await asyncio.wait(late)

    async def _serve(self, lane: str) -> None:
        """Send what is due in a lane, one after the other, for a turn."""
        until = self._clock.monotonic() + TURN_S
        try:
            while self._clock.monotonic() < until:
                now = self._clock.now()
                claiming = deliveries.claim(lane, now=now, until=now + CLAIM_S)
                claimed = await self._database.write(claiming)
                if claimed is None:
                    return
                await self._send(claimed)
        except ApplianceError as error:
            log.warning("deliverer_failed", reason=error.detail)
        except Exception:
            log.exception("deliverer_broke")  # top of a task: the next one may go well
        finally:
            self._busy[lane] -= 1
            if not self._busy[lane]:
                del self._busy[lane]

    async def _send(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        tried, asked_s = await self._try(claimed)
        wait = None if _is_final(claimed, tried) else wait_s(claimed.tries, asked_s=asked_s)
        await self._database.write(self._settling(claimed, tried, wait))
        outcome = "delivered" if tried.fault is None else "failed" if wait is None else "retried"
        self._metrics.deliveries.labels(outcome).inc()
        log.info(
            "delivery_tried",
            outcome=outcome,
            delivery_id=delivery.id,
            webhook_id=delivery.webhook_id,
            job_id=delivery.job_id,
            attempt=tried.number,
            status=tried.status,
            reason=tried.fault,
            took_s=round(tried.took_s, 3),
        )

    async def _try(self, claimed: Claimed) -> tuple[Try, float | None]:
        """Send it; what came of it, and how long the receiver asks to be left alone."""
        delivery, began = claimed.delivery, self._clock.monotonic()
        now = self._clock.now()
        answer: Answer | None = None
        fault: str | None = OWNER_ENDED
        if claimed.owner_may:
            signature = claimed.secrets.sign(delivery.id, claimed.payload, now=now)
            try:
                answer = await self._outgoing.deliver(
                    delivery.url, claimed.payload.encode(), signature
                )
                fault = _fault(answer.status)
            except OutgoingFailed as error:
                fault = error.detail
        tried = Try(
            number=delivery.attempt,
            at=now,
            took_s=self._clock.monotonic() - began,
            status=None if answer is None else answer.status,
            answer=None if answer is None else answer.beginning,
            fault=fault,
        )
        return tried, None if answer is None else _retry_after_s(answer.retry_after, now)

    def _settling(self, claimed: Claimed, tried: Try, wait: float | None) -> Transaction[None]:
        """What became of a try, and what follows for its endpoint."""
        delivery, now = claimed.delivery, self._clock.now()
        still_ours = yield from deliveries.settle(
            delivery,
            tried,
            state="delivered" if tried.fault is None else "failed" if wait is None else "pending",
            due_at=None if wait is None else now + wait,
            now=now,
        )
        webhook_id = delivery.webhook_id
        if not still_ours or webhook_id is None or not claimed.owner_may:
            return
        if tried.fault is None:
            yield from deliveries.note_success(webhook_id)
            return
        since = yield from deliveries.note_failure(webhook_id, now=now)
        if tried.status == 410:
            yield from webhooks.disable(webhook_id, reason=GONE, now=now)
        elif now - since >= PATIENCE_S:
            yield from webhooks.disable(webhook_id, reason=UNANSWERED, now=now)


def _is_final(claimed: Claimed, tried: Try) -> bool:
    """Whether another try is not wanted, whatever the number of tries."""
    wanted = claimed.owner_may and claimed.delivery.event is not Event.TEST
    return tried.fault is None or tried.status == 410 or not wanted


def _fault(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"It answered {status}; redirects are not followed."
    return f"It answered {status}."


def _retry_after_s(text: str | None, now: float) -> float | None:
    """What `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
