"""What the handlers work with, handed to the application once at its making."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from aiohttp import web

from appliance.clock import Clock
from appliance.coordination.protocol import Coordination
from appliance.database.protocol import Database
from appliance.intake.receiver import Receiver
from appliance.keys import ApiKey, Role
from appliance.metrics import Metrics
from appliance.storage.protocol import Storage


class PoolState(Protocol):
    """What the pages show of a pool of workers, wherever it runs."""

    smallest: int
    largest: int

    @property
    def type(self) -> str: ...

    @property
    def ready(self) -> bool:
        """Whether it can take jobs."""
        ...

    @property
    def running(self) -> Sequence[tuple[str, float]]:
        """File name and progress of each attempt under way."""
        ...


@dataclass(frozen=True)
class Services:
    database: Database
    storage: Storage
    coordination: Coordination
    receiver: Receiver
    metrics: Metrics
    clock: Clock
    public_url: str
    """Scheme and host that people use, without a slash at the end."""
    stopping: asyncio.Event
    """Set when the server stops: long answers end."""
    pools: Callable[[], Sequence[PoolState]] = field(default=lambda: ())


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
