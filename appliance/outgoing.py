"""Requests that the server itself sends: to an issuer of tokens, and to webhooks.

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

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from appliance.errors import OutgoingFailed

TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024
DELIVERY_TIMEOUT_S = 15.0
ANSWER_BYTES = 1024
"""Of an answer to a delivery, as much is read."""
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


class Answer(msgspec.Struct, frozen=True):
    """To a delivery."""

    status: int
    beginning: str
    retry_after: str | None


class NotPublic(OSError):
    """A name has an address that is not public."""


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
                raise NotPublic(None, f"{host} has the address {one['host']}, which is not public")
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
        target = self._check(url)
        host = target.authority
        try:
            async with self._session.request(
                method, target, allow_redirects=False, **options
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

    async def deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST JSON, and take whatever is answered. Raises OutgoingFailed when nothing is.

        The reasons are for the owner of a webhook, so they tell nothing about names and addresses
        on this side.
        """
        target = self._check(url)
        try:
            async with self._session.post(
                target,
                data=body,
                headers={"Content-Type": "application/json", **headers},
                allow_redirects=False,
                auto_decompress=False,  # what it says is shown as it came, and never inflated
                timeout=aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT_S),
            ) as response:
                beginning = await _beginning(response)
                retry_after = response.headers.get("Retry-After")
                response.close()
                return Answer(response.status, beginning, retry_after)
        except TimeoutError as error:
            raise OutgoingFailed(f"No answer within {DELIVERY_TIMEOUT_S:.0f} s.") from error
        except aiohttp.InvalidURL as error:
            raise OutgoingFailed("It is no address of the web.") from error
        except aiohttp.ClientSSLError as error:
            raise OutgoingFailed("Its TLS certificate does not hold.") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, NotPublic):
                raise OutgoingFailed(NOT_PUBLIC) from error
            raise OutgoingFailed("It cannot be connected to.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise OutgoingFailed("The connection ended without an answer of HTTP.") from error

    def refuses(self, url: str) -> str | None:
        """Why `url` will never be asked, as far as it says so itself; None: it may be."""
        try:
            self._check(url)
        except OutgoingFailed as error:
            return error.detail
        return None

    def _check(self, url: str) -> URL:
        """An address that is written as a number is never resolved, so it is looked at here, as
        the connection will read it: full-width digits become an address by IDNA only."""
        try:
            parsed = URL(url)
            host = parsed.raw_host
        except ValueError:
            host = None
        if not host or parsed.scheme not in ("https", "http"):
            raise OutgoingFailed(f"{url!r} is no address of the web.")
        if self._allow_private:
            return parsed
        if parsed.scheme != "https":
            raise OutgoingFailed(f"{parsed.authority} is asked by https only.")
        try:
            public = is_public(host)
        except ValueError:
            return parsed  # a name
        if not public:
            raise OutgoingFailed(f"{host} is not a public address.")
        return parsed


NOT_PUBLIC = "It does not lead to a public address."


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Text, whatever the answer is; the rest of it is not read."""
    body = b""
    while len(body) < ANSWER_BYTES:
        try:
            more = await response.content.read(ANSWER_BYTES - len(body))
        except aiohttp.ClientPayloadError:  # the status is there, and that is what counts
            break
        if not more:
            break
        body += more
    return body.decode("utf-8", "replace")


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
