"""The vocabulary of webhooks: who is told of a job's end, what is sent, and how it is signed.

An owner has endpoints, each told of the events that it asked for; an upload may name one more
address, its `callbackUrl`, for its own end. What is to be sent is a delivery: a row written in the
transaction that settles the job, with the very bytes of the body, so that every try sends the same
under the same id. Signed as Standard Webhooks has it.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec
import standardwebhooks

from appliance.clock import rfc3339
from appliance.job_documents import job_document
from appliance.jobs import Job, JobStatus

SECRET_PREFIX = "whsec_"  # noqa: S105
SECRET_BYTES = 32
"""The standard asks for 24 to 64."""
OLD_SECRET_S = 24 * 3600.0
"""How long after a rotation the old secret still signs beside the new one."""

MAX_PAYLOAD_BYTES = 16 * 1024
"""Receivers are asked to take 20 KB."""
LEFT_OUT = ("result", "files", "metadata")
"""Of a job whose document is larger, in this order; its status has all of it."""

WAITS_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
"""After the first try that failed, the second, …; so eight tries in 27.6 hours."""
JITTER = 0.1
"""Up to so much more of a wait, so that what failed together does not come back together."""
LONGEST_WAIT_S = 24 * 3600.0
"""Whatever a receiver asks for by Retry-After."""


class Event(StrEnum):
    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    TEST = "webhook.test"
    """Asked for by a person, and tried once."""


OF_STATUS: Mapping[JobStatus, Event] = {
    JobStatus.COMPLETED: Event.COMPLETED,
    JobStatus.FAILED: Event.FAILED,
    JobStatus.CANCELLED: Event.CANCELLED,
}
JOB_EVENTS = tuple(OF_STATUS.values())
"""What an endpoint can ask for."""

DeliveryState = Literal["pending", "delivered", "failed"]


class Webhook(msgspec.Struct, frozen=True):
    """An endpoint of an owner."""

    id: str
    owner: str
    url: str
    events: tuple[Event, ...]
    description: str
    active: bool
    created_at: float
    failing_since: float | None = None
    """Since then, every try has failed."""
    disabled_at: float | None = None
    """The appliance has switched it off; None: its owner has, or it is on."""
    disabled_reason: str | None = None


class Secrets(msgspec.Struct, frozen=True):
    secret: str
    old_secret: str | None = None
    old_until: float | None = None
    """The old one signs too until then."""

    def sign(self, delivery_id: str, payload: str, *, now: float) -> dict[str, str]:
        """The header fields that let the receiver verify who sent `payload`, and when."""
        moment = datetime.fromtimestamp(int(now), UTC)
        signing = [self.secret]
        if self.old_secret is not None and self.old_until is not None and now < self.old_until:
            signing.append(self.old_secret)
        signatures = [
            standardwebhooks.Webhook(secret).sign(delivery_id, moment, payload)
            for secret in signing
        ]
        return {
            "webhook-id": delivery_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(signatures),
        }


class Delivery(msgspec.Struct, frozen=True):
    id: str
    """The `webhook-id` of every try."""
    owner: str
    webhook_id: str | None
    """None: to the `callbackUrl` of an upload."""
    job_id: str | None
    """None: a test."""
    event: Event
    url: str
    state: DeliveryState
    attempt: int
    """The number of the last try, the one that is under way included."""
    created_at: float
    due_at: float | None
    """When it is tried next, or when a try that is under way counts as lost."""
    ended_at: float | None


class Try(msgspec.Struct, frozen=True):
    """One request, and what was answered."""

    number: int
    at: float
    took_s: float
    status: int | None = None
    """Of the answer, where there was one."""
    answer: str | None = None
    """How its body begins."""
    fault: str | None = None
    """Why it does not count as delivered."""


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def wait_s(tries: int, *, asked_s: float | None) -> float | None:
    """How long to wait after so many tries that failed; None: give it up.

    `asked_s`: the receiver has asked for so long.
    """
    if tries > len(WAITS_S):
        return None
    own = WAITS_S[tries - 1] * (1 + random.random() * JITTER)  # noqa: S311
    return max(own, min(asked_s or 0.0, LONGEST_WAIT_S))


# --- what is sent ------------------------------------------------------------------------


def job_payload(job: Job) -> str:
    """Of a job that has come to its end, as its owner sees it; `shortened` names what was left
    out to keep it small."""
    assert job.finished_at is not None
    document = job_document(job, job.owner)
    event, shortened = OF_STATUS[job.status], list[str]()
    text = _payload(event, job.finished_at, document)
    for name in LEFT_OUT:
        if len(text.encode()) <= MAX_PAYLOAD_BYTES:
            break
        del document[name]
        shortened.append(name)
        text = _payload(event, job.finished_at, {**document, "shortened": shortened})
    return text


def trial_payload(webhook_id: str, *, now: float) -> str:
    return _payload(Event.TEST, now, {"webhookId": webhook_id})


def _payload(event: Event, at: float, data: Mapping[str, Any]) -> str:
    return msgspec.json.encode({"type": event, "timestamp": rfc3339(at), "data": data}).decode()
