"""A real server process, as a user starts it, that a test may kill."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import databases

DEADLINE_S = 60.0


class Server:
    """`appliance serve` on a data directory; may be started, killed and started again."""

    command: tuple[str, ...] = (sys.executable, "-m", "appliance")
    verb = "serve"
    ready = r"listens on (\S+)"
    """What it prints then; the group is its address."""
    options: tuple[str, ...] = ()

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self.environ: dict[str, str] = {}
        """Variables that are no settings."""
        self.process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.output: list[str] = []
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            **databases.variables(self.data_dir),
            "APPLIANCE_PORT": "0",
            **{f"APPLIANCE_{name.upper()}": value for name, value in self.settings.items()},
            **self.environ,
        }
        self.process = await asyncio.create_subprocess_exec(
            *self.command, self.verb, *self.options,
            env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        listening = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(listening))
        async with asyncio.timeout(DEADLINE_S):
            self.url = await listening

    async def _read(self, listening: asyncio.Future[str]) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            line = raw.decode().rstrip()
            self.output.append(line)
            match = re.search(self.ready, line)
            if match and not listening.done():
                listening.set_result(match[1])
        if not listening.done():
            listening.set_exception(AssertionError("\n".join(self.output)))

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal to the server alone and wait until it is gone; its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            code = await self.process.wait()
        if self._reader is not None:
            await self._reader
        return code

    @property
    def key(self) -> str:
        return (self.data_dir / "admin.key").read_text().strip()

    async def request(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        async with (
            aiohttp.ClientSession(self.url) as session,
            session.request(method, path, headers=headers, **options) as response,
        ):
            assert response.status < 400, await response.text()
            return None if response.status == 204 else await response.json()

    async def bytes_of(self, path: str) -> bytes:
        async with (
            aiohttp.ClientSession(self.url) as session,
            session.get(path, headers={"Authorization": f"Bearer {self.key}"}) as response,
        ):
            assert response.status == 200, await response.text()
            return await response.read()

    async def until(self, job_id: str, condition: Callable[[Any], object]) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            job = await self.request("GET", f"/status/{job_id}")
            if condition(job):
                return job
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.05)

    async def finished(self, job_id: str) -> Any:
        return await self.until(
            job_id, lambda job: job["status"] in ("COMPLETED", "FAILED", "CANCELLED")
        )

    async def emptied(self, folder: str) -> None:
        """Wait until nothing is left in a folder of the data directory.

        A job is settled before its scratch folder is removed.
        """
        deadline = time.monotonic() + DEADLINE_S
        while left := list((self.data_dir / folder).iterdir()):
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.05)


@pytest.fixture
async def new_server(tmp_path: Path) -> AsyncIterator[Callable[..., Server]]:
    """Make servers that are not started yet: `new_server(drain_s="1")`. None outlives the test."""
    made: list[Server] = []

    def make(data_dir: Path = tmp_path / "data", **settings: str) -> Server:
        made.append(Server(data_dir, **settings))
        return made[-1]

    yield make
    for server in made:
        if server.process is not None:
            await server.end(signal.SIGKILL)


@pytest.fixture
async def server(new_server: Callable[..., Server]) -> Server:
    server = new_server(drain_s="10")
    await server.start()
    return server
