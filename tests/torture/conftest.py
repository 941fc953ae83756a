"""Servers that are made to suffer, and how long: a short form by default, the long one by
`make torture`, which sets APPLIANCE_TEST_TORTURE_KILLS."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import Server
from tests.acceptance.test_lives import gone, processes_of
from tests.torture.ledger import Ledger

ADMIN_KEY = "test-admin-key-0123456789abcdef"

NewServer = Callable[..., "Victim"]


class Victim(Server):
    """A server with a key that is known before its first start, and how long its starts took."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        super().__init__(data_dir, admin_key=ADMIN_KEY, **settings)
        self.starts_s: list[float] = []

    @property
    def key(self) -> str:
        return ADMIN_KEY

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def start(self) -> None:
        began = time.monotonic()
        await super().start()
        self.starts_s.append(time.monotonic() - began)

    async def kill(self) -> None:
        """SIGKILL to the server alone; returns when it is gone and all that it had started."""
        family = processes_of(self)
        await self.end(signal.SIGKILL)
        await gone(family)


@pytest.fixture
async def victim(tmp_path: Path) -> AsyncIterator[NewServer]:
    """Make servers that are not started yet: `victim(workers_video="0")`."""
    made: list[Victim] = []

    def make(data_dir: Path = tmp_path / "data", **settings: str) -> Victim:
        made.append(Victim(data_dir, **settings))
        return made[-1]

    yield make
    for server in made:
        if server.process is not None:
            await server.end(signal.SIGKILL)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def kills() -> int | None:
    """How many the long form was asked for; None in the short form."""
    asked = os.environ.get("APPLIANCE_TEST_TORTURE_KILLS")
    return int(asked) if asked else None
