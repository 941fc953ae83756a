"""The operations on webhooks and what was sent to them."""

from __future__ import annotations

from appliance import errors
from appliance.web import deliveries, webhooks
from appliance.web.documents import (
    Count,
    DeliveryDocument,
    DeliveryPage,
    DeliveryStory,
    Id,
    SecretsDocument,
    WebhookDocument,
    WebhookMade,
    WebhookPage,
)
from appliance.web.openapi.operation import (
    CURSOR,
    NEXT,
    Answer,
    Group,
    Operation,
    Parameter,
    asks,
    limit,
)
from appliance.webhooks import DeliveryState

_GONE = {204: Answer("It is gone.")}
_WEBHOOK = {200: Answer("The webhook, as it is now.", WebhookDocument)}
_SECRET = {200: Answer("The new secret, shown this once.", SecretsDocument, ("Cache-Control",))}
_SENT = {202: Answer("The delivery.", DeliveryDocument)}
_FINDING = (errors.BadRequest, errors.NotFound)
_STATE = Parameter("state", DeliveryState, "How far they are.")
_PAGE = {200: Answer("A page of deliveries.", DeliveryPage)}

WEBHOOKS = Group(
    "Webhooks",
    "Addresses of yours that are told when jobs are done, have failed or were cancelled.",
    {
        webhooks.list_webhooks: Operation(
            "List webhooks, newest first",
            {200: Answer("A page of webhooks.", WebhookPage)},
            query=(limit(), CURSOR),
        ),
        webhooks.create_webhook: Operation(
            "Make a webhook",
            {201: Answer("The webhook, with its secret.", WebhookMade,
                         ("Location", "Cache-Control"))},
            (errors.TooManyWebhooks,),
            body=asks(webhooks.NewWebhook),
            curl="--json @webhook.json",
        ),
        webhooks.get_webhook: Operation("Tell a webhook", _WEBHOOK, (errors.NotFound,)),
        webhooks.change_webhook: Operation(
            "Change a webhook, or switch it on or off", _WEBHOOK, _FINDING,
            body=asks(webhooks.Changes), curl="""--json '{"active": true}'""",
        ),
        webhooks.change_webhook_by_form: Operation(
            "Change a webhook, for forms", _WEBHOOK, _FINDING, body=asks(webhooks.Changes)
        ),
        webhooks.delete_webhook: Operation("Delete a webhook", _GONE, _FINDING, body=NEXT),
        webhooks.delete_webhook_by_form: Operation(
            "Delete a webhook, for forms", _GONE, _FINDING, body=NEXT
        ),
        webhooks.rotate_secret: Operation(
            "Make a new secret; the old one signs too for a day", _SECRET, _FINDING, body=NEXT
        ),
        webhooks.rotate_callback_secret: Operation(
            "Make a new secret for your callbacks", _SECRET, body=NEXT
        ),
        webhooks.test_webhook: Operation(
            "Send `webhook.test`", _SENT, (*_FINDING, errors.WebhookInactive), body=NEXT
        ),
        deliveries.list_deliveries: Operation(
            "List what was sent, newest first", _PAGE,
            query=(Parameter("job", Id, "About one job."), _STATE, limit(), CURSOR),
        ),
        deliveries.list_deliveries_of_webhook: Operation(
            "List what was sent to a webhook, newest first", _PAGE, (errors.NotFound,),
            query=(_STATE, limit(), CURSOR),
        ),
        deliveries.get_delivery: Operation(
            "Tell a delivery with what is sent, and each answer",
            {200: Answer("The delivery.", DeliveryStory)},
            (errors.NotFound,),
        ),
        deliveries.replay_delivery: Operation(
            "Send it again at once, under the same id", _SENT,
            (*_FINDING, errors.WebhookInactive), body=NEXT,
        ),
        deliveries.replay_failed: Operation(
            "Send again what was given up since a time",
            {202: Answer("How many.", Count)},
            body=asks(deliveries.Replay),
            curl="""--json '{"since": "2026-11-25T00:00:00Z"}'""",
        ),
    },
)  # fmt: skip
