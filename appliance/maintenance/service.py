"""What every maintenance service is: one pass that returns what it did, run again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from appliance.errors import ApplianceError

log = structlog.get_logger()


LOOK_S = 1.0
"""How often a process that does not lead looks whether it has come to."""


class Service(Protocol):
    name: str
    interval_s: float

    async def run_once(self) -> Mapping[str, int]:
        """One pass; how many of what it changed. May be run by several processes at once."""
        ...


class Maintenance:
    """Runs services for as long as the process lives."""

    def __init__(
        self, services: Sequence[Service], *, leads: Callable[[], bool] = lambda: True
    ) -> None:
        """`leads` says whether this process is to run them at the moment."""
        self._services = services
        self._leads = leads
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._loops = [
            asyncio.create_task(_run(service, self._leads), name=service.name)
            for service in self._services
        ]

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            await asyncio.wait(self._loops)


async def _run(service: Service, leads: Callable[[], bool]) -> None:
    while True:
        if not leads():
            await asyncio.sleep(min(service.interval_s, LOOK_S))
            continue
        try:
            counts = {name: count for name, count in (await service.run_once()).items() if count}
            if counts:
                log.info(f"{service.name}_acted", **counts)
        except ApplianceError as error:
            log.warning(f"{service.name}_failed", reason=error.detail)
        except Exception:
            log.exception(f"{service.name}_broke")  # top of a loop: the next pass may go well
        await asyncio.sleep(service.interval_s)
