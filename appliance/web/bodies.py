"""Bodies as they come and go, with a deadline on every wait and a check at their end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from email.message import Message

from aiohttp import web

from appliance.errors import BadRequest, DigestMismatch, RequestTimeout

IDLE_S = 60.0
"""Longest time without a byte, in either direction, before a transfer is given up."""

LEAST_BYTES_PER_S = 1024
"""What a body has to come with, on the average of `AVERAGE_S` that were spent waiting for it."""
AVERAGE_S = 60.0

_EXPECTS_CONTINUE: web.RequestKey[bool] = web.RequestKey("expects_continue", bool)


async def expect_handler(request: web.Request) -> None:
    """Take note of `Expect: 100-continue`; the go-ahead is given when the body is wanted.

    So a request that is refused by its head never sends its body. Other expectations are
    disregarded, as a server may (RFC 9110, section 10.1.1).
    """
    if request.headers["Expect"].lower() == "100-continue":
        request[_EXPECTS_CONTINUE] = True


async def stream(request: web.Request) -> AsyncIterator[bytes]:
    """The body in pieces of whatever size has arrived.

    Raises RequestTimeout when the client stops sending, or sends too slowly; BadRequest when what
    it sends cannot be decoded; ConnectionError when it is gone.
    """
    if request.pop(_EXPECTS_CONTINUE, False):
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    content, now = request.content, asyncio.get_running_loop().time
    waited_s, came_bytes = 0.0, 0
    while True:
        began = now()
        try:
            chunk = content.read_nowait()  # most bodies are here with their head, or soon after
            if not chunk:
                async with asyncio.timeout(IDLE_S):
                    chunk = await content.readany()
        except TimeoutError:
            raise RequestTimeout(f"No byte came for {IDLE_S:g} s. Send it again.") from None
        except web.RequestPayloadError as error:
            raise BadRequest(
                "The body breaks the rules of its Transfer-Encoding or Content-Encoding, or ends "
                "before its end. Send it again."
            ) from error
        if not chunk:
            return
        waited_s += now() - began  # and not what we take to write it
        came_bytes += len(chunk)
        yield chunk
        if waited_s >= AVERAGE_S:
            if came_bytes < LEAST_BYTES_PER_S * waited_s:
                raise RequestTimeout(
                    f"Fewer than {LEAST_BYTES_PER_S:,} bytes a second came for {waited_s:.0f} s. "
                    "Send it again over a better connection."
                )
            waited_s, came_bytes = 0.0, 0


async def send(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write a piece of an answer. Raises ConnectionError when the client takes none of it."""
    try:
        async with asyncio.timeout(IDLE_S):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client stopped reading") from None


async def with_digest(body: AsyncIterator[bytes], expected: str | None) -> AsyncIterator[bytes]:
    """`body`, with its SHA-256 held to `expected` (hexadecimal; None: not at all) at the end."""
    digest = hashlib.sha256()
    async for chunk in body:
        if expected is not None:
            digest.update(chunk)
        yield chunk
    if expected is not None and digest.hexdigest() != expected:
        raise DigestMismatch(
            "The body does not have the sha-256 that Content-Digest declares. It changed on the "
            "way; send it again."
        )


def leave(request: web.Request, response: web.StreamResponse) -> None:
    """Before an answer: what is left of the body is not read on. Say so, rather than swallow
    gigabytes."""
    if request.body_exists and not request.content.at_eof():
        response.force_close()


async def from_offset(body: AsyncIterator[bytes], offset_bytes: int) -> AsyncIterator[bytes]:
    """`body` without its first `offset_bytes`."""
    async for chunk in body:
        if len(chunk) > offset_bytes:
            yield chunk[offset_bytes:]
        offset_bytes = max(0, offset_bytes - len(chunk))


def disposition_filename(value: str | None) -> str | None:
    """The name that a Content-Disposition field gives (RFC 6266, RFC 8187)."""
    if value is None:
        return None
    message = Message()
    message["Content-Disposition"] = value
    return message.get_filename()


def repr_digest(sha256: str) -> str:
    """A `Repr-Digest` field (RFC 9530) of a hexadecimal SHA-256."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def declared_sha256(value: str | None) -> str | None:
    """The SHA-256, in hexadecimal, of a `Repr-Digest` or `Content-Digest` field.

    Other algorithms are left unchecked, as RFC 9530, section 2, allows. Raises BadRequest.
    """
    if value is None:
        return None
    match = re.search(r"(?:^|,)\s*sha-256\s*=([^,]*)", value)
    if match is None:
        return None
    try:
        quoted = re.fullmatch(r":([^:]*):\s*(?:;.*)?", match[1].strip())
        digest = base64.b64decode(quoted[1] if quoted else "", validate=True)
    except ValueError:  # of binascii, or of base64 for what is not even ASCII
        digest = b""
    if len(digest) != 32:
        raise BadRequest(
            "The digest is not well formed. RFC 9530 wants `sha-256=:<32 bytes in base64>:`."
        )
    return digest.hex()
