"""Webhooks over HTTP: the endpoints of an owner, their secrets, a test.

An owner sees and changes their own; an admin everybody's, and that is audited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from multidict import MultiDict

from appliance.database import audit, deliveries, webhooks
from appliance.database.protocol import Transaction
from appliance.errors import BadRequest, NotFound, TooManyWebhooks, WebhookInactive
from appliance.ids import new_id
from appliance.permissions import Permission
from appliance.principals import Principal
from appliance.web import forms, queries, webhooks_page
from appliance.web.documents import WebhookMade, WebhookPage
from appliance.web.options import web_address
from appliance.web.problems import wants_page
from appliance.web.representation import (
    delivery_document,
    json_response,
    secrets_document,
    webhook_document,
)
from appliance.web.services import services, user
from appliance.webhooks import JOB_EVENTS, Event, Secrets, Webhook, new_secret

MAX_OF_AN_OWNER = 20
"""Each job that is settled writes a row for each of them."""
MAX_DESCRIPTION = 200
NO_STORE = {"Cache-Control": "no-store"}
T = TypeVar("T")


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    events: tuple[str, ...] = JOB_EVENTS
    description: str = ""
    active: bool = True


class Changes(msgspec.Struct, forbid_unknown_fields=True):
    """What is not there stays as it is."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    description: str | None = None
    active: bool | None = None


# --- endpoints -----------------------------------------------------------------------------


async def list_webhooks(request: web.Request) -> web.StreamResponse:
    """GET /webhooks?limit=&cursor=: newest first, without their secrets."""
    limit, cursor = queries.limit(request), queries.id_cursor(request)
    found = await services(request).database.read(
        webhooks.page(owner=owner_seen(user(request)), limit=limit + 1, before=cursor)
    )
    page = found[:limit]
    return json_response(
        WebhookPage(
            webhooks=[webhook_document(one) for one in page],
            nextCursor=page[-1].id if len(found) > limit else None,
        )
    )


async def create_webhook(request: web.Request) -> web.StreamResponse:
    """POST /webhooks: the answer is the only one that shows the secret."""
    asked = await forms.read(request)
    wanted = asked.to(NewWebhook, shape=_of_form)
    shared, secret = services(request), new_secret()
    webhook = Webhook(
        id=new_id(),
        owner=user(request).owner,
        url=web_address("url", wanted.url, shared.outgoing),
        events=_events(wanted.events),
        description=_description(wanted.description),
        active=wanted.active,
        created_at=shared.clock.now(),
    )

    def creating() -> Transaction[None]:
        if (yield from webhooks.count(webhook.owner)) >= MAX_OF_AN_OWNER:
            raise TooManyWebhooks(f"There may be {MAX_OF_AN_OWNER}. Delete one, or change it.")
        yield from webhooks.create(webhook, secret=secret)

    await shared.database.write(creating())
    if asked.form is not None and wants_page(request):
        return await webhooks_page.show_webhooks(request, made=(webhook.url, secret))
    document = WebhookMade(**webhook_document(webhook), secret=secret)
    headers = {"Location": f"/webhooks/{webhook.id}", **NO_STORE}
    return json_response(document, status=201, headers=headers)


async def get_webhook(request: web.Request) -> web.StreamResponse:
    """GET /webhooks/{webhookId}"""
    return json_response(webhook_document(await named(request)))


async def change_webhook(request: web.Request) -> web.StreamResponse:
    """PATCH /webhooks/{webhookId}"""
    return await _change(request)


async def change_webhook_by_form(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{webhookId}/change: forms know no PATCH."""
    return await _change(request)


async def _change(request: web.Request) -> web.StreamResponse:
    await named(request)  # whose it is comes before what is said of it
    asked = await forms.read(request)
    wanted = asked.to(Changes, shape=_of_form)
    shared = services(request)
    changes: dict[str, Any] = {}
    if wanted.url is not None:
        changes["url"] = web_address("url", wanted.url, shared.outgoing)
    if wanted.events is not None:
        changes["events"] = _events(wanted.events)
    if wanted.description is not None:
        changes["description"] = _description(wanted.description)
    if wanted.active is not None:
        changes["active"] = wanted.active
    now = shared.clock.now()

    def changing(webhook: Webhook) -> Transaction[Webhook | None]:
        return webhooks.change(msgspec.structs.replace(webhook, **changes), now=now)

    changed = await _act(request, "webhook.change", changing)
    assert changed is not None
    return forms.answer(request, asked, webhook_document(changed))


async def delete_webhook(request: web.Request) -> web.StreamResponse:
    """DELETE /webhooks/{webhookId}: with its deliveries, those too that wait."""
    return await _delete(request)


async def delete_webhook_by_form(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{webhookId}/delete: forms know no DELETE."""
    return await _delete(request)


async def _delete(request: web.Request) -> web.StreamResponse:
    asked = await forms.read_next(request)
    await _act(request, "webhook.delete", lambda webhook: webhooks.delete(webhook.id))
    return forms.answer(request, asked, None)


async def test_webhook(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{webhookId}/test: sends `webhook.test`, once."""
    asked = await forms.read_next(request)
    now = services(request).clock.now()

    def testing(webhook: Webhook) -> Transaction[Any]:
        if not webhook.active:
            raise WebhookInactive("Switch it on first; then it can be tested.")
        return deliveries.trial(webhook, now=now)

    delivery = await _act(request, "webhook.test", testing)
    return forms.answer(request, asked, delivery_document(delivery), status=202)


# --- secrets -------------------------------------------------------------------------------


async def rotate_secret(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{webhookId}/rotate: a new secret, shown this once."""
    asked = await forms.read_next(request)
    now = services(request).clock.now()

    def rotating(webhook: Webhook) -> Transaction[tuple[str, Secrets | None]]:
        return webhook.url, (yield from webhooks.rotate(webhook.id, now=now))

    url, secrets = await _act(request, "webhook.rotate", rotating)
    assert secrets is not None
    return await _shown_once(request, asked, url, secrets)


async def rotate_callback_secret(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/callback-secret: a new secret for one's callbacks, shown this once."""
    asked = await forms.read_next(request)
    shared, owner = services(request), user(request).owner
    rotating = webhooks.rotate_callback_secret(owner, now=shared.clock.now())
    secrets = await shared.database.write(rotating)
    return await _shown_once(request, asked, None, secrets)


async def _shown_once(
    request: web.Request, asked: forms.Asked, url: str | None, secrets: Secrets
) -> web.StreamResponse:
    if asked.form is not None and wants_page(request):
        return await webhooks_page.show_webhooks(request, made=(url, secrets.secret))
    return json_response(secrets_document(secrets), headers=NO_STORE)


# --- what they share -----------------------------------------------------------------------


def owner_seen(asking: Principal) -> str | None:
    """Whose webhooks and deliveries somebody sees; None: everybody's. Their addresses may hold
    secrets, so who only looks on does not see those of others."""
    return None if asking.may(Permission.ADMINISTER) else asking.owner


async def named(request: web.Request) -> Webhook:
    """The endpoint that the path names. Raises NotFound."""
    webhook_id, owner = request.match_info["webhook_id"], owner_seen(user(request))
    found = await services(request).database.read(webhooks.get(webhook_id, owner=owner))
    if found is None:
        raise _unknown()
    return found


async def _act(request: web.Request, action: str, doing: Callable[[Webhook], Transaction[T]]) -> T:
    """Do something to the endpoint that the path names, with its audit in one transaction."""
    shared, asking = services(request), user(request)
    webhook_id, now = request.match_info["webhook_id"], shared.clock.now()

    def acting() -> Transaction[T]:
        webhook = yield from webhooks.get(webhook_id, owner=owner_seen(asking))
        if webhook is None:
            raise _unknown()
        done = yield from doing(webhook)
        if webhook.owner != asking.owner:
            yield from audit.add(
                actor=asking.owner,
                action=action,
                subject=f"webhook:{webhook.id}",
                now=now,
                detail={"owner": webhook.owner},
            )
        return done

    return await shared.database.write(acting())


def _unknown() -> NotFound:
    return NotFound("There is no such webhook, or it is not yours. GET /webhooks lists them.")


def _of_form(form: MultiDict[str]) -> Mapping[str, Any]:
    document: dict[str, Any] = dict(form)
    if "events" in form:
        document["events"] = form.getall("events")
    return document


def _events(names: Sequence[str]) -> tuple[Event, ...]:
    if not names or not set(names) <= set(JOB_EVENTS):
        raise BadRequest(f"events: one or more of {', '.join(JOB_EVENTS)}.")
    return tuple(event for event in JOB_EVENTS if event in names)


def _description(text: str) -> str:
    description = " ".join(text.split())
    if len(description) > MAX_DESCRIPTION or not description.isprintable():
        raise BadRequest(f"description has up to {MAX_DESCRIPTION} characters, all printable.")
    return description
