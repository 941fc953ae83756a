"""An appliance to measure: a process of its own on a directory that goes with it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class Appliance:
    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        /,
        *,
        database: Path | None = None,
        **settings: str,
    ) -> None:
        """`environ`: variables that are no settings; `database`: a file to begin with, of which a
        copy is used."""
        self._environ = environ or {}
        self._database = database
        self._settings = settings
        self.url = ""
        self.key = ""

    async def __aenter__(self) -> Self:
        self.data_dir = Path(tempfile.mkdtemp(prefix="bench-", dir=Path.cwd() / "data"))
        if self._database is not None:
            shutil.copyfile(self._database, self.data_dir / "appliance.db")
        environ = {
            "PATH": os.environ["PATH"],
            "APPLIANCE_DATA_DIR": str(self.data_dir),
            "APPLIANCE_PORT": "0",
            "APPLIANCE_LOG_LEVEL": "warning",
            "APPLIANCE_RATE_UPLOADS": "off",
            "APPLIANCE_RATE_REQUESTS": "off",
            **{f"APPLIANCE_{name.upper()}": value for name, value in self._settings.items()},
            **self._environ,
        }
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "appliance", "serve"),
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            # It would tell of every file that the database names and that is not there.
            stderr=asyncio.subprocess.DEVNULL if self._database else None,
        )
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if match := re.search(rb"listens on (\S+) \(ready in (\S+) s\)", line):
                self.url, self.ready_s = match[1].decode(), float(match[2])
                break
        self.key = (self.data_dir / "admin.key").read_text().strip()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        await self.process.wait()
        shutil.rmtree(self.data_dir)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def cpu_s(self) -> float:
        """Of the server's own process, all its threads, since its start."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Of all processes, shared pages counted once (PSS)."""
        return sum(_pss_kb(pid) for pid in self._family()) / 1000

    def own_memory_mb(self) -> float:
        """Of the server's own process, resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", status)
        assert match is not None
        return int(match[1]) / 1000

    def peak_mb(self) -> float:
        """The most that the server's own process ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+)", status)
        assert match is not None
        return int(match[1]) / 1000

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def _family(self) -> list[int]:
        found, frontier = [], [self.process.pid]
        while frontier:
            pid = frontier.pop()
            found.append(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children")
            frontier += [int(child) for child in children.read_text().split()]
        return found


def _pss_kb(pid: int) -> int:
    match = re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(match[1]) if match else 0
