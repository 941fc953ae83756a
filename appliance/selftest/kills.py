"""Uploads go on while a child, a nursery, or the server itself is killed, again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from appliance.errors import ConfigurationError
from appliance.jobs import JobType
from appliance.selftest.processes import kill
from appliance.selftest.recovery import Strike
from appliance.selftest.server import Server
from appliance.selftest.traffic import chance

VICTIMS = ("child", "nursery", "server")
PAUSE_S = (0.2, 1.2)
"""Shortest and longest time between two kills."""
CATCH_S = 3.0
"""How long to look for a child that can be killed."""
NURSERY_S = 30.0
POLL_S = 0.01

Tell = Callable[[str], None]


async def strike(server: Server, *, seconds: float, tell: Tell) -> list[Strike]:
    """Kill for `seconds`, and one of each at the least; the server is up when this returns."""
    began = time.monotonic()
    strikes: list[Strike] = []
    victims: list[str] = []
    while len(strikes) < len(VICTIMS) or time.monotonic() - began < seconds:
        victims = victims or chance.sample(VICTIMS, len(VICTIMS))
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        server.hold_alive()
        done, told = await _STRIKES[victims.pop()](server)
        strikes.append(done)
        tell(f"{time.monotonic() - began:7.1f} s  {told}")
    return strikes


async def _strike_child(server: Server) -> tuple[Strike, str]:
    deadline = time.monotonic() + CATCH_S
    while time.monotonic() < deadline:
        server.hold_alive()
        children = server.children()
        # Those of type ANY are done before they can be struck, mostly.
        if slow := [child for child in children if child.job_type != JobType.ANY] or children:
            child = chance.choice(slow)
            at = time.time()
            if kill(child.pid, parent_pid=child.parent_pid):
                return Strike("child", at), f"a child killed that worked on {child.job_type}"
        await asyncio.sleep(POLL_S)
    return await _strike_nursery(server)  # nothing runs: this machine is too quick


async def _strike_nursery(server: Server) -> tuple[Strike, str]:
    nursery = chance.choice(server.nurseries())
    told_before = server.log_bytes()
    at, began = time.time(), time.monotonic()
    kill(nursery.pid, parent_pid=nursery.parent_pid)
    while not server.has_told("nursery_ready", since=told_before, nursery=nursery.job_type):
        server.hold_alive()
        if time.monotonic() - began > NURSERY_S:
            raise ConfigurationError(
                [f"The nursery for {nursery.job_type} does not come up.\n{server.log_tail()}"]
            )
        await asyncio.sleep(POLL_S)
    ready_s = time.monotonic() - began
    told = f"the nursery for {nursery.job_type} killed; ready again after {ready_s:.2f} s"
    return Strike("nursery", at, ready_s), told


async def _strike_server(server: Server) -> tuple[Strike, str]:
    at, began = time.time(), time.monotonic()
    await server.kill()
    start_s = await server.start()
    ready_s = time.monotonic() - began
    told = f"the server killed; ready again after {ready_s:.2f} s"
    return Strike("server", at, ready_s, start_s), told


_STRIKES = {"child": _strike_child, "nursery": _strike_nursery, "server": _strike_server}
