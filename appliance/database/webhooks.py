"""The transactions of webhooks: endpoints, and the secrets that sign what they are sent."""

from __future__ import annotations

import msgspec

from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json, record
from appliance.webhooks import OLD_SECRET_S, Secrets, Webhook, new_secret

NEWEST = "~"
"""Sorts behind every id."""


def create(webhook: Webhook, *, secret: str) -> Transaction[None]:
    yield Statement(
        "insert_webhook",
        {
            "id": webhook.id,
            "owner": webhook.owner,
            "url": webhook.url,
            "events": as_json(webhook.events),
            "description": webhook.description,
            "active": int(webhook.active),
            "secret": secret,
            "created_at": webhook.created_at,
        },
    )


def get(webhook_id: str, *, owner: str | None = None) -> Transaction[Webhook | None]:
    """`owner`: only if it is that one's."""
    rows = yield Statement("webhook", {"id": webhook_id})
    found = _webhook(rows[0]) if rows else None
    return found if found is not None and owner in (None, found.owner) else None


def page(*, owner: str | None, limit: int, before: str | None = None) -> Transaction[list[Webhook]]:
    """Newest first; of one owner, or everybody's."""
    parameters = {"owner": owner, "before": before or NEWEST, "limit": limit}
    rows = yield Statement("webhook_page", parameters)
    return [_webhook(row) for row in rows]


def count(owner: str) -> Transaction[int]:
    rows = yield Statement("count_webhooks", {"owner": owner})
    found: int = rows[0]["webhooks"]
    return found


def change(webhook: Webhook, *, now: float) -> Transaction[Webhook | None]:
    """Make the endpoint what `webhook` says; switched off, it is sent nothing more."""
    rows = yield Statement(
        "change_webhook",
        {
            "id": webhook.id,
            "url": webhook.url,
            "events": as_json(webhook.events),
            "description": webhook.description,
            "active": int(webhook.active),
        },
    )
    if rows and not webhook.active:
        yield Statement("give_up_deliveries", {"webhook_id": webhook.id, "now": now})
    return _webhook(rows[0]) if rows else None


def disable(webhook_id: str, *, reason: str, now: float) -> Transaction[bool]:
    """Switch it off, because it does not take what it is sent."""
    rows = yield Statement("disable_webhook", {"id": webhook_id, "reason": reason, "now": now})
    if rows:
        yield Statement("give_up_deliveries", {"webhook_id": webhook_id, "now": now})
    return bool(rows)


def delete(webhook_id: str) -> Transaction[bool]:
    """With its deliveries, those too that wait."""
    rows = yield Statement("delete_webhook", {"id": webhook_id})
    return bool(rows)


def disabled_after(after: float) -> Transaction[list[Webhook]]:
    rows = yield Statement("webhooks_disabled_after", {"after": after})
    return [_webhook(row) for row in rows]


# --- secrets -----------------------------------------------------------------------------


def secrets_of(webhook_id: str) -> Transaction[Secrets | None]:
    rows = yield Statement("webhook", {"id": webhook_id})
    return record(Secrets, rows[0]) if rows else None


def rotate(webhook_id: str, *, now: float) -> Transaction[Secrets | None]:
    """A new secret; the one before signs beside it for a day."""
    rows = yield Statement(
        "rotate_webhook_secret",
        {"id": webhook_id, "secret": new_secret(), "old_until": now + OLD_SECRET_S},
    )
    return record(Secrets, rows[0]) if rows else None


def callback_secrets(owner: str) -> Transaction[Secrets | None]:
    rows = yield Statement("callback_secret", {"owner": owner})
    return record(Secrets, rows[0]) if rows else None


def ensure_callback_secret(owner: str) -> Transaction[None]:
    yield Statement("make_callback_secret", {"owner": owner, "secret": new_secret()})


def rotate_callback_secret(owner: str, *, now: float) -> Transaction[Secrets]:
    """A new secret for an owner's callbacks, the first one too; the one before signs beside it
    for a day."""
    rows = yield Statement(
        "rotate_callback_secret",
        {"owner": owner, "secret": new_secret(), "old_until": now + OLD_SECRET_S},
    )
    return record(Secrets, rows[0])


def _webhook(row: Row) -> Webhook:
    fields = {field: row[field] for field in Webhook.__struct_fields__}
    fields["events"] = msgspec.json.decode(row["events"])
    return msgspec.convert(fields, Webhook, strict=False)
