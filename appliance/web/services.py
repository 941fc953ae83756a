"""What the handlers work with, handed to the application once at its making."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from aiohttp import web

from appliance.acts import Acts
from appliance.clock import Clock
from appliance.coordination.protocol import Coordination
from appliance.database.protocol import Database
from appliance.errors import ResumptionUnsupported
from appliance.intake.admission import Admission
from appliance.intake.receiver import Receiver
from appliance.intake.reruns import Reruns
from appliance.intake.resumable import ResumableUploads
from appliance.jobs import Job
from appliance.keys import ApiKey, Role
from appliance.metrics import Metrics
from appliance.presets.preset import Presets
from appliance.storage.protocol import Storage


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
    public_url: str
    """Scheme and host that people use, without a slash at the end."""
    stopping: asyncio.Event
    """Set when the server stops: long answers end."""


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


class Access(Enum):
    """Who may use a route."""

    PUBLIC = auto()
    SIGNED_IN = auto()
    """Anybody with a key; whose jobs they see is the handler's part."""
    ADMIN = auto()


ACCESS: web.AppKey[dict[Any, Access]] = web.AppKey("access", dict)
"""By handler; made from the table in `appliance.web.routes`."""


@dataclass(frozen=True)
class User:
    """Who asks."""

    key: ApiKey
    by_session: bool

    @property
    def owner(self) -> str:
        return self.key.owner

    @property
    def is_admin(self) -> bool:
        return self.key.role is Role.ADMIN

    @property
    def scope(self) -> str | None:
        """Whose jobs this user sees: an owner's, or None for everybody's."""
        return None if self.is_admin else self.owner


USER: web.RequestKey[User | None] = web.RequestKey("user", User)
"""None: nobody is signed in. Set by `appliance.web.auth` before a handler runs."""


def services(request: web.Request) -> Services:
    return request.app[SERVICES]


def user(request: web.Request) -> User:
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
