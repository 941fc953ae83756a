"""The transactions of the outbox: what is to be sent, who is sending it, what became of it.

Rows are written by the transaction that settles a job, so neither is there without the other. To
send one it is claimed: its attempt grows, and it is due again when the claim runs out. What the
sender then writes names the attempt, and touches nothing when another one has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from yarl import URL

from appliance.database import keys, webhooks
from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json, record
from appliance.ids import new_id
from appliance.jobs import Job
from appliance.webhooks import (
    LONGEST_WAIT_S,
    OF_STATUS,
    WAITS_S,
    Delivery,
    DeliveryState,
    Event,
    Secrets,
    Try,
    Webhook,
    job_payload,
    trial_payload,
)

NEWEST = "~"
"""Sorts behind every id."""
LATEST_S = 2 * max(*WAITS_S, LONGEST_WAIT_S)
"""Nothing waits for longer, unless the clock was set back."""


class Claimed(msgspec.Struct, frozen=True):
    """Somebody's to send, until the claim runs out."""

    delivery: Delivery
    tries: int
    """With this one, since it was made or replayed."""
    payload: str
    secrets: Secrets
    owner_may: bool
    """False: the owner's key has ended since."""


# --- writing -------------------------------------------------------------------------------


def tell(job: Job) -> Transaction[None]:
    """Write what is to be sent of a job that has come to its end, to whoever wants to know."""
    event = OF_STATUS[job.status]
    rows = yield Statement("webhooks_to_tell", {"owner": job.owner, "event": event})
    if not rows and job.callback_url is None:
        return
    payload = job_payload(job)
    for row in rows:
        yield _new(job, payload, webhook_id=row["id"])
    if job.callback_url is not None:
        yield from webhooks.ensure_callback_secret(job.owner)
        yield _new(job, payload, webhook_id=None)


def _new(job: Job, payload: str, *, webhook_id: str | None) -> Statement:
    url = job.callback_url if webhook_id is None else None
    return Statement(
        "insert_delivery",
        {
            "id": new_id(),
            "webhook_id": webhook_id,
            "url": url,
            "owner": job.owner,
            "job_id": job.id,
            "event": OF_STATUS[job.status],
            "payload": payload,
            "lane": webhook_id if url is None else f"host:{URL(url).raw_host}",
            "now": job.finished_at,
        },
    )


def trial(webhook: Webhook, *, now: float) -> Transaction[Delivery]:
    delivery_id = new_id()
    yield Statement(
        "insert_delivery",
        {
            "id": delivery_id,
            "webhook_id": webhook.id,
            "url": None,
            "owner": webhook.owner,
            "job_id": None,
            "event": Event.TEST,
            "payload": trial_payload(webhook.id, now=now),
            "lane": webhook.id,
            "now": now,
        },
    )
    rows = yield Statement("delivery", {"id": delivery_id})
    return _delivery(rows[0])


# --- sending -------------------------------------------------------------------------------


def due_lanes(*, after: str, now: float, limit: int) -> Transaction[list[str]]:
    """Lanes that have something to send, in their order."""
    parameters = {"after": after, "now": now, "latest": now + LATEST_S, "limit": limit}
    rows = yield Statement("due_lanes", parameters)
    return [row["lane"] for row in rows]


def claim(lane: str, *, now: float, until: float) -> Transaction[Claimed | None]:
    """Take what has waited longest in a lane; None when nothing is due in it."""
    parameters = {"lane": lane, "now": now, "until": until, "latest": now + LATEST_S}
    claimed = yield Statement("claim_delivery", parameters)
    if not claimed:
        return None
    row = (yield Statement("delivery", {"id": claimed[0]["id"]}))[0]
    delivery = _delivery(row)
    if delivery.webhook_id is None:
        secrets = yield from webhooks.callback_secrets(delivery.owner)
    else:
        secrets = yield from webhooks.secrets_of(delivery.webhook_id)
    assert secrets is not None
    owner_may = yield from keys.owner_may(delivery.owner, now=now)
    return Claimed(delivery, row["tries"], row["payload"], secrets, owner_may)


def settle(
    delivery: Delivery, tried: Try, *, state: DeliveryState, due_at: float | None, now: float
) -> Transaction[bool]:
    """Record a try and what follows; False when the claim has run out and somebody else has it.

    `due_at` is when it is tried again, for one that stays pending.
    """
    rows = yield Statement(
        "settle_delivery",
        {
            "id": delivery.id,
            "attempt": delivery.attempt,
            "state": state,
            "due_at": due_at,
            "ended_at": None if state == "pending" else now,
        },
    )
    if not rows:
        return False
    yield Statement("insert_try", {"delivery_id": delivery.id, **msgspec.structs.asdict(tried)})
    return True


def note_success(webhook_id: str) -> Transaction[None]:
    yield Statement("webhook_works", {"id": webhook_id})


def note_failure(webhook_id: str, *, now: float) -> Transaction[float]:
    """Since when every try has failed."""
    rows = yield Statement("webhook_fails", {"id": webhook_id, "now": now})
    since: float = rows[0]["failing_since"] if rows else now
    return since


# --- what people do ------------------------------------------------------------------------


def replay(delivery_id: str, *, now: float) -> Transaction[Delivery | None]:
    """Send it again at once, with all its tries; one that waits, waits no longer."""
    yield Statement("replay_delivery", {"id": delivery_id, "now": now})
    return (yield from get(delivery_id))


def replay_failed(
    owner: str, *, webhook_id: str | None, since: float, limit: int, now: float
) -> Transaction[int]:
    """Send again what was given up since then, the oldest first; how many there were."""
    rows = yield Statement(
        "replay_failed",
        {"owner": owner, "webhook_id": webhook_id, "since": since, "limit": limit, "now": now},
    )
    return len(rows)


def prune(*, before: float, limit: int) -> Transaction[int]:
    """Forget those that ended before then; how many there were."""
    rows = yield Statement("prune_deliveries", {"before": before, "limit": limit})
    return len(rows)


# --- reading -------------------------------------------------------------------------------


def get(delivery_id: str, *, owner: str | None = None) -> Transaction[Delivery | None]:
    """`owner`: only if it is that one's."""
    rows = yield Statement("delivery", {"id": delivery_id})
    found = _delivery(rows[0]) if rows else None
    return found if found is not None and owner in (None, found.owner) else None


def payload_of(delivery_id: str) -> Transaction[str]:
    rows = yield Statement("delivery", {"id": delivery_id})
    payload: str = rows[0]["payload"]
    return payload


def page(
    *,
    owner: str | None,
    webhook_id: str | None = None,
    job_id: str | None = None,
    state: DeliveryState | None = None,
    before: str | None = None,
    limit: int,
) -> Transaction[list[Delivery]]:
    """Newest first, of a job or of an endpoint or of all. `owner` None: everybody's."""
    statement = (
        "deliveries_page_by_job" if job_id is not None
        else "deliveries_page_by_webhook" if webhook_id is not None
        else "deliveries_page_by_owner" if owner is not None
        else "deliveries_page"
    )  # fmt: skip
    rows = yield Statement(
        statement,
        {
            "owner": owner,
            "webhook_id": webhook_id,
            "job_id": job_id,
            "state": state,
            "before": before or NEWEST,
            "limit": limit,
        },
    )
    return [_delivery(row) for row in rows]


def tries(delivery_ids: Sequence[str]) -> Transaction[dict[str, list[Try]]]:
    rows = yield Statement("tries_of_deliveries", {"ids": as_json(delivery_ids)})
    found: dict[str, list[Try]] = defaultdict(list)
    for row in rows:
        found[row["delivery_id"]].append(record(Try, row))
    return found


def _delivery(row: Row) -> Delivery:
    fields = {field: row[field] for field in Delivery.__struct_fields__ if field != "url"}
    return msgspec.convert({**fields, "url": row["target"]}, Delivery, strict=False)
