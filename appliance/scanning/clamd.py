"""ClamAV's daemon, by its INSTREAM command over TCP or a Unix socket.

Source: clamd(8), "COMMANDS". A stream is sent in chunks, each with its length in front, and
ends with a chunk of none; one line comes back.

Limits: clamd stops reading a stream at its `StreamMaxLength`, and scans nothing of a file that is
larger than its `MaxFileSize`, of which it says `OK` unless `AlertExceedsMax` is on. It does not
tell these settings, so that a file above `max_bytes` is not sent at all.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from appliance.errors import ScannerUnavailable
from appliance.jobs import Scan
from appliance.scanning.protocol import Content

CONNECT_S = 10.0
ANSWER_S = 300.0
"""From the last byte to the verdict: archives in archives take their time."""
STALL_S = 60.0
"""Longest wait until clamd takes the next piece."""
MAX_ANSWER_BYTES = 4096
TRIES = 2
"""With a file at which it breaks off: it may have been restarted in the middle of the first."""
CHUNK_BYTES = 1024 * 1024

LIMITS = "Heuristics.Limits.Exceeded"
"""Begins the name of what clamd, with AlertExceedsMax, finds in what it did not look through."""


class ClamdScanner:
    """See `protocol.Scanner`."""

    def __init__(self, url: str, *, max_bytes: int) -> None:
        """`url` is `tcp://host:port` or `unix:///path`."""
        self._url = urlsplit(url)
        self._max_bytes = max_bytes
        self._engine = "ClamAV"

    async def check(self) -> str:
        """`ClamAV 1.4.6/27400/Tue Nov 24 …`: engine, number and date of the signatures."""
        async with self._connected() as (reader, writer):
            writer.write(b"zVERSION\0")
            self._engine = await _answer(reader, within_s=CONNECT_S)
        return self._engine

    async def scan(self, content: Content, *, size_bytes: int) -> Scan:
        if size_bytes > self._max_bytes:
            return self._not_scanned(
                f"larger than {self._max_bytes:,} bytes, the most that is sent to the scanner"
            )
        for _ in range(TRIES):
            sent_bytes, answer = await self._exchange(content)
            if answer is not None:
                return await self._judged(answer, whole=sent_bytes == size_bytes)
            await self.check()  # raises when it is gone: then it was no matter of the file
        return self._not_scanned(
            f"the scanner breaks off after some {sent_bytes:,} bytes, beyond its StreamMaxLength"
        )

    async def _exchange(self, content: Content) -> tuple[int, str | None]:
        """How many bytes clamd took, and what it said; None when it broke off without a word,
        as it does far above its limit."""
        async with self._connected() as (reader, writer):
            writer.write(b"zINSTREAM\0")
            sent_bytes, cut_off = await _send(content(), writer)
            try:
                return sent_bytes, await _answer(reader, within_s=ANSWER_S)
            except ScannerUnavailable:
                if not cut_off:
                    raise
                return sent_bytes, None

    async def _judged(self, answer: str, *, whole: bool) -> Scan:
        said = answer.removeprefix("stream: ")
        if said == "OK" and whole:
            return Scan(verdict="clean", engine=await self.check())
        if said.endswith(" FOUND"):
            signature = said.removesuffix(" FOUND")
            if signature.startswith(LIMITS):
                return self._not_scanned(f"the scanner did not look into all of it ({signature})")
            return Scan(verdict="infected", reason=signature, engine=await self.check())
        if said.startswith("INSTREAM size limit exceeded"):
            return self._not_scanned("larger than the scanner takes (clamd's StreamMaxLength)")
        raise ScannerUnavailable(f"The scanner answered {answer[:200]!r}.")

    def _not_scanned(self, reason: str) -> Scan:
        return Scan(verdict="not_scanned", reason=reason, engine=self._engine)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Translates what the network says into ScannerUnavailable, inside the block too."""
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await self._connect()
        except (OSError, TimeoutError) as error:
            raise ScannerUnavailable(
                f"The scanner at {self._url.geturl()} cannot be reached ({_why(error)}). Start "
                "clamd, or mend APPLIANCE_CLAMD_URL; work goes on by itself."
            ) from error
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._url.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(self._url.path))
        return await asyncio.open_connection(self._url.hostname, self._url.port or 3310)


async def _send(content: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> tuple[int, bool]:
    """Send all of `content`, or as much as clamd takes: it breaks off where it has seen enough,
    and what it has to say about that may still be read. How many bytes went, and whether it
    broke off."""
    sent_bytes = 0
    try:
        async for piece in content:
            for start in range(0, len(piece), CHUNK_BYTES):
                chunk = piece[start : start + CHUNK_BYTES]
                writer.write(struct.pack(">I", len(chunk)) + chunk)
                async with asyncio.timeout(STALL_S):
                    await writer.drain()
                sent_bytes += len(chunk)
        writer.write(struct.pack(">I", 0))
        async with asyncio.timeout(STALL_S):
            await writer.drain()
    except ConnectionError:
        return sent_bytes, True
    except TimeoutError as error:
        raise ScannerUnavailable(f"The scanner took nothing for {STALL_S:g} s.") from error
    return sent_bytes, False


async def _answer(reader: asyncio.StreamReader, *, within_s: float) -> str:
    try:
        async with asyncio.timeout(within_s):
            line = await reader.readuntil(b"\0")
    except TimeoutError as error:
        raise ScannerUnavailable(f"The scanner did not answer within {within_s:g} s.") from error
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
        raise ScannerUnavailable("The scanner broke off without a verdict.") from error
    return line[:MAX_ANSWER_BYTES].rstrip(b"\0\n").decode("utf-8", "replace")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or "no answer in time"
