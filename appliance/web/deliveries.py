"""Deliveries over HTTP: what was sent to webhooks and callbacks, what was answered, and sending it
again."""

from __future__ import annotations

from typing import Literal, cast

import msgspec
from aiohttp import web

from appliance.database import audit, deliveries, webhooks
from appliance.database.protocol import Transaction
from appliance.errors import BadRequest, NotFound, WebhookInactive
from appliance.web import filters, forms, queries
from appliance.web.documents import Count, DeliveryPage, DeliveryStory
from appliance.web.representation import delivery_document, json_response, try_document
from appliance.web.services import services, user
from appliance.web.webhooks import named, owner_seen
from appliance.webhooks import Delivery, DeliveryState, Try

MAX_REPLAYED = 10_000
_STATES = ("pending", "delivered", "failed")


class Replay(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    since: str
    webhook_id: str | None = None


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """GET /webhooks/deliveries?job=&state=&limit=&cursor=: newest first, callbacks too."""
    return await _page(request, webhook_id=None, job_id=request.query.get("job") or None)


async def list_deliveries_of_webhook(request: web.Request) -> web.StreamResponse:
    """GET /webhooks/{webhookId}/deliveries?state=&limit=&cursor="""
    return await _page(request, webhook_id=(await named(request)).id, job_id=None)


async def _page(
    request: web.Request, *, webhook_id: str | None, job_id: str | None
) -> web.StreamResponse:
    limit = queries.limit(request)
    found = await services(request).database.read(
        deliveries.page(
            owner=owner_seen(user(request)),
            webhook_id=webhook_id,
            job_id=job_id,
            state=_state(request.query.get("state") or None),
            before=queries.id_cursor(request),
            limit=limit + 1,
        )
    )
    page = found[:limit]
    return json_response(
        DeliveryPage(
            deliveries=[delivery_document(one) for one in page],
            nextCursor=page[-1].id if len(found) > limit else None,
        )
    )


async def get_delivery(request: web.Request) -> web.StreamResponse:
    """GET /webhooks/deliveries/{deliveryId}: with what is sent, and each try's answer."""
    delivery_id, owner = request.match_info["delivery_id"], owner_seen(user(request))

    def reading() -> Transaction[tuple[Delivery, str, list[Try]] | None]:
        delivery = yield from deliveries.get(delivery_id, owner=owner)
        if delivery is None:
            return None
        tries = yield from deliveries.tries([delivery_id])
        return delivery, (yield from deliveries.payload_of(delivery_id)), tries[delivery_id]

    found = await services(request).database.read(reading())
    if found is None:
        raise _unknown()
    delivery, payload, tries = found
    document = DeliveryStory(
        **delivery_document(delivery),
        payload=msgspec.Raw(payload.encode()),
        tries=[try_document(one) for one in tries],
    )
    return json_response(document)


async def replay_delivery(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/deliveries/{deliveryId}/replay: at once, under the same id."""
    asked = await forms.read_next(request)
    shared, asking = services(request), user(request)
    delivery_id, now = request.match_info["delivery_id"], shared.clock.now()

    def replaying() -> Transaction[Delivery]:
        delivery = yield from deliveries.get(delivery_id, owner=owner_seen(asking))
        if delivery is None:
            raise _unknown()
        if delivery.webhook_id is not None:
            webhook = yield from webhooks.get(delivery.webhook_id)
            if webhook is not None and not webhook.active:
                raise WebhookInactive("Switch the webhook on first; then this can be sent again.")
        replayed = yield from deliveries.replay(delivery_id, now=now)
        assert replayed is not None
        if delivery.owner != asking.owner:
            yield from audit.add(
                actor=asking.owner,
                action="webhook.replay",
                subject=f"delivery:{delivery_id}",
                now=now,
                detail={"owner": delivery.owner},
            )
        return replayed

    delivery = await shared.database.write(replaying())
    return forms.answer(request, asked, delivery_document(delivery), status=202)


async def replay_failed(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/deliveries/replay: all of one's own that were given up since a time."""
    asked = await forms.read(request)
    wanted = asked.to(Replay)
    shared = services(request)
    count = await shared.database.write(
        deliveries.replay_failed(
            user(request).owner,
            webhook_id=wanted.webhook_id,
            since=filters.time_in("since", wanted.since),
            limit=MAX_REPLAYED,
            now=shared.clock.now(),
        )
    )
    return forms.answer(request, asked, Count(count=count), status=202)


def _state(text: str | None) -> DeliveryState | None:
    if text is not None and text not in _STATES:
        raise BadRequest(f"state is one of {', '.join(_STATES)}.")
    return cast(Literal["pending", "delivered", "failed"] | None, text)


def _unknown() -> NotFound:
    return NotFound("There is no such delivery, or it is not yours; after 30 days it is forgotten.")
