"""What the server's own requests may reach."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from appliance import outgoing
from appliance.errors import OutgoingFailed


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("240.0.0.1", False),
        ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fd00::1", False),
        ("ff02::1", False), ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert outgoing.is_public(address) == public


class Names(AbstractResolver):
    """Every name has this address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self.address, port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None: ...


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()

    async def small(request: web.Request) -> web.Response:
        return web.Response(text="small")

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (outgoing.MAX_BYTES + 1))

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/small")

    app.router.add_get("/small", small)
    app.router.add_get("/large", large)
    app.router.add_get("/elsewhere", elsewhere)
    async with TestServer(app) as running:
        yield running


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/", "http://example.org/", "ftp://example.org/",
        "file:///etc/passwd", "https://", "nonsense", "https://issuer.example/",
        "https://\uff11\uff12\uff17.0.0.1/", "https://127\u30020.0.1/", "https://[::1", "https://a:99999/",
        "https://2130706433/", "https://0x7f.1/", "https://127.0.0.1./", "https://[fe80::1%25eth0]/",
        "https://[64:ff9b::7f00:1]/", "https://ada@127.0.0.1/", "https://example.org@10.0.0.1/",
    ],
)  # fmt: skip
async def test_private_places_are_refused(url: str) -> None:
    async with outgoing.opened(allow_private=False, resolver=Names("192.168.1.1")) as asking:
        with pytest.raises(OutgoingFailed):
            await asking.get(url)
        with pytest.raises(OutgoingFailed) as refusal:
            await asking.deliver(url, b"{}", {})
        assert "192.168.1.1" not in refusal.value.detail


async def test_a_name_that_leads_home_reaches_nothing(server: TestServer) -> None:
    """The check is on the very addresses that are connected to."""
    async with outgoing.opened(allow_private=False, resolver=Names("127.0.0.1")) as asking:
        with pytest.raises(OutgoingFailed, match="not public"):
            await asking.get(f"https://issuer.example:{server.port}/small")
        with pytest.raises(OutgoingFailed, match="does not lead to a public address"):
            await asking.deliver(f"https://issuer.example:{server.port}/small", b"{}", {})


async def test_what_is_allowed_is_read_whole_or_refused(server: TestServer) -> None:
    url = f"http://127.0.0.1:{server.port}"
    async with outgoing.opened(allow_private=True) as asking:
        assert await asking.get(f"{url}/small") == b"small"
        for path, why in (("large", "more than"), ("elsewhere", "302"), ("missing", "404")):
            with pytest.raises(OutgoingFailed, match=why):
                await asking.get(f"{url}/{path}")
