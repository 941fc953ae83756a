"""A network that a test holds in its hand: it passes so many bytes, then stands still or breaks."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

PIECE_BYTES = 16 * 1024
DEADLINE_S = 60.0


class Gate:
    """Of one direction."""

    def __init__(self) -> None:
        self.passed_bytes = 0
        self._allowed_bytes = math.inf
        self._moved = asyncio.Condition()

    async def allow(self, more_bytes: float) -> None:
        """From now on, and no more until the next call."""
        async with self._moved:
            self._allowed_bytes = self.passed_bytes + more_bytes
            self._moved.notify_all()

    async def reached(self) -> None:
        """Everything that was allowed has passed."""
        async with asyncio.timeout(DEADLINE_S), self._moved:
            await self._moved.wait_for(lambda: self.passed_bytes >= self._allowed_bytes)

    async def forward(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        while piece:
            async with self._moved:
                await self._moved.wait_for(lambda: self.passed_bytes < self._allowed_bytes)
                room = int(min(len(piece), self._allowed_bytes - self.passed_bytes))
                writer.write(piece[:room])
                await writer.drain()
                self.passed_bytes += room
                self._moved.notify_all()
            piece = piece[room:]


class Proxy:
    """Forwards connections to a server."""

    def __init__(self, target_url: str) -> None:
        self.target_url = target_url
        """May be changed: a server that was started again has another port."""
        self.url = ""
        self.there, self.back = Gate(), Gate()
        self._heads: list[str] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def requests(self, method: str) -> list[str]:
        """First line and fields of those that went through."""
        return [head for head in self._heads if head.startswith(f"{method} ")]

    def cut(self) -> None:
        """Break every connection, as a network does: at any byte."""
        for writer in list(self._connections):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        target = urlsplit(self.target_url)
        try:
            there_reader, there = await asyncio.open_connection(target.hostname, target.port)
        except OSError:
            writer.transport.abort()
            return
        self._connections |= {writer, there}
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, there, self.there, note=True))
                both.create_task(self._copy(there_reader, writer, self.back, note=False))
        finally:
            self._connections -= {writer, there}
            self._tasks.discard(task)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: Gate, *, note: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                if note and piece.startswith((b"GET ", b"POST ", b"HEAD ", b"PATCH ", b"DELETE ")):
                    self._heads.append(piece.partition(b"\r\n\r\n")[0].decode("latin-1"))
                await gate.forward(piece, writer)
        writer.transport.abort() if reader.exception() else writer.close()

    async def end(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy_to(target_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target_url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
