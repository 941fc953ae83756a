"""A real clamd that a test starts, kills and starts again, with one signature: the EICAR file's."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""In two pieces, so that no scanner takes this file for the test file."""

SIGNATURE = "Eicar-Test-Signature"
READY_S = 30.0


class Clamd:
    def __init__(self, folder: Path, **options: str) -> None:
        """`options` are lines of clamd.conf (clamd.conf(5))."""
        program = shutil.which("clamd", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("no clamd: `scripts/services install clamd`")
        self._program = program
        self._folder = folder
        self.socket = folder / "clamd.sock"
        self._process: asyncio.subprocess.Process | None = None
        (folder / "db").mkdir(parents=True)
        # Name:target:offset:hex (any file, anywhere in it)
        (folder / "db/test.ndb").write_text(f"{SIGNATURE}:0:*:{EICAR.hex()}\n")
        settings = {
            "DatabaseDirectory": str(folder / "db"),
            "LocalSocket": str(self.socket),
            "FixStaleSocket": "yes",
            "Foreground": "yes",
            "TemporaryDirectory": str(folder),
            "AlertExceedsMax": "yes",
        } | options
        (folder / "clamd.conf").write_text(
            "".join(f"{name} {value}\n" for name, value in settings.items())
        )

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(self._program, "-c", str(self._folder / "clamd.conf"), "-F"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(READY_S):
            while not await self._answers():
                assert self._process.returncode is None, "clamd ended"
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        writer.write(b"zPING\0")
        answer = await reader.read(5)
        writer.close()
        return answer == b"PONG\0"

    def pause(self) -> None:
        """Take connections, but say nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
