"""What every part of the self-test shares: the place, the servers on it, the report."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property

from appliance.config import Config
from appliance.jobs import JobType
from appliance.selftest.client import Client
from appliance.selftest.ledger import Entry, Ledger
from appliance.selftest.report import Report
from appliance.selftest.scratch import Scratch
from appliance.selftest.server import Server
from appliance.selftest.verifier import Findings, settled, verify

SETTLE_S = 90.0
"""Longest wait for the jobs of a phase, and again for reading them back: a slow machine's."""

DRAIN_S = 0.5
"""Short, so that SIGTERM finds jobs that it has to hand back."""
MAX_RETRIES = 9
"""Of a job: each kill of its child costs one, and the kills are ours."""

CARRIED_OVER = (
    *("job_timeout_s", "job_idle_timeout_s", "job_memory_bytes", "reserve_bytes"),
    *("workers_image", "workers_pdf", "workers_video", "workers_any"),
    *("heartbeat_timeout_s", "stale_after_s"),
)
"""The user's settings that the tried server is given too. Where it listens, who may, and what it
takes are its own."""

Tell = Callable[[str], None]


@dataclass
class Stage:
    config: Config
    places: Scratch
    report: Report
    tell: Tell
    """Says a line to whoever watches."""
    _key: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @cached_property
    def job_types(self) -> frozenset[JobType]:
        """Those that the user's settings give a worker."""
        return frozenset(
            job_type
            for job_type in JobType
            if getattr(self.config, f"workers_{job_type.lower()}").largest
        )

    @asynccontextmanager
    async def server(
        self, places: Scratch | None = None, *, size_bytes: int = 0, **settings: str
    ) -> AsyncIterator[Server]:
        """A server that is not started yet, and is gone at the end of the block.

        With `size_bytes`, `places` are on a small disk that only it sees.
        """
        chosen = places or self.places
        server = Server(
            self._carried_over() | chosen.settings | settings,
            log=self.places.log,
            disk=(chosen.root, size_bytes) if size_bytes else None,
        )
        try:
            yield server
        finally:
            await server.kill()

    def client(self, server: Server, ledger: Ledger) -> Client:
        return Client(server, self._key, ledger)

    def _carried_over(self) -> dict[str, str]:
        carried = {
            f"APPLIANCE_{name.upper()}": str(getattr(self.config, name)) for name in CARRIED_OVER
        }
        return carried | {
            "APPLIANCE_HOST": "127.0.0.1",
            "APPLIANCE_PORT": "0",
            "APPLIANCE_ADMIN_KEY": self._key,
            "APPLIANCE_DRAIN_S": str(DRAIN_S),
            "APPLIANCE_RATE_UPLOADS": "off",
            "APPLIANCE_RATE_REQUESTS": "off",
            "APPLIANCE_MAX_RETRIES": str(MAX_RETRIES),
            "APPLIANCE_LOG_FORMAT": "json",
        }

    async def settle(
        self, client: Client, entries: Iterable[Entry], *, within_s: float = SETTLE_S
    ) -> Findings:
        """Wait until all is done, read all back, and put what was found into the report."""
        chosen = list(entries)
        await settled(client, chosen, deadline=time.monotonic() + within_s)
        findings = await verify(client, chosen, deadline=time.monotonic() + SETTLE_S)
        self.report.findings.add(findings)
        return findings

    async def stop(self, server: Server) -> None:
        code = await server.end(drain_s=DRAIN_S)
        if code != 0:
            self.report.faults.append(f"SIGTERM: the server ended with exit status {code}, not 0")
