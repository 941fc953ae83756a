"""A network between us and a store that breaks connections, at any byte, delays what the store
answers, and answers 503 itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Fate:
    """Of one connection."""

    there_bytes: int | None = None
    """So many pass towards the store, then it breaks."""
    back_bytes: int | None = None
    held: asyncio.Event | None = None
    """Nothing comes back before it is set."""
    busy: bool = False
    """It is answered 503, and the store hears nothing."""


WELL = Fate()


class FaultyNetwork:
    def __init__(self, target_url: str, fate: Callable[[int], Fate]) -> None:
        self._target = urlsplit(target_url)
        self._fate = fate
        self.url = ""
        self.connections = 0
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = self._open[task] = [writer]
        fate = self._fate(self.connections)
        self.connections += 1
        there: asyncio.StreamWriter | None = None
        try:
            if fate.busy:
                await reader.read(1)
                writer.write(BUSY)
                await writer.drain()
                return
            back, there = await asyncio.open_connection(self._target.hostname, self._target.port)
            writers.append(there)
            ways = {
                asyncio.ensure_future(_pass(reader, there, fate.there_bytes)),
                asyncio.ensure_future(_pass(back, writer, fate.back_bytes, fate.held)),
            }
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
        finally:
            writer.transport.abort() if not fate.busy else writer.close()
            if there is not None:
                there.transport.abort()
            del self._open[task]

    async def end(self) -> None:
        for writer in [writer for writers in self._open.values() for writer in writers]:
            writer.transport.abort()
        if self._open:
            await asyncio.wait(set(self._open))


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    most_bytes: int | None,
    held: asyncio.Event | None = None,
) -> None:
    if held is not None:
        await held.wait()
    with contextlib.suppress(OSError):
        while piece := await reader.read(16 * 1024):
            if most_bytes is not None:
                piece = piece[:most_bytes]
                most_bytes -= len(piece)
            writer.write(piece)
            await writer.drain()
            if most_bytes == 0:
                return


@asynccontextmanager
async def faulty_network(
    target_url: str, fate: Callable[[int], Fate]
) -> AsyncIterator[FaultyNetwork]:
    network = FaultyNetwork(target_url, fate)
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0)
    network.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield network
    finally:
        server.close()
        await network.end()
