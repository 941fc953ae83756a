"""Somebody who is told: a real HTTP server that takes what Apprise posts to `json://` URLs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Receiver:
    url: str
    """As Apprise has it."""
    status: int = 200
    """What the next posts are answered with."""
    holds: bool = False
    """Posts are never answered."""
    titles: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    """Of the messages that were taken."""
    asked: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, request: web.Request) -> web.Response:
        self.asked += 1
        message = await request.json()
        if self.holds:
            await asyncio.Event().wait()
        if self.status == 200:
            self.titles.append(message["title"])
            self.bodies.append(message["message"])
            self.told.set()
        return web.Response(status=self.status)


@asynccontextmanager
async def receiving(path: str = "") -> AsyncIterator[Receiver]:
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    receiver = Receiver("")
    app.router.add_post("/{path:.*}", receiver.post)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"json://127.0.0.1:{runner.addresses[0][1]}/{path}"
        yield receiver
    finally:
        await runner.cleanup()
