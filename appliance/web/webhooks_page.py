"""GET /dashboard/webhooks: one's own endpoints and what was sent to them; for an admin, all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web

from appliance.clock import rfc3339
from appliance.database import deliveries, keys, webhooks
from appliance.database.protocol import Transaction
from appliance.permissions import Permission
from appliance.web import words
from appliance.web.services import services, user
from appliance.web.templates import render_page
from appliance.webhooks import JOB_EVENTS, Delivery, Event, Secrets, Try, Webhook

SHOWN = 100
"""Of endpoints, the newest; GET /webhooks has all."""
DELIVERIES = 30

EVENTS = {
    Event.COMPLETED: "A job is done",
    Event.FAILED: "A job has failed",
    Event.CANCELLED: "A job was cancelled",
    Event.TEST: "A test",
}
SINCES = {3600.0: "In the last hour", 24 * 3600.0: "In the last day", 7 * 86400.0: "In 7 days"}


class Seen(NamedTuple):
    webhooks: list[Webhook]
    deliveries: list[Delivery]
    tries: Mapping[str, Sequence[Try]]
    callbacks: Secrets | None
    """Of whoever looks."""
    names: Mapping[str, str]
    """Of the owners."""


async def show_webhooks(
    request: web.Request, *, made: tuple[str | None, str] | None = None
) -> web.Response:
    """`made`: the address and the secret that was made for it just now, which is shown this once;
    no address: for callbacks."""
    shared, asking = services(request), user(request)
    every = asking.may(Permission.ADMINISTER)
    seen = await shared.database.read(_seen(asking.owner, every=every))
    now = shared.clock.now()
    context = {
        "made": None if made is None else {"url": made[0], "secret": made[1]},
        "webhooks": [_webhook(one, seen, asking.owner) for one in seen.webhooks],
        "deliveries": [_delivery(one, seen, asking.owner) for one in seen.deliveries],
        "signs_callbacks": seen.callbacks is not None,
        "events": {event: EVENTS[event] for event in JOB_EVENTS},
        "sinces": {rfc3339(now - ago): word for ago, word in SINCES.items()},
    }
    return render_page(request, "webhooks.html", context, status=200 if made is None else 201)


def _seen(owner: str, *, every: bool) -> Transaction[Seen]:
    of = None if every else owner
    endpoints = yield from webhooks.page(owner=of, limit=SHOWN)
    sent = yield from deliveries.page(owner=of, limit=DELIVERIES)
    tries = yield from deliveries.tries([one.id for one in sent])
    secrets = yield from webhooks.callback_secrets(owner)
    owners = [one.owner for one in endpoints] + [one.owner for one in sent]
    names = yield from keys.names(owners)
    return Seen(endpoints, sent, tries, secrets, names)


def _webhook(webhook: Webhook, seen: Seen, reader: str) -> Mapping[str, Any]:
    return {
        "id": webhook.id,
        "url": words.plain(webhook.url),
        "description": words.plain(webhook.description),
        "events": " or ".join(event.removeprefix("job.") for event in webhook.events),
        "active": webhook.active,
        "disabled_reason": webhook.disabled_reason,
        "failing_since": webhook.failing_since if webhook.active else None,
        "created_at": webhook.created_at,
        "owner": None if webhook.owner == reader else seen.names.get(webhook.owner, webhook.owner),
    }


def _delivery(delivery: Delivery, seen: Seen, reader: str) -> Mapping[str, Any]:
    tries = seen.tries.get(delivery.id, ())
    return {
        **delivery_words(delivery),
        "url": words.plain(delivery.url),
        "callback": delivery.webhook_id is None,
        "job_id": delivery.job_id,
        "owner": None
        if delivery.owner == reader
        else seen.names.get(delivery.owner, delivery.owner),
        "tries": [_try(one) for one in reversed(tries)],
    }


def delivery_words(delivery: Delivery) -> dict[str, Any]:
    """What whoever sees the job may know of a delivery: not where it goes."""
    status, word = {
        "delivered": ("COMPLETED", "Delivered"),
        "failed": ("FAILED", "Given up"),
        "pending": ("RETRYING", "Trying again") if delivery.attempt else ("PENDING", "Waiting"),
    }[delivery.state]
    return {
        "id": delivery.id,
        "event": EVENTS[delivery.event],
        "status": status,
        "word": word,
        "attempt": delivery.attempt,
        "at": delivery.ended_at or delivery.created_at,
        "due_at": delivery.due_at if delivery.attempt else None,
    }


def _try(tried: Try) -> Mapping[str, Any]:
    return {
        "number": tried.number,
        "at": tried.at,
        "took": words.duration(max(0.0, tried.took_s)),
        "said": words.plain(tried.fault or f"It answered {tried.status}."),
        "answer": words.plain(tried.answer or ""),
    }
