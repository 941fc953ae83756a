"""Requests that the server itself sends: to an issuer of tokens, later to webhooks.

An address that somebody configures, or that another server names, must not lead to what only this
machine can reach (server-side request forgery). So the host is resolved, every address it has must
be a public one, and the connection goes to the address that was checked: a name that points
elsewhere a moment later changes nothing. Redirects are answers like any other, a proxy is not
looked for, every wait has a deadline. Only for small answers, which are read whole.

Source: OWASP Server Side Request Forgery Prevention Cheat Sheet.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from appliance.errors import OutgoingFailed

TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024
_NAT64 = ip_network("64:ff9b::/96")
"""RFC 6052: another way to write an IPv4 address, private ones too."""


def is_public(address: str) -> bool:
    """Whether a connection to `address` leaves for the internet."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed in _NAT64 or parsed.teredo is not None or parsed.sixtofour is not None:
            return False
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


class _PublicOnly(AbstractResolver):
    """Resolves to public addresses, or raises OSError; aiohttp connects to just these."""

    def __init__(self, behind: AbstractResolver) -> None:
        self._behind = behind

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._behind.resolve(host, port, family)
        for one in found:
            if not is_public(one["host"]):
                raise OSError(None, f"{host} has the address {one['host']}, which is not public")
        return found

    async def close(self) -> None:
        await self._behind.close()


class Outgoing:
    def __init__(self, session: aiohttp.ClientSession, *, allow_private: bool) -> None:
        self._session = session
        self._allow_private = allow_private

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of a 200 answer, of at most MAX_BYTES. Raises OutgoingFailed."""
        return await self._ask("GET", url, headers=headers)

    async def post(
        self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """As `get`, of a form that is sent."""
        return await self._ask("POST", url, headers=headers, data=form)

    async def _ask(self, method: str, url: str, **options: Any) -> bytes:
        self._check(url)
        host = urlsplit(url).netloc
        try:
            async with self._session.request(
                method, url, allow_redirects=False, **options
            ) as response:
                if response.status != 200:
                    raise OutgoingFailed(f"{host} answered {response.status} instead of 200.")
                body = await response.content.read(MAX_BYTES + 1)
                while len(body) <= MAX_BYTES and (more := await response.content.read(MAX_BYTES)):
                    body += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutgoingFailed(f"{host} cannot be asked: {error or 'no answer'}.") from error
        if len(body) > MAX_BYTES:
            raise OutgoingFailed(f"{host} answered more than {MAX_BYTES} bytes.")
        return body

    def _check(self, url: str) -> None:
        """An address that is written as a number is never resolved, so it is looked at here."""
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise OutgoingFailed(f"{url!r} is no address of the web.")
        if self._allow_private:
            return
        if parts.scheme != "https":
            raise OutgoingFailed(f"{parts.netloc} is asked by https only.")
        try:
            public = is_public(parts.hostname)
        except ValueError:
            return  # a name
        if not public:
            raise OutgoingFailed(f"{parts.hostname} is not a public address.")


@asynccontextmanager
async def opened(
    *, allow_private: bool, resolver: AbstractResolver | None = None
) -> AsyncIterator[Outgoing]:
    """`allow_private`: the owner says that private addresses, and http, are meant."""
    behind = resolver or ThreadedResolver(asyncio.get_running_loop())
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=behind if allow_private else _PublicOnly(behind), use_dns_cache=False
        ),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        headers={"User-Agent": "upload-appliance", "Accept": "application/json"},
    )
    async with session:
        yield Outgoing(session, allow_private=allow_private)
