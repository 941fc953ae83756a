"""The load: one client for all contestants, in a process of its own, on bare connections.

It costs little beside the servers that share its cores, and knows no more of HTTP than their
answers need. A request is sent whole as soon as the answer to the one before is here; each
connection is kept, as browsers and libraries keep theirs. See `bench.contestants` for how it
is spoken to.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import resource
import socket
import sys
import time
from typing import Any, cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding: *chunked", re.IGNORECASE)
_BLOCK_BYTES = 1024 * 1024
_numbers = itertools.count()


class _Client(asyncio.Protocol):
    """One connection, that asks until the round is over."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._got = bytearray()
        self._end: int | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ask()

    def _ask(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.writelines(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._end is None:
            head_end = self._got.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = bytes(self._got[:head_end])
            if int(head[9:12]) != self._load.status:
                self._fail(RuntimeError(f"answered {bytes(self._got)[:600]!r}"))
                return
            if _CHUNKED.search(head):
                if not self._got.endswith(b"0\r\n\r\n"):
                    return
                self._end = len(self._got)
            else:
                length = _LENGTH.search(head)
                self._end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._got) < self._end:
            return
        self._load.times_ms.append((time.perf_counter() - self._began) * 1000)
        if self._load.left == 0:
            self._load.answer = bytes(self._got).partition(b"\r\n\r\n")[2].decode()
        self._got.clear()
        self._end = None
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._load.left and not self._load.is_over():
            self._fail(exc or RuntimeError("the server closed the connection"))
        elif not self.over.done():
            self.over.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._load.left = 0
        self._transport.abort()
        if not self.over.done():
            self.over.set_exception(error)


class Load:
    """One round: as many requests as `seconds` and `count` allow.

    `head` is a request's, with `{n}` for what is to be another in each; `path` of what is read
    may name several, taken in turn.
    """

    def __init__(
        self,
        *,
        port: int,
        head: str,
        status: int,
        body: str = "",
        body_bytes: int = 0,
        before: str = "",
        after: str = "",
        at_once: int = 32,
        seconds: float = 1.0,
        count: int = 1_000_000,
        paths: list[str] | None = None,
    ) -> None:
        self._port = port
        self._heads = [head.replace("{path}", path) for path in paths or [""]]
        self._body = _body(body, body_bytes, before, after)
        self._at_once = at_once
        self._seconds = seconds
        self.status = status
        self.left = count
        self.times_ms: list[float] = []
        self.answer = ""
        """The body of the last one that was read."""

    def next_request(self) -> list[bytes] | None:
        if self.left == 0 or self.is_over():
            return None
        self.left -= 1
        number = next(_numbers)
        head = self._heads[number % len(self._heads)]
        return [head.replace("{n}", str(number)).encode(), self._body]

    def is_over(self) -> bool:
        return time.perf_counter() > self._until

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        self._until = began + self._seconds
        clients = [
            (await loop.create_connection(lambda: _Client(self), "127.0.0.1", self._port))[1]
            for _ in range(self._at_once)
        ]
        await asyncio.gather(*(client.over for client in clients))
        took_s = time.perf_counter() - began
        times = sorted(self.times_ms)
        return {
            "count": len(times),
            "took_s": took_s,
            "answer": self.answer,
            "rate": len(times) / took_s,
            "p50_ms": times[len(times) // 2],
            "p99_ms": times[int(len(times) * 0.99)],
            "max_ms": times[-1],
        }


def _body(kind: str, size_bytes: int, before: str, after: str) -> bytes:
    if kind.startswith("/"):
        with open(kind, "rb") as file:  # noqa: PTH123
            content = file.read()
    else:
        content = kind.encode() * (size_bytes // len(kind)) if kind else b""
    content += bytes(max(0, size_bytes - len(content))) if kind.startswith("/") else b""
    return before.encode() + content + after.encode()


def send_large(*, port: int, head: str, status: int, start: str, size_bytes: int) -> dict[str, Any]:
    """One body, a MiB at a time from the same memory, on a blocking socket."""
    block = (b"words " * (_BLOCK_BYTES // 6 + 1))[:_BLOCK_BYTES]
    first = start.encode() + block[len(start) :]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        connection.sendall(head.encode())
        connection.sendall(first)
        for _ in range(size_bytes // _BLOCK_BYTES - 1):
            connection.sendall(block)
        answer = connection.recv(65536)
        took_s = time.perf_counter() - began
    if int(answer[9:12]) != status:
        raise RuntimeError(f"answered {answer[:600]!r}")
    return {"count": 1, "rate": size_bytes / took_s / 1e6, "took_s": took_s}


async def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        before = resource.getrusage(resource.RUSAGE_SELF)
        if order.pop("large", False):
            result = send_large(**order)
        else:
            result = await Load(**order).run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        result["client_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
