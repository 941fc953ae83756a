"""The server that is tried: a process of its own, known by its greeting, its address and /proc."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from appliance.errors import ConfigurationError
from appliance.selftest import launcher, processes
from appliance.selftest.processes import Relative

START_S = 60.0
END_S = 30.0
"""Beyond the drain time that it was given."""
LOG_LINES = 10


class Server:
    """`appliance serve`; may be started, killed and started again. It ends when we do.

    `disk` is a directory and a size in bytes: a small file system that only this server sees.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        log: Path,
        disk: tuple[Path, int] | None = None,
    ) -> None:
        self._settings = dict(settings)
        self._log = log
        self._disk = disk
        self._process: asyncio.subprocess.Process | None = None
        self._family: set[int] = set()
        self._up = asyncio.Event()
        self.url = ""

    async def start(self) -> float:
        """Return when /readyz does: the seconds from exec. Raises ConfigurationError."""
        began = time.monotonic()
        program = [sys.executable, "-P", "-m", "appliance", "serve"]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *launched(program, disk=self._disk),
                env=_environment() | self._settings,
                cwd=self._log.parent,  # where no appliance.toml lies
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop it
            )
        try:
            async with asyncio.timeout(START_S):
                self.url = await self._greeting(self._process)
                await self._until_ready()
        except (EOFError, TimeoutError) as error:
            raise ConfigurationError(
                [f"The server that the self-test started does not come up.\n{self.log_tail()}"]
            ) from error
        self._family = self._below(self._process.pid)
        self._up.set()
        return time.monotonic() - began

    async def _greeting(self, process: asyncio.subprocess.Process) -> str:
        """The address. Raises EOFError when the process ends before it says it."""
        assert process.stdout is not None
        async for line in process.stdout:
            if match := re.search(rb"listens on (\S+)", line):
                return match[1].decode()
        raise EOFError

    async def _until_ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.02)

    async def wait_up(self) -> str:
        """The address, as soon as there is one."""
        await self._up.wait()
        return self.url

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def hold_alive(self) -> None:
        """Raises ConfigurationError when it has ended, and not by our doing."""
        if self._up.is_set() and self._process and self._process.returncode is not None:
            raise ConfigurationError(
                [f"The server ended by itself ({self._process.returncode}).\n{self.log_tail()}"]
            )

    async def kill(self) -> None:
        """SIGKILL to the server alone; return when everything below it is gone too."""
        await self.end(signal.SIGKILL)

    async def end(self, number: int = signal.SIGTERM, *, drain_s: float = 0.0) -> int:
        """Send the signal; the exit code. Whoever does not go in time is killed."""
        if self._process is None:
            return 0
        self._up.clear()
        self._family |= self._below(self._process.pid)
        if self._process.returncode is None:
            self._process.send_signal(number)
        try:
            async with asyncio.timeout(drain_s + END_S):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        await self._see_off()
        return code

    async def _see_off(self) -> None:
        """The kernel kills what was below it. A moment may pass; a process that stays is killed."""
        deadline = time.monotonic() + 5.0
        while left := {pid for pid in self._family if processes.is_nursery_or_child(pid)}:
            if time.monotonic() > deadline:
                for pid in left:
                    processes.kill(pid)
            await asyncio.sleep(0.005)
        self._family = set()

    def log_tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(lines[-LOG_LINES:])
        return ""

    def log_bytes(self) -> int:
        return self._log.stat().st_size

    def has_told(self, event: str, *, since: int, **values: object) -> bool:
        """Whether its log, from byte `since` on, has that event (docs/operations.md) with these
        values."""
        with self._log.open("rb") as log:
            log.seek(since)
            lines = [line for line in log if event.encode() in line and line.endswith(b"\n")]
        told = [json.loads(line) for line in lines]
        return any({"event": event, **values}.items() <= one.items() for one in told)

    # --- what runs below it -----------------------------------------------------------------

    def nurseries(self) -> list[Relative]:
        return [
            Relative(pid, self.pid, job_type)
            for pid in processes.children_of(self.pid)
            if (job_type := processes.job_type(pid)) is not None
        ]

    def children(self) -> list[Relative]:
        return [
            Relative(pid, nursery.pid, nursery.job_type)
            for nursery in self.nurseries()
            for pid in processes.children_of(nursery.pid)
        ]

    def _below(self, pid: int) -> set[int]:
        below = processes.children_of(pid)
        return below.union(*(self._below(child) for child in below))


def launched(program: Sequence[str], *, disk: tuple[Path, int] | None = None) -> list[str]:
    """The command that runs `program` for as long as this process lives."""
    options = ["--disk", str(disk[0]), str(disk[1])] if disk else []
    script = [sys.executable, "-I", launcher.__file__, str(os.getpid())]
    return [*script, *options, "--", *program]


def _environment() -> dict[str, str]:
    """Nothing of our own but the import path: settings are given by name, and no others."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
    }
