"""HTTP requests to an object store: each with a deadline, repeated while that may help.

What may go away (no connection, no answer in time, 5xx, 429) is tried again with growing pauses;
so is a body that arrived with another digest. The adapter says what an answer means, and makes
each attempt anew: signatures have a time in them.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from appliance.clock import Clock
from appliance.errors import ApplianceError, ConfigurationError, StorageRefused, StorageUnavailable
from appliance.storage.buckets.protocol import Body
from appliance.storage.buckets.pulse import Pulse
from appliance.storage.buckets.store_clock import StoreClock

REPEAT_FOR_S = 20.0
"""After the first attempt of a request, no other begins."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 3.0
CONNECT_S = 5.0
ANSWER_S = 15.0
"""An answer, and each piece of one, comes within that. Less than REPEAT_FOR_S: what did not come is
asked for once more."""
SLOWEST_BYTES_PER_S = 128 * 1024
MAX_ANSWER_BYTES = 16 * 1024**2
READ_BYTES = 1024 * 1024
WHOLE_BYTES = 256 * 1024
"""Of a body that is handed over as it is, with the head of its request."""
CONNECTIONS = 1000
"""Each slow download holds one; a request that finds none free fails as one without an answer."""


class TryAgain(StorageUnavailable):
    """A fault that may be over a moment later."""


class ConnectionLost(TryAgain):
    """In the middle of an answer."""


class ClockDiffers(TryAgain):
    """A request was signed too long ago, or in the future, by the store's clock."""


class OutOfRange(ApplianceError):
    """The object ends before the first byte that was asked for."""


@dataclass(frozen=True)
class Request:
    method: str
    url: URL
    headers: Mapping[str, str]
    body: Body | None = None
    within_s: float | None = None
    """For the answer, once the body is sent; None: ANSWER_S."""
    expects: int = 200
    """An answer of this status is none of a fault, and any below 300."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


Make = Callable[[], Awaitable[Request]]
Fault = Callable[[Request, Answer], ApplianceError]
"""What an answer means that was not expected."""


class Requests:
    def __init__(self, subject: str, *, fault: Fault, ca_file: Path | None, clock: Clock) -> None:
        """`subject` is the store, for people; `clock` is this machine's. Raises
        ConfigurationError."""
        self._subject = subject
        self._fault = fault
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=_trusting(ca_file)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            read_bufsize=512 * 1024,
        )
        self.pulse = Pulse()
        self.clock = StoreClock(subject, clock)

    async def ask(self, make: Make, *, repeat: bool = True) -> Answer:
        """The whole answer. Raises what `fault` makes of others, and
        StorageUnavailable."""
        response, body = await self._answered(make, repeat=repeat, whole=True)
        return Answer(response.status, response.headers, body)

    @asynccontextmanager
    async def opened(self, make: Make) -> AsyncIterator[aiohttp.ClientResponse]:
        """As `ask`; the body is still on its way."""
        response, _ = await self._answered(make, repeat=True, whole=False)
        try:
            yield response
        finally:
            response.close()  # no-op for one that was read to its end

    async def _answered(
        self, make: Make, *, repeat: bool, whole: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        until = time.monotonic() + REPEAT_FOR_S
        pause_s = FIRST_PAUSE_S
        signed_anew = False
        while True:
            try:
                answered = await self._attempt(await make(), whole=whole)
            except TryAgain as fault:
                if isinstance(fault, ClockDiffers) and not signed_anew:
                    signed_anew = True  # by its clock, which it has just told
                    continue
                if not repeat or time.monotonic() + pause_s > until:
                    self.pulse.heard(fault)
                    raise
            except StorageRefused:
                raise  # of this request; whether the store refuses all, the pulse asks
            except ApplianceError:
                self.pulse.heard(None)
                raise
            else:
                self.pulse.heard(None)
                return answered
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  not a secret
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _attempt(
        self, request: Request, *, whole: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        size_bytes = request.body.size_bytes if request.body else 0
        within_s = ANSWER_S if request.within_s is None else request.within_s
        headers = {**request.headers, "Content-Length": str(size_bytes)}
        if request.body is None and request.method in ("GET", "HEAD", "DELETE"):
            del headers["Content-Length"]
        response: aiohttp.ClientResponse | None = None
        sent_at = self.clock.here()
        try:
            async with asyncio.timeout(within_s + size_bytes / SLOWEST_BYTES_PER_S):
                response = await self._session.request(
                    request.method,
                    request.url,
                    headers=headers,
                    data=await _data(request.body),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=within_s),
                )
                self.clock.heard(response.headers, sent_at=sent_at)
                refused = response.status >= 300 and response.status != request.expects
                body = await _read(response) if whole or refused else b""
                if refused:
                    raise self._fault(request, Answer(response.status, response.headers, body))
                return response, body
        except BaseException as error:
            if response is not None:
                response.close()
            if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
                raise self._unreachable(error) from error
            raise

    def _unreachable(self, error: Exception) -> StorageUnavailable:
        host = self._subject
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
            return StorageRefused(
                f"{host}: TLS fails ({error}). Where its certificate is from an authority of your "
                "own, name that: ca=/path/to/ca.pem in the URL."
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            found = isinstance(error.os_error, socket.gaierror)
            kind = (
                StorageRefused if found and error.os_error.errno == socket.EAI_NONAME else TryAgain
            )
            return kind(
                f"{host}: there is no host {error.host}. Mend the endpoint (or the region) in the "
                "URL, or the resolution of names here."
            )
        if isinstance(error, TimeoutError):
            return TryAgain(f"{host} does not answer in time.")
        return TryAgain(f"{host} cannot be reached ({error or type(error).__name__}).")

    async def close(self) -> None:
        await self._session.close()


async def _data(body: Body | None) -> bytes | AsyncIterator[bytes | memoryview] | None:
    if body is None:
        return None
    if body.size_bytes > WHOLE_BYTES:
        return body.pieces()
    return b"".join([piece async for piece in body.pieces()])


async def pieces_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Raises ConnectionLost."""
    try:
        while piece := await response.content.read(READ_BYTES):
            yield piece
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ConnectionLost("The store broke off in the middle of a file.") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while piece := await response.content.read(READ_BYTES):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise TryAgain(f"The store answered more than {MAX_ANSWER_BYTES} bytes.")
    return bytes(body)


def _trusting(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            [f"APPLIANCE_STORAGE_URL: {ca_file} is no readable PEM file ({error}); mend ca=…."]
        ) from error
