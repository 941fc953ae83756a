"""Behind a real nginx, set up word for word as docs/operations.md says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.web import connections
from tests.certificates import pair, trusting
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.test_smuggling import ATTACKS
from tests.web.wire import DEADLINE_S, Wire, files_of, is_refusal, until

ROOT = Path(__file__).resolve().parents[2]
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
pytestmark = pytest.mark.skipif(
    not os.access(NGINX, os.X_OK), reason="no nginx: `scripts/services install nginx`"
)


@dataclass
class Proxied:
    served: Served
    port: int
    trusted: ssl.SSLContext

    @asynccontextmanager
    async def wire(self, source: str = "127.0.0.9") -> AsyncIterator[Wire]:
        """A connection to nginx, from an address that is no proxy's."""
        async with asyncio.timeout(DEADLINE_S):
            streams = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.trusted, local_addr=(source, 0)
            )
        one = Wire(*streams)
        try:
            yield one
        finally:
            one.abort()  # nginx does not always say goodbye


@pytest.fixture
async def proxied(serve: Serve, tmp_path: Path) -> AsyncIterator[Proxied]:
    own = pair(tmp_path)
    port = free_port()
    served = await serve(trusted_proxies="127.0.0.1", public_url=f"https://localhost:{port}")
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    (server,) = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    for here, there in (
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("/etc/ssl/files.example.org.pem", str(own.certificate)),
        ("/etc/ssl/files.example.org.key", str(own.key)),
        ("127.0.0.1:8080", f"127.0.0.1:{served.running.port}"),
    ):
        assert server.count(here) == 1, here
        server = server.replace(here, there)
    paths = "\n".join(
        f"{kind}_temp_path {tmp_path / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"{user} daemon off; worker_processes 1; pid {tmp_path / 'nginx.pid'};\n"
        f"error_log {tmp_path / 'error.log'};\nevents {{ worker_connections 512; }}\n"
        f"http {{ access_log off;\n{paths}\n{server} }}\n"
    )
    process = await asyncio.create_subprocess_exec(
        NGINX, "-e", str(tmp_path / "error.log"), "-c", str(config)
    )
    proxied = Proxied(served, port, trusting(own.certificate))
    try:
        await answers(proxied, process)
        yield proxied
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def answers(proxied: Proxied, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            assert process.returncode is None
            try:
                async with proxied.wire():
                    return
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


async def test_what_people_do_behind_nginx(proxied: Proxied) -> None:
    """Each is seen with their own address, signs in, and is sent events as they happen."""
    origin = f"Origin: https://localhost:{proxied.port}"
    form = f"key={ADMIN_KEY}"
    with capture_logs() as logs:
        async with proxied.wire("127.0.0.7") as one:
            await one.head(
                "POST /signin", origin, "Content-Type: application/x-www-form-urlencoded",
                f"Content-Length: {len(form)}", "X-Forwarded-For: 6.6.6.6", key=None,
            )  # fmt: skip
            await one.send(form.encode())
            answer = await one.answer()
            assert answer.status == 303
            assert answer.headers["Set-Cookie"].startswith("__Host-appliance=")
    assert {log["remote"] for log in logs if log["event"] == "signed_in"} == {"127.0.0.7"}
    async with proxied.wire() as events, proxied.wire() as other:
        await events.head("GET /events", "Accept: text/event-stream")
        await events.until(b"\r\n\r\n")
        await put(other, "seen.txt")
        assert await events.until(b"seen.txt")


async def test_bodies_pass_as_they_come(proxied: Proxied) -> None:
    text = b"A text of some words, again and again. " * 100_000
    async with proxied.wire() as one:
        await one.head("PUT /upload/a.txt", f"Content-Length: {len(text)}")
        await one.send(text[:-1])
        await until(lambda: any("incoming" in name for name in files_of(proxied.served)))
        await one.send(text[-1:])
        assert (await one.answer()).json()["sizeBytes"] == len(text)
    async with proxied.wire() as one:
        await one.head("PUT /upload/a.txt", f"Content-Length: {2**40}")
        is_refusal(await one.answer(), 413, "file_too_large")


async def test_nobody_gets_the_answer_to_a_smuggled_request(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx uses its connections to the appliance for one client after the other. After every
    attack, others who come over them get the answers to what they asked, and nothing else."""
    made = []
    honest = connections._Connection.connection_made

    def counted(self: connections._Connection, transport: asyncio.BaseTransport) -> None:
        made.append(transport)
        honest(self, transport)

    monkeypatch.setattr(connections._Connection, "connection_made", counted)
    hidden = "GET /hidden HTTP/1.1\r\nHost: t\r\nX-Rest: "  # would swallow the next one's line
    async with proxied.wire() as victim:
        for number, (name, attack) in enumerate(ATTACKS.items()):
            async with proxied.wire("127.0.0.6") as attacker:
                await attacker.send(attack.encode("latin-1") + hidden.encode())
                for again in range(2):
                    filename = f"{number}-{again}.txt"
                    assert (await put(victim, filename))["filename"] == filename, name
    assert len(made) < len(ATTACKS) * 2  # so connections were used again


async def put(connection: Wire, filename: str) -> dict[str, object]:
    await connection.head(f"PUT /upload/{filename}", "Content-Length: 5")
    await connection.send(b"words")
    answer = await connection.answer()
    assert answer.status == 202, answer
    document: dict[str, object] = answer.json()
    return document
