"""A real process (uvloop) with a certificate of its own, which is renewed under its uploads."""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from tests.acceptance.conftest import DEADLINE_S, Server
from tests.acceptance.test_command import appliance
from tests.certificates import Pair, pair, trusting

TEXT = b"A text of some words, again and again. " * 1_000_000


async def test_a_certificate_is_renewed_under_an_upload(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    """By SIGHUP; the upload arrives whole, and the idle connection holds no stop up."""
    own = pair(tmp_path)
    server = new_server(**own.settings, drain_s="20")
    await server.start()
    reader, writer = await connect(server, trusting(own.certificate))
    old = shown(writer)
    head = (
        f"PUT /upload/a.txt HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Length: {len(TEXT)}\r\n\r\n"
    )
    writer.write(head.encode() + TEXT[:20_000_000])
    await writer.drain()
    own.issue()
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    await until_shown(server, own)
    assert own.serial != old
    writer.write(TEXT[20_000_000:])
    async with asyncio.timeout(DEADLINE_S):
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 202 ")
        length = int(answer.lower().partition(b"content-length: ")[2].split()[0])
        assert b'"sizeBytes":39000000' in (await reader.readexactly(length)).replace(b" ", b"")
        assert await server.end(signal.SIGTERM) == 0
        assert await reader.read() == b""
    writer.close()


def test_check_tells_how_long_the_certificate_is_good(tmp_path: Path) -> None:
    own = pair(tmp_path, days=10.5)
    done = appliance("check", data_dir=tmp_path / "data", **own.settings)
    assert done.returncode == 0, done.stderr
    assert "expires in 10 days. Renew it." in done.stdout
    own.issue_certificate_alone()
    done = appliance("check", data_dir=tmp_path / "data", **own.settings)
    assert done.returncode == 2
    assert "APPLIANCE_TLS_KEY_FILE" in done.stderr


async def connect(
    server: Server, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(server.url)
    return await asyncio.open_connection(address.hostname, address.port, ssl=context)


def shown(writer: asyncio.StreamWriter) -> int:
    """The serial number of the certificate of a connection."""
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(raw).serial_number


async def until_shown(server: Server, own: Pair) -> None:
    """Return once new connections get the newest certificate."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            _, writer = await connect(server, trusting(own.certificate))
        except ssl.SSLCertVerificationError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            continue
        assert shown(writer) == own.serial
        writer.close()
        return
