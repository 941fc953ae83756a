"""Requests to the server, and what its answers and silences mean.

One session with the key in it. It goes to one origin only: a redirect is told, not followed,
because the key would go along.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from appliance.client.failures import Busy, MayPass, NotTrusted, Refused, Unreachable
from appliance.clock import Clock
from appliance.config import ClientConfig

CONNECT_S = 10.0
ANSWER_S = 60.0
"""Longest wait for an answer after the last byte of the request."""
STALL_S = 60.0
"""Longest time in which no byte goes out, or comes in."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024

BUSY = frozenset({408, 423, 425, 460, 500, 502, 503, 504, 507})
"""Such an answer may be another one later. 460 is tus: the bytes changed on the way."""
BUSY_CODES = frozenset({"incomplete_body", "offset_mismatch", "upload_taken_over"})
"""Of a refusal that is about this one request, and not about the file."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Raises Refused when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            raise Refused(
                "What answered is no appliance. Check the address.", status=self.status
            ) from None


class Connection:
    """Its requests raise Refused for what the server will refuse again, MayPass (Unreachable,
    Busy) for what may go well later, and NotTrusted."""

    def __init__(self, config: ClientConfig, *, clock: Clock) -> None:
        self.server_url = config.server_url
        self._base = URL(config.server_url)
        self._clock = clock
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {config.key}", "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def check(self) -> None:
        """Whether it is there and takes the key, before anything is begun with it."""
        answer = await self.request("GET", "/jobs?limit=1")
        if not isinstance(answer.json(), dict):
            raise Refused("What answered is no appliance. Check the address.", status=200)

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: AsyncIterator[bytes] | None = None,
        answer_s: float = ANSWER_S,
    ) -> Answer:
        """`path` is as it goes over the wire; `answer_s` counts from the last byte of `body`."""
        with _translated(self.server_url):
            async with asyncio.timeout(answer_s if body is None else STALL_S) as deadline:
                data = None if body is None else _beating(body, deadline, answer_s)
                async with self._session.request(
                    method,
                    self._base.join(URL(path, encoded=True)),
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                ) as response:
                    content = await response.content.read(MAX_ANSWER_BYTES)
                    while not response.content.at_eof() and len(content) < MAX_ANSWER_BYTES:
                        content += await response.content.read(MAX_ANSWER_BYTES)
        self._judge(response, content)
        return Answer(response.status, response.headers, content)

    @asynccontextmanager
    async def fetch(
        self, path: str, *, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """GET a file: the status (200, 206), and the bytes as they come."""
        with _translated(self.server_url):
            async with asyncio.timeout(ANSWER_S) as deadline:
                async with self._session.get(
                    self._base.join(URL(path, encoded=True)),
                    # What is held against a digest must come as it is.
                    headers={"Accept-Encoding": "identity", **headers},
                    allow_redirects=False,
                ) as response:
                    if response.status not in (200, 206):
                        self._judge(response, await response.content.read(MAX_ANSWER_BYTES))
                        raise Refused("An answer without a file.", status=response.status)
                    pieces = response.content.iter_chunked(1 << 18)
                    yield response.status, _beating(pieces, deadline, ANSWER_S)

    def _judge(self, response: aiohttp.ClientResponse, content: bytes) -> None:
        status = response.status
        if status < 300:
            return
        detail, code, extra = _problem(response, content)
        if status < 400:
            target = response.headers.get("Location", "elsewhere")
            raise Refused(
                f"{self.server_url} sends on to {target!r}. Give the address that it is at.",
                status=status,
            )
        retry_after_s = self._retry_after_s(response)
        if (
            status in BUSY
            or code in BUSY_CODES
            or (status == 429 and retry_after_s is not None)
        ):  # fmt: skip
            raise Busy(detail, server_code=code, retry_after_s=retry_after_s)
        if status == 401:
            detail += (
                " Check APPLIANCE_KEY (or --key); on the server, `appliance keys create NAME` "
                "makes another."
            )
        raise Refused(detail, status=status, server_code=code, **extra)

    def _retry_after_s(self, response: aiohttp.ClientResponse) -> float | None:
        text = response.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,6}", text):
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._clock.now())
        except ValueError:
            return None


def _problem(
    response: aiohttp.ClientResponse, content: bytes
) -> tuple[str, str | None, dict[str, Any]]:
    """Words, code and further members of a refusal (RFC 9457)."""
    if response.content_type == "application/problem+json":
        try:
            found = msgspec.json.decode(content, type=dict[str, Any])
            detail = str(found.get("detail") or found.get("title") or response.reason)
            code = str(found["code"]) if found.get("code") else None
            known = ("type", "title", "status", "detail", "code")
            return detail, code, {k: v for k, v in found.items() if k not in known}
        except msgspec.DecodeError:
            pass
    words = f"{response.status} {response.reason or ''}".strip()
    by = response.headers.get("Server", "")
    who = f"by {by!r}, which stands in front of it" if by else "not in the appliance's words"
    return f"It was answered {words} ({who}).", None, {}


async def _beating(
    pieces: AsyncIterator[bytes], deadline: asyncio.Timeout, end_s: float
) -> AsyncIterator[bytes]:
    """`pieces`; each moves the deadline, so that only a stall reaches it. After the last, `end_s`
    are left."""
    loop = asyncio.get_running_loop()
    async for piece in pieces:
        deadline.reschedule(loop.time() + STALL_S)
        yield piece
    deadline.reschedule(loop.time() + end_s)


class _translated:  # noqa: N801  used like a function
    """aiohttp's errors, and the system's, become ours."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(
            error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError
        ):
            raise NotTrusted(
                f"The certificate of {self._server_url} does not hold: {error}. Give the name it "
                "is made for, or have it renewed."
            ) from error
        if isinstance(error, aiohttp.InvalidURL):
            raise Refused(f"{self._server_url} is no address.", status=0) from error
        if isinstance(error, TimeoutError):
            raise Unreachable(
                f"{self._server_url} does not answer. Is that the address, and the network up?"
            ) from error
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            raise Unreachable(
                f"The name in {self._server_url} is not known. Check APPLIANCE_SERVER (or "
                "--server), and the network."
            ) from error
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno
            reason = os.strerror(number) if number else str(error.os_error)
            raise Unreachable(
                f"No connection to {self._server_url} ({reason.lower()}). Does the server run "
                "there? Another address is given by APPLIANCE_SERVER or --server."
            ) from error
        if isinstance(error, aiohttp.ClientError | OSError) and not isinstance(error, MayPass):
            raise Unreachable(f"The connection to {self._server_url} broke.") from error
