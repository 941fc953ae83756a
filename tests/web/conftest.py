"""Fixtures of the web tests: more people than the admin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest

from appliance.admin_key import create_key
from appliance.keys import ApiKey
from appliance.permissions import Role
from tests.conftest import Served
from tests.web.wire import services_of


@dataclass
class Person:
    """Somebody with a key of their own, and a session that sends it."""

    key: ApiKey
    secret: str
    http: aiohttp.ClientSession


Join = Callable[..., Awaitable[Person]]


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """Give somebody a key: `ada = await join(served)`."""
    async with AsyncExitStack() as stack:

        async def make(served: Served, role: Role = Role.USER) -> Person:
            shared = services_of(served)
            key, secret = await create_key(
                shared.database, name="somebody", role=role, now=shared.clock.now()
            )
            headers = {"Authorization": f"Bearer {secret}"}
            session = aiohttp.ClientSession(served.url, headers=headers)
            return Person(key, secret, await stack.enter_async_context(session))

        yield make
