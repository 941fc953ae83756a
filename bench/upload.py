"""Uploads: the time to 202 while the workers are busy, throughput, and memory.

The peer is aiohttp itself writing the same bodies to files, in the way that its documentation
shows, with no hash, no sync and no record: what the appliance adds is the price of keeping its
promise. (nginx and @tus/server come with the resumable uploads.)
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import uvloop

from bench.server import Appliance
from tests import media

ROUNDS = 7
SMALL_BYTES = 100 * 1024
AT_ONCE = 32
PER_ROUND = 320
GIB = 1024**3

_PEER = """
import sys, uuid
from aiohttp import web
async def put(request):
    with open(f"{sys.argv[1]}/{uuid.uuid4()}", "wb") as file:
        async for chunk in request.content.iter_chunked(65536):
            file.write(chunk)
    return web.Response(status=202)
app = web.Application(client_max_size=2**40)
app.router.add_put("/upload/{name}", put)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)
"""


async def run() -> str:
    lines = []
    async with Appliance() as server:
        lines.append(f"start to ready: {server.ready_s:.1f} s")
        lines.append(f"idle memory, all processes: {server.memory_mb():.0f} MB")
        lines += await _time_to_202(server)
    async with Appliance() as server:
        lines += await _one_gib(server)
    lines += await _against_peer()
    return "\n".join(lines)


async def _time_to_202(server: Appliance) -> list[str]:
    """One 5 MiB picture at a time, while videos and pictures keep the workers busy."""
    picture = _photo_of(5 * 1024 * 1024)
    video = media.mp4(30, 1280, 720)
    async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
        for _ in range(3):
            await _put(session, "busy.mp4", video)
        idle, busy = [], []
        for _ in range(100):
            busy.append(await _put(session, "photo.jpg", picture))
        await _quiet(session)
        for _ in range(100):
            idle.append(await _put(session, "notes.txt", b"words " * (5 * 1024 * 1024 // 6)))
    return [_latency("time to 202, 5 MiB, workers busy", busy), _latency("… workers idle", idle)]


async def _one_gib(server: Appliance) -> list[str]:
    block = os.urandom(1024 * 1024)
    peak = 0.0

    async def body() -> AsyncIterator[bytes]:
        nonlocal peak
        yield b"%PDF-1.7\n" + block[9:]
        for number in range(1023):
            yield block
            if number % 64 == 0:
                peak = max(peak, server.own_memory_mb())

    before = server.own_memory_mb()
    async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
        began = time.perf_counter()
        async with session.put("/upload/big.pdf", data=body()) as response:
            assert response.status == 202, await response.text()
        took_s = time.perf_counter() - began
    return [
        f"1 GiB, hashed and durable: {took_s:.1f} s, {GIB / took_s / 1e6:.0f} MB/s; the server's "
        f"own memory {before:.0f} MB before, {peak:.0f} MB at most during"
    ]


async def _against_peer() -> list[str]:
    folder = tempfile.mkdtemp(prefix="peer-", dir=Path.cwd() / "data")
    peer = await asyncio.create_subprocess_exec(sys.executable, "-c", _PEER, folder, "18471")
    body = b"words " * (SMALL_BYTES // 6)
    ours, theirs = [], []
    try:
        async with (
            Appliance(workers_any="0") as server,
            aiohttp.ClientSession(server.url, headers=server.headers) as us,
            aiohttp.ClientSession("http://127.0.0.1:18471") as them,
        ):
            await _until_up(them)
            for _ in range(ROUNDS):
                ours.append(await _rate(us, body))
                theirs.append(await _rate(them, body))
    finally:
        peer.terminate()
        await peer.wait()
        shutil.rmtree(folder)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return [
        f"100 KiB, {AT_ONCE} at once, {ROUNDS} rounds of {PER_ROUND}, uploads/s:",
        _spread("  the appliance (hashed, durable, recorded)", ours),
        _spread("  plain aiohttp to files (not durable)", theirs),
        _spread("  ratio", ratios, digits=2),
    ]


async def _rate(session: aiohttp.ClientSession, body: bytes) -> float:
    left = iter(range(PER_ROUND))

    async def client() -> None:
        for _ in left:
            await _put(session, "a.txt", body)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return PER_ROUND / (time.perf_counter() - began)


async def _put(session: aiohttp.ClientSession, name: str, body: bytes) -> float:
    """Milliseconds until the answer is here."""

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    began = time.perf_counter()
    async with session.put(
        f"/upload/{name}", data=pieces(), headers={"Content-Length": str(len(body))}
    ) as response:
        assert response.status == 202, await response.text()
        await response.read()
    return (time.perf_counter() - began) * 1000


async def _quiet(session: aiohttp.ClientSession) -> None:
    """Wait until no job is left to do."""
    for status in ("PENDING", "PROCESSING"):
        while True:
            async with session.get(f"/jobs?limit=1&status={status}") as response:
                if not (await response.json())["jobs"]:
                    break
            await asyncio.sleep(0.2)


async def _until_up(session: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with session.get("/"):
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)


def _photo_of(size_bytes: int) -> bytes:
    """A real picture, filled up behind its end to the size."""
    picture = media.jpeg(2000, 1500)
    return picture + bytes(size_bytes - len(picture))


def _latency(name: str, values: list[float]) -> str:
    ordered = sorted(values)
    return (
        f"{name}: p50 {statistics.median(ordered):.1f} ms, "
        f"p99 {ordered[int(len(ordered) * 0.99) - 1]:.1f} ms, largest {ordered[-1]:.1f} ms"
    )


def _spread(name: str, values: list[float], *, digits: int = 0) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{name}: {middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
