"""What the handlers work with, handed to the application once at its making."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from appliance.acts import Acts
from appliance.backups.asked import AskedBackups
from appliance.clock import Clock
from appliance.config import InForce
from appliance.coordination.protocol import Coordination
from appliance.costs import Prices
from appliance.database.ages import Ages
from appliance.database.protocol import Database
from appliance.errors import ResumptionUnsupported
from appliance.intake.admission import Admission
from appliance.intake.receiver import Receiver
from appliance.intake.reruns import Reruns
from appliance.intake.resumable import ResumableUploads
from appliance.jobs import Job
from appliance.last_uses import LastUses
from appliance.metrics import Metrics
from appliance.outgoing import Outgoing
from appliance.permissions import Permission
from appliance.presets.preset import Presets
from appliance.principals import Principal
from appliance.storage.protocol import Storage
from appliance.tls import Tls
from appliance.web.guesses import Guesses
from appliance.web.identity_provider import SignIn
from appliance.web.rate_limits import RateLimits
from appliance.web.tokens import Tokens


@dataclass(frozen=True)
class Services:
    database: Database
    storage: Storage
    coordination: Coordination
    acts: Acts
    admission: Admission
    receiver: Receiver
    reruns: Reruns
    presets: Presets
    uploads: ResumableUploads | None
    """None where the store cannot append."""
    metrics: Metrics
    clock: Clock
    guesses: Guesses
    rate_limits: RateLimits
    last_uses: LastUses
    tokens: Tokens | None
    """None: JWT bearer tokens are not accepted."""
    sign_in: SignIn | None
    """None: there is no provider to sign in at."""
    tls: Tls | None
    """None: the port speaks plain HTTP."""
    outgoing: Outgoing
    """Says which addresses of webhooks are refused at once."""
    public_url: str
    """Scheme and host that people use, without a slash at the end."""
    settings: tuple[InForce, ...]
    """As they were at the start, secrets left out."""
    ages: Ages
    """At which ages something becomes of files."""
    backup_every_s: float | None
    """None: no backup is taken by itself."""
    backups: AskedBackups | None
    """None: no place for them is set."""
    prices: Prices
    """Of what is stored."""
    scans: bool
    """Whether a virus scanner is set."""
    storage_redirect: bool
    """Whether downloads may be sent to the store itself."""
    stopping: asyncio.Event
    """Set when the server stops: long answers end."""


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


NEEDED: web.AppKey[dict[Any, Permission | None]] = web.AppKey("needed", dict)
"""The permission that a handler needs; made from the table in `appliance.web.routes`."""

USER: web.RequestKey[Principal | None] = web.RequestKey("user", Principal)
"""None: nobody is signed in. Set by `appliance.web.auth` before a handler runs."""


def services(request: web.Request) -> Services:
    return request.app[SERVICES]


def user(request: web.Request) -> Principal:
    """The user of a request to a route that needs one (`appliance.web.routes`)."""
    found = request[USER]
    assert found is not None
    return found


def count_received(request: web.Request, job: Job) -> None:
    metrics = services(request).metrics
    metrics.uploads.labels(job.type).inc()
    metrics.upload_bytes.inc(job.size_bytes)


def resumable_uploads(request: web.Request) -> ResumableUploads:
    """Raises ResumptionUnsupported where the store cannot append."""
    uploads = services(request).uploads
    if uploads is None:
        raise ResumptionUnsupported
    return uploads
