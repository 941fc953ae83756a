"""A way to the server on which every connection gets stuck after so many bytes, so that there is
a middle of an upload that does not pass by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

PIECE = 16 * 1024


class Line:
    def __init__(self, target: str) -> None:
        self.url = ""
        self.stuck_after: int | None = None
        """Bytes of the client's, on one connection; None: it carries everything. A connection that
        is stuck stays so, and neither side hears of it: so it is when a network goes away."""
        self._target = urlsplit(target)
        self.carrying: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Every connection ends, and both sides hear of it; new ones are carried."""
        for task in self.carrying:
            task.cancel()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        pumps = [
            asyncio.create_task(self._pump(reader, back, may_stick=True)),
            asyncio.create_task(self._pump(there, writer, may_stick=False)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.close()
            back.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, may_stick: bool
    ) -> None:
        passed = 0
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(PIECE):
                sink.write(piece)
                await sink.drain()
                passed += len(piece)
                if may_stick and self.stuck_after is not None and passed > self.stuck_after:
                    await asyncio.get_running_loop().create_future()


@contextlib.asynccontextmanager
async def line(target: str) -> AsyncIterator[Line]:
    one = Line(target)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(one.carry(reader, writer))
        one.carrying.add(task)
        task.add_done_callback(one.carrying.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=PIECE)
    host, port = server.sockets[0].getsockname()
    one.url = f"http://{host}:{port}"
    try:
        yield one
    finally:
        server.close()
        one.cut()
        await asyncio.gather(*one.carrying, return_exceptions=True)
