"""The processes that compete: each in its own, idle while another one runs its round.

A contestant is a program that reads orders from stdin, a JSON object a line, and answers each
with one on stdout. Ours run in the appliance's environment, the peers in one that is made here.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PEERS = Path(".services/peers")
_PINS = Path(__file__).with_name("peers.txt")
_ROUND_S = 120.0


def peers_python() -> str:
    """The interpreter of the peers' environment; made, or brought up to date, where need be."""
    stamp = PEERS / "installed.txt"
    if not stamp.exists() or stamp.read_text() != _PINS.read_text():
        print("Installing the peers; the first time takes a minute.")
        venv.create(PEERS, with_pip=True, clear=True)
        pip = (PEERS / "bin/python", "-m", "pip", "--disable-pip-version-check")
        subprocess.run((*pip, "install", "-qq", "--requirement", _PINS), check=True)
        stamp.write_text(_PINS.read_text())
    return str(PEERS / "bin/python")


NODE_PEERS = ("@tus/server@2.4.5", "@tus/file-store@2.1.1", "sharp@0.35.5")
_NODE_PEERS_AT = Path(".services/node")


def node_peers() -> Path | None:
    """The folder with the peers that run on Node.js 20 or newer; None where there is none."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    version = subprocess.run((node, "--version"), capture_output=True, text=True, check=True)
    if int(version.stdout.lstrip("v").partition(".")[0]) < 20:
        return None
    stamp = _NODE_PEERS_AT / "installed.txt"
    if not stamp.exists() or stamp.read_text() != " ".join(NODE_PEERS):
        _NODE_PEERS_AT.mkdir(parents=True, exist_ok=True)
        npm = ("npm", "install", "--silent", "--no-fund", "--no-audit", *NODE_PEERS)
        subprocess.run(npm, cwd=_NODE_PEERS_AT, check=True)
        stamp.write_text(" ".join(NODE_PEERS))
    return _NODE_PEERS_AT.resolve()


def peer_versions(*packages: str) -> str:
    script = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    done = subprocess.run(
        (peers_python(), "-c", script, *packages), check=True, capture_output=True, text=True
    )
    return ", ".join(map(" ".join, zip(packages, done.stdout.split(), strict=True)))


@contextmanager
def service(name: str) -> Iterator[dict[str, str]]:
    """One of `scripts/services`, installed and started; gives what its users must know, and stops
    it in the end if it did not run before."""
    ran = _services("status", name).returncode == 0
    _services("start", name).check_returncode()
    try:
        yield dict(line.split("=", 1) for line in _services("env", name).stdout.splitlines())
    finally:
        if not ran:
            _services("stop", name)


def _services(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("scripts/services", *arguments), stdout=subprocess.PIPE, text=True, check=False
    )


class Contestant:
    def __init__(self, module: str, *arguments: str, python: str = sys.executable) -> None:
        self._command = (python, "-m", f"bench.{module}", *arguments)
        self._cwd: Path | None = None

    @classmethod
    def node(cls, script: str, *, cwd: Path) -> Self:
        """A script of this folder, run by Node.js in the folder of its packages."""
        made = cls("")
        made._command = ("node", str(Path(__file__).with_name(script).resolve()))
        made._cwd = cwd
        return made

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=self._cwd,
        )
        return self

    async def round(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(_ROUND_S):
            answer = await self._process.stdout.readline()
        assert answer, f"{' '.join(self._command[1:])} broke"
        result: dict[str, Any] = json.loads(answer)
        return result

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if exc is not None:
            self._process.kill()
        await self._process.wait()
