"""A way to a server that breaks, as networks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

PIECE_BYTES = 16 * 1024


class Flaky:
    """Passes connections on, and cuts the one on which the next of `cuts` is reached: each a
    number of bytes from clients, over all connections.

    `silent`: the server is not told. It sees a connection on which nothing comes any more.
    """

    def __init__(self, upstream: str, cuts: Iterable[int], *, silent: bool) -> None:
        address = urlsplit(upstream)
        self._upstream = (address.hostname, address.port)
        self.cuts = sorted(cuts)
        self.silent = silent
        self.passed = 0
        self.made = 0
        """Cuts so far."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._upstream)
            self._writers.append(server_writer)
            back = asyncio.create_task(self._answers(server_reader, writer))
            self._tasks.add(back)
            while data := await reader.read(PIECE_BYTES):
                if self.cuts and self.passed + len(data) >= self.cuts[0]:
                    kept = max(0, self.cuts.pop(0) - self.passed)
                    server_writer.write(data[:kept])
                    await server_writer.drain()
                    self.passed += kept
                    self.made += 1
                    back.cancel()
                    writer.transport.abort()
                    if not self.silent:
                        server_writer.transport.abort()
                    return
                self.passed += len(data)
                server_writer.write(data)
                await server_writer.drain()
            server_writer.close()
        except ConnectionError:
            writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(PIECE_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def flaky(
    upstream: str, cuts: Iterable[int] = (), *, silent: bool = False
) -> AsyncIterator[Flaky]:
    way = Flaky(upstream, cuts, silent=silent)
    server = await asyncio.start_server(way._pass_on, "127.0.0.1", 0)
    way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        await way.close()
        await server.wait_closed()
