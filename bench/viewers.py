"""People who look: open dashboards that ask as panels.js does, open event streams, and somebody
who goes from page to page. In a process of its own, on bare connections, as `bench.load` is.

See `bench.contestants` for how it is spoken to.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from typing import Any

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ETAG = re.compile(rb'etag: *("[^"\r]+")', re.IGNORECASE)
_HTML = "Accept: text/html\r\nAccept-Encoding: gzip\r\n"
_MOST_BYTES = 16 * 1024**2


class _Browser:
    """One connection, kept."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self.etag = ""

    async def __aenter__(self) -> _Browser:
        self.reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._order["port"], limit=_MOST_BYTES
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    def ask(self, path: str, lines: str = _HTML) -> None:
        key = f"Authorization: Bearer {self._order['key']}\r\n"
        head = f"GET {path} HTTP/1.1\r\nHost: here\r\n{key}{lines}\r\n"
        self._writer.write(head.encode())

    async def get(self, path: str, lines: str = "") -> tuple[int, int]:
        """Returns the status and the bytes of the body; what was named by an ETag is asked for
        once."""
        self.ask(path, _HTML + lines)
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, length = int(head[9:12]), _LENGTH.search(head)
        if status not in (200, 304):
            raise RuntimeError(f"{path}: answered {head[:300]!r}")
        tag = _ETAG.search(head)
        self.etag = tag[1].decode() if tag else ""
        if status == 304:
            return status, 0
        if length is not None:
            return status, len(await self.reader.readexactly(int(length[1])))
        body = await self.reader.readuntil(b"0\r\n\r\n")
        return status, len(body)


class Viewers:
    """`count` of them for `seconds`."""

    def __init__(self, **order: Any) -> None:
        self._order = order
        self._until = time.perf_counter() + order["seconds"]
        self.answers: dict[str, list[float]] = {}
        """Times in ms, by path."""
        self.unchanged = self.bytes = self.events = 0

    async def run(self) -> dict[str, Any]:
        doing = getattr(self, f"_{self._order['doing']}")
        await asyncio.gather(*(doing(number) for number in range(self._order.get("count", 1))))
        return {
            "answers": self.answers,
            "unchanged": self.unchanged,
            "bytes": self.bytes,
            "events": self.events,
        }

    async def _watch(self, number: int) -> None:
        """An open dashboard: its panels, again and again."""
        every_s, path = self._order["every_s"], self._order["path"]
        await asyncio.sleep(every_s * number / self._order["count"])
        async with _Browser(self._order) as browser:
            while time.perf_counter() < self._until:
                lines = f"If-None-Match: {browser.etag}\r\n" if browser.etag else ""
                await self._timed(browser, path, lines)
                await asyncio.sleep(every_s)

    async def _listen(self, number: int) -> None:
        """An open event stream."""
        async with _Browser(self._order) as browser:
            browser.ask(self._order["path"])
            while (left_s := self._until - time.perf_counter()) > 0:
                try:
                    data = await asyncio.wait_for(browser.reader.read(65536), left_s)
                except TimeoutError:
                    return
                if not data:
                    raise RuntimeError("the server closed a stream")
                self.bytes += len(data)
                self.events += data.count(b"\nevent: job\n")

    async def _tour(self, number: int) -> None:
        """From page to page."""
        async with _Browser(self._order) as browser:
            while time.perf_counter() < self._until:
                for path in self._order["paths"]:
                    await self._timed(browser, path)

    async def _timed(self, browser: _Browser, path: str, lines: str = "") -> None:
        began = time.perf_counter()
        status, length = await browser.get(path, lines)
        self.answers.setdefault(path, []).append((time.perf_counter() - began) * 1000)
        self.unchanged += status == 304
        self.bytes += length


async def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = await Viewers(**json.loads(line)).run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        result["client_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
