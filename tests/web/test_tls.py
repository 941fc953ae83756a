"""TLS of the server's own: what clients get, what is refused, and certificates that change."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from appliance.config import load
from appliance.errors import ConfigurationError
from appliance.maintenance.certificates import Certificates
from appliance.tls import Tls
from appliance.web import bodies, connections
from tests.certificates import Pair, pair, trusting
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.test_slow_clients import HALF, ask
from tests.web.wire import BEARER, DEADLINE_S, Wire, files_of, is_refusal

Patch = pytest.MonkeyPatch


@pytest.fixture
def own(tmp_path: Path) -> Pair:
    return pair(tmp_path)


@asynccontextmanager
async def wire(served: Served, context: ssl.SSLContext) -> AsyncIterator[Wire]:
    address = urlsplit(served.url)
    async with asyncio.timeout(DEADLINE_S):
        streams = await asyncio.open_connection(address.hostname, address.port, ssl=context)
    one = Wire(*streams)
    try:
        yield one
    finally:
        await one.close()


@asynccontextmanager
async def client(served: Served, own: Pair) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=trusting(own.certificate))
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with aiohttp.ClientSession(served.url, connector=connector, headers=headers) as session:
        yield session


def certificates_of(served: Served) -> Certificates:
    found = served.running.certificates
    assert found is not None
    return found


async def serial_of(served: Served) -> int:
    """Of the certificate that a new connection is shown."""
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    address = urlsplit(served.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port, ssl=anybody)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number


# --- what clients get ------------------------------------------------------------------------


async def test_up_and_down_with_tls(serve: Serve, own: Pair) -> None:
    """Uploads, downloads whole and in part, and what browsers are told."""
    served = await serve(**own.settings)
    assert served.url.startswith("https://127.0.0.1:")
    async with client(served, own) as session:
        text = b"A text of some words, again and again. " * 200_000
        async with session.put("/upload/a.txt", data=io.BytesIO(text)) as answer:
            assert answer.status == 202, await answer.text()
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
            job = await answer.json()
        async with session.get(f"/jobs/{job['jobId']}/files/original") as answer:
            assert await answer.read() == text
        part = {"Range": "bytes=5000000-5000099"}
        async with session.get(f"/jobs/{job['jobId']}/files/original", headers=part) as answer:
            assert (answer.status, await answer.read()) == (206, text[5_000_000:5_000_100])
        form = {"key": ADMIN_KEY}
        origin = {"Origin": served.url}
        async with session.post(
            "/signin", data=form, headers=origin, allow_redirects=False
        ) as answer:
            cookie = answer.headers["Set-Cookie"]
            assert cookie.startswith("__Host-appliance=")
            assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))


async def test_only_modern_tls_is_spoken(serve: Serve, own: Pair) -> None:
    served = await serve(**own.settings)

    async def spoken(ciphers: str | None = None) -> tuple[str, str, str | None]:
        context = trusting(own.certificate)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if ciphers is not None:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
        address = urlsplit(served.url)
        _, writer = await asyncio.open_connection(address.hostname, address.port, ssl=context)
        seen = writer.get_extra_info("ssl_object")
        writer.close()
        return seen.version(), seen.cipher()[0], seen.selected_alpn_protocol()

    version, _, protocol = await spoken()
    assert (version, protocol) == ("TLSv1.3", "http/1.1")
    version, cipher, _ = await spoken(ciphers="ECDHE+AESGCM")
    assert version == "TLSv1.2"
    assert "GCM" in cipher
    for old in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await spoken(ciphers=old)
    # No client here speaks TLS 1.1 any more, so what is set has to do.
    tls = served.running.services.tls
    assert tls is not None
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


# --- who stalls ------------------------------------------------------------------------------


async def test_deadlines_hold_as_without_tls(serve: Serve, own: Pair, monkeypatch: Patch) -> None:
    """A handshake, a head and a body that do not come to their end."""
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.3)
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    monkeypatch.setattr(bodies, "IDLE_S", 0.3)
    served = await serve(**own.settings)
    address = urlsplit(served.url)
    for begun in (b"", b"\x16\x03\x01\x02\x00"):
        silent = Wire(*await asyncio.open_connection(address.hostname, address.port))
        await silent.send(begun)
        assert await silent.closed() == b""
        await silent.close()
    plain = Wire(*await asyncio.open_connection(address.hostname, address.port))
    await plain.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    assert b"HTTP" not in await plain.closed()
    await plain.close()
    trusted = trusting(own.certificate)
    async with wire(served, trusted) as slow:
        await slow.send(HALF)
        is_refusal(await slow.answer(), 408, "request_timeout")
    async with wire(served, trusted) as slow:
        await slow.head("PUT /upload/a.txt", "Content-Length: 100")
        await slow.send(b"words")
        is_refusal(await slow.answer(), 408, "request_timeout")
    assert not files_of(served)
    async with wire(served, trusted) as good:
        assert await ask(good) == 200


async def test_connections_are_counted_as_without_tls(serve: Serve, own: Pair) -> None:
    served = await serve(**own.settings, max_connections_per_client="1")
    trusted = trusting(own.certificate)
    async with wire(served, trusted) as first:
        assert await ask(first) == 200
        async with wire(served, trusted) as second:
            is_refusal(await second.answer(), 429, "too_many_connections")


# --- certificates that change ----------------------------------------------------------------


async def test_a_new_certificate_serves_new_connections(serve: Serve, own: Pair) -> None:
    """The upload that is under way goes on with the one that it began with."""
    served = await serve(**own.settings)
    certificates = certificates_of(served)
    text = b"A text of some words, again and again. " * 50_000
    async with wire(served, trusting(own.certificate)) as under_way:
        await under_way.head("PUT /upload/a.txt", f"Content-Length: {len(text)}")
        await under_way.send(text[:1_000_000])
        before = own.serial
        await certificates.run_once()
        assert await serial_of(served) == before
        own.issue()
        await certificates.run_once()
        assert await serial_of(served) == own.serial != before
        await under_way.send(text[1_000_000:])
        assert (await under_way.answer()).status == 202
    await certificates.run_once()
    async with client(served, own) as session, session.get("/healthz") as answer:
        assert answer.status == 200


async def test_a_bad_new_pair_keeps_the_old_one(serve: Serve, own: Pair) -> None:
    """It is told, in the log once and to admins; the next good one ends it."""
    served = await serve(**own.settings)
    certificates = certificates_of(served)
    old, trusted = own.serial, trusting(own.certificate)
    own.issue_certificate_alone()
    with capture_logs() as logs:
        await certificates.run_once()
        await certificates.run_once()
    assert [log["event"] for log in logs] == ["certificate_refused"]
    assert "does not belong" in logs[0]["reason"]
    assert await serial_of(served) == old
    part = await certificate_part(served, trusted)
    assert not part["ok"]
    assert not part["needed"]
    assert "does not belong" in part["detail"]
    async with wire(served, trusted) as one:
        await one.head("GET /dashboard")
        assert b"certificate needs a look" in (await one.answer()).body
    own.certificate.unlink()
    await certificates.run_once()
    own.issue()
    await certificates.run_once()
    part = await certificate_part(served, trusting(own.certificate))
    assert part == {"ok": True, "detail": "good for 89 days", "needed": False}


@pytest.mark.parametrize(("days", "words"), [(13.5, "in 13 days"), (-1, "has expired")])
async def test_an_expiry_is_told(serve: Serve, own: Pair, days: float, words: str) -> None:
    own.issue(days=days)
    with capture_logs() as logs:
        served = await serve(**own.settings)
    assert words in next(log for log in logs if log["event"] == "certificate_expires")["reason"]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert words in (await certificate_part(served, context))["detail"]
    async with wire(served, context) as one:
        await one.head("GET /metrics")
        text = (await one.answer()).body.decode()
    name = "appliance_certificate_expiry_timestamp_seconds{"
    line = next(line for line in text.splitlines() if line.startswith(name))
    assert own.certificate.name in line
    expires_at = x509.load_pem_x509_certificate(own.certificate.read_bytes()).not_valid_after_utc
    assert float(line.split()[-1]) == expires_at.timestamp()


async def certificate_part(served: Served, context: ssl.SSLContext) -> dict[str, object]:
    async with wire(served, context) as one:
        await one.head("GET /readyz", key=BEARER)
        part: dict[str, object] = (await one.answer()).json()["parts"]["certificate"]
        return part


# --- what stops the start --------------------------------------------------------------------


def test_what_cannot_be_used_is_told_with_its_mend(own: Pair, tmp_path: Path) -> None:
    def told(certificate: Path = own.certificate, key: Path = own.key) -> str:
        with pytest.raises(ConfigurationError) as caught:
            Tls(certificate, key)
        (fault,) = caught.value.faults
        return fault

    assert told(certificate=tmp_path / "none.pem").startswith(
        "APPLIANCE_TLS_CERTIFICATE_FILE: there is no file"
    )
    assert told(key=tmp_path / "none.pem").startswith("APPLIANCE_TLS_KEY_FILE: there is no file")
    assert "cannot be read (Is a directory)" in told(key=tmp_path)
    assert "holds no certificate" in told(certificate=own.key)
    assert "cannot be used" in told(key=own.certificate)
    own.issue(password=b"secret")
    assert "without a password" in told()
    own.issue()
    own.issue_certificate_alone()
    assert "does not belong to the certificate" in told()


@pytest.mark.parametrize(
    "settings",
    [
        {"TLS_KEY_FILE": "/key.pem"},
        {"TLS_CERTIFICATE_FILE": "/certificate.pem"},
        {"TLS_CERTIFICATE_FILE": "/c", "TLS_KEY_FILE": "/k", "PUBLIC_URL": "http://example.org"},
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        load({f"APPLIANCE_{name}": value for name, value in settings.items()})
