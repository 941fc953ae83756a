"""Somebody whom webhooks tell: a real server on a socket, that answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from multidict import CIMultiDict

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def answering(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} Told", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Message:
    path: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Hook:
    url: str
    answer: bytes = OK
    """What every request is answered with, to the byte, before the connection is closed."""
    holds: bool = False
    """No request is answered until this is False."""
    messages: list[Message] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        self.holds = False
        self._released.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = CIMultiDict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers["Content-Length"]))
            self.messages.append(Message(first.split()[1], headers, body))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            if self.holds:
                await self._released.wait()
            self._at_once -= 1
            writer.write(self.answer)
            await writer.drain()
        writer.close()

    def ids(self) -> list[str]:
        return [message.id for message in self.messages]


@asynccontextmanager
async def hooked(host: str = "127.0.0.1") -> AsyncIterator[Hook]:
    hook = Hook("")
    server = await asyncio.start_server(hook.serve, host, 0)
    hook.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield hook
    finally:
        hook.release()
        server.close()
