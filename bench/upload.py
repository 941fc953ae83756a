"""Uploads and status reads, beside nginx, @tus/server and plain aiohttp.

What we answer 202 to is hashed, synced and recorded; what the peers answer is none of these. So
a ratio tells what the promise costs, not who is better. One load generator drives all
(`bench.load`), in a process of its own.

Files stay until the end: a file system reuses what was deleted a moment ago slowly or not at
all (ext4 without a journal looks at each such inode again), and whose turn is next would pay.
Only those of 1 GiB go at once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.contestants import NODE_PEERS, Contestant, node_peers, service
from bench.rounds import ROUNDS, ratios, spread, table
from bench.server import Appliance
from tests import media

SMALL_BYTES = 100 * 1024 // 6 * 6
PICTURE_BYTES = 5 * 1024 * 1024
GIB = 1024**3
AT_ONCE = 32
ROUND_S = 1.0
PICTURES = 100
CACHED = 50
"""Jobs whose status is read again and again, for what the cache gives."""

MOST_READ = 20_000
"""Jobs whose status is read in turn: each too seldom for the cache, which keeps it for 1 s."""

NO_WORKERS = dict.fromkeys(("workers_any", "workers_image", "workers_pdf", "workers_video"), "0")
_AIOHTTP = """
import sys, uuid
from aiohttp import web
async def put(request):
    with open(f"{sys.argv[1]}/{uuid.uuid4()}", "wb") as file:
        async for chunk in request.content.iter_chunked(65536):
            file.write(chunk)
    return web.Response(status=201)
app = web.Application(client_max_size=2**40)
app.router.add_put("/{name}", put)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)
"""
_TUS = str(Path(__file__).with_name("tus_server.mjs"))
_BOUNDARY = "----bench0123456789"
_PART = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
    "Content-Type: text/plain\r\n\r\n"
)
_PART_END = f"\r\n--{_BOUNDARY}--\r\n"


@dataclass
class Entry:
    """A way to send, or to read, and what came of it."""

    name: str
    pid: int
    order: dict[str, Any]
    tidy: Callable[[], None] = lambda: None
    results: list[dict[str, Any]] = field(default_factory=list)

    async def play(self, load: Contestant) -> None:
        await asyncio.to_thread(os.sync)  # what those before have left to write, they pay for
        before = _cpu_s(self.pid)
        result = await load.round(**self.order)
        result["cpu_us"] = (_cpu_s(self.pid) - before) * 1e6 / result["count"]
        self.results.append(result)
        self.tidy()

    def all(self, key: str) -> list[float]:
        return [result[key] for result in self.results]


async def run() -> str:
    async with AsyncExitStack() as stack:
        load = await stack.enter_async_context(Contestant("load"))
        nginx = stack.enter_context(_nginx())
        aiohttp = stack.enter_context(_peer(sys.executable, "-c", _AIOHTTP))
        at = node_peers()
        tus = None if at is None else stack.enter_context(_peer("node", _TUS, cwd=at))
        lines = [f"beside {_version('nginx', '-v')}, Node.js {_version('node', '--version')}, "]
        lines[0] += ", ".join(NODE_PEERS) if tus else "no @tus/server: it needs Node.js 20"
        async with Appliance(**NO_WORKERS) as ours:
            small = _small(ours, nginx, tus, aiohttp)
            await _play(small, load)
            lines += ["", *_table_of_small(small)]
            reads = await _reads(ours, nginx, load)
            await _play(reads, load)
            lines += ["", *_table_of_reads(reads)]
        async with Appliance(**NO_WORKERS) as ours:
            large = _large(ours, nginx, tus)
            await _play(large, load, warm=False)
            lines += ["", *_table_of_large(large, ours)]
        async with Appliance() as ours:
            lines += ["", *await _time_to_202(ours, load)]
    return "\n".join(lines)


async def _play(entries: Sequence[Entry], load: Contestant, *, warm: bool = True) -> None:
    for entry in entries if warm else ():
        await load.round(**{**entry.order, "seconds": 0.3})
    for _ in range(ROUNDS):
        for entry in entries:
            await entry.play(load)


# --- what is sent -----------------------------------------------------------------------------


def _head(method: str, target: str, length: int, *lines: str) -> str:
    return "\r\n".join(
        [f"{method} {target} HTTP/1.1", "Host: bench", f"Content-Length: {length}", *lines, "", ""]
    )


def put_head(ours: Appliance, filename: str, length: int) -> str:
    """Of an upload to the appliance, as a raw body."""
    key = f"Authorization: Bearer {ours.key}"
    return _head("PUT", f"/upload/{filename}", length, key)


def _tus_head(length: int, *lines: str) -> str:
    return _head(
        "POST",
        "/files",
        length,
        "Tus-Resumable: 1.0.0",
        f"Upload-Length: {length}",
        "Content-Type: application/offset+octet-stream",
        *lines,
    )


def _small(ours: Appliance, nginx: Peer, tus: Peer | None, aiohttp: Peer) -> list[Entry]:
    words = {"body": "words ", "body_bytes": SMALL_BYTES, "seconds": ROUND_S, "at_once": AT_ONCE}
    form_bytes = len(_PART) + SMALL_BYTES + len(_PART_END)
    us = {**words, "port": ours.port}
    key = f"Authorization: Bearer {ours.key}"
    raw = {**us, "status": 202, "head": _head("PUT", "/upload/a.txt", SMALL_BYTES, key)}
    kind = f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"
    form = {**us, "status": 202, "head": _head("POST", "/upload", form_bytes, key, kind)}
    form |= {"before": _PART, "after": _PART_END}
    name = "Upload-Metadata: filename YS50eHQ="
    own_tus = {**us, "status": 201, "head": _tus_head(SMALL_BYTES, key, name)}
    put = {**words, "status": 201, "head": _head("PUT", "/{n}", SMALL_BYTES)}
    entries = [
        Entry("the appliance: raw", ours.process.pid, raw),
        Entry("the appliance: form", ours.process.pid, form),
        Entry("the appliance: tus", ours.process.pid, own_tus),
        Entry("nginx, PUT", nginx.pid, {**put, "port": nginx.port}),
        Entry("aiohttp to files", aiohttp.pid, {**put, "port": aiohttp.port}),
    ]
    if tus:
        order = {**words, "port": tus.port, "status": 201, "head": _tus_head(SMALL_BYTES)}
        entries.append(Entry("@tus/server", tus.pid, order))
    return entries


def _large(ours: Appliance, nginx: Peer, tus: Peer | None) -> list[Entry]:
    big = {"large": True, "size_bytes": GIB, "start": "%PDF-1.7\n"}
    key = f"Authorization: Bearer {ours.key}"
    put = {**big, "port": ours.port, "status": 202}
    put["head"] = _head("PUT", "/upload/a.pdf", GIB, key)
    bare = {**big, "port": nginx.port, "status": 201, "head": _head("PUT", "/large", GIB)}
    entries = [
        Entry("the appliance", ours.process.pid, put, lambda: _free(ours.data_dir / "files")),
        Entry("nginx, PUT", nginx.pid, bare, lambda: (nginx.folder / "large").unlink()),
    ]
    if tus:
        order = {**big, "port": tus.port, "status": 201, "head": _tus_head(GIB)}
        entries.append(Entry("@tus/server", tus.pid, order, lambda: _empty(tus.folder)))
    return entries


async def _reads(ours: Appliance, nginx: Peer, load: Contestant) -> list[Entry]:
    with sqlite3.connect(f"file:{ours.data_dir}/appliance.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT id FROM jobs ORDER BY id LIMIT ?", (MOST_READ,))
        paths = [f"/status/{job_id}" for (job_id,) in rows]
    get = f"GET {{path}} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {ours.key}\r\n\r\n"
    order = {"status": 200, "head": get, "seconds": ROUND_S, "at_once": AT_ONCE}
    us = {**order, "port": ours.port}
    first = await load.round(**us, paths=paths[:1], count=1)
    for number in range(CACHED):  # the same bytes, as files
        (nginx.folder / f"status-{number}").write_text(first["answer"])
    files = [f"/status-{number}" for number in range(CACHED)]
    return [
        Entry("the appliance, from its cache", ours.process.pid, {**us, "paths": paths[:CACHED]}),
        Entry("the appliance, from its database", ours.process.pid, {**us, "paths": paths}),
        Entry("nginx, a file", nginx.pid, {**order, "port": nginx.port, "paths": files}),
    ]


async def _time_to_202(ours: Appliance, load: Contestant) -> list[str]:
    """One at a time: texts while the workers have little to do, then pictures while videos and
    pictures keep them busy."""
    with tempfile.NamedTemporaryFile() as picture, tempfile.NamedTemporaryFile() as video:
        picture.write(media.jpeg(2000, 1500))
        video.write(media.mp4(30, 1280, 720))
        picture.flush()
        video.flush()
        key = f"Authorization: Bearer {ours.key}"
        size = os.fstat(video.fileno()).st_size
        film = {"port": ours.port, "status": 202, "at_once": 1, "seconds": 30.0, "count": 3}
        film |= {"head": _head("PUT", "/upload/busy.mp4", size, key), "body": video.name}
        photo = {**film, "count": PICTURES, "body": picture.name, "body_bytes": PICTURE_BYTES}
        photo["head"] = _head("PUT", "/upload/photo.jpg", PICTURE_BYTES, key)
        words = {**photo, "body": "words   ", "head": photo["head"].replace("jpg", "txt")}
        idle = await load.round(**words)
        await load.round(**film)
        busy = await load.round(**photo)
    rows = [(f"time to 202, {PICTURES} × 5 MiB, one at a time", "p50 ms", "p99 ms")]
    for name, result, goals in (
        ("workers idle", idle, (" (goal 20)", "")),
        ("workers busy", busy, ("", " (goal 200)")),
    ):
        rows.append(
            (name, f"{result['p50_ms']:.1f}{goals[0]}", f"{result['p99_ms']:.1f}{goals[1]}")
        )
    return [
        *table(rows),
        f"start to ready {ours.ready_s:.1f} s; all processes in the end {ours.memory_mb():.0f} MB",
    ]


# --- tables -----------------------------------------------------------------------------------


def _compared(us: Entry, them: Entry, key: str = "rate") -> str:
    return spread(ratios(us.all(key), them.all(key)), digits=2)


def _table_of_small(entries: Sequence[Entry]) -> list[str]:
    raw, form, _, *peers = entries
    goals = {"nginx, PUT": "0.5", "@tus/server": "4"}
    title = f"100 KiB, {AT_ONCE} at once, {ROUNDS} rounds of {ROUND_S:.0f} s"
    rows = [(title, "uploads/s", "CPU µs each", "p99 ms", "raw is … times as fast", "goal")]
    for entry in entries:
        rows.append(
            (
                entry.name,
                spread(entry.all("rate")),
                spread(entry.all("cpu_us")),
                spread(entry.all("p99_ms")),
                _compared(raw, entry) if entry in peers else "",
                goals.get(entry.name, ""),
            )
        )
    return [*table(rows), f"form to raw: {_compared(form, raw)}, goal 0.8"]


def _table_of_reads(entries: Sequence[Entry]) -> list[str]:
    cache, database, nginx = entries
    title = f"GET /status, {AT_ONCE} at once"
    rows = [(title, "reads/s", "CPU µs each", "p99 ms", "load's share of a core")]
    for entry in entries:
        share = [r["client_cpu_s"] / r["took_s"] for r in entry.results]
        rows.append(
            (
                entry.name,
                spread(entry.all("rate")),
                spread(entry.all("cpu_us")),
                spread(entry.all("p99_ms")),
                spread(share, digits=2),
            )
        )
    return [
        *table(rows),
        f"cache to nginx: {_compared(cache, nginx)}, goal 0.25; "
        f"database to cache: {_compared(database, cache)}, goal 0.5",
    ]


def _table_of_large(entries: Sequence[Entry], ours: Appliance) -> list[str]:
    us, *peers = entries
    goals = {"nginx, PUT": "1.0", "@tus/server": "2.5"}
    rows = [("1 GiB, one at a time", "MB/s", "CPU s each", "ours is … times as fast", "goal")]
    for entry in entries:
        rows.append(
            (
                entry.name,
                spread(entry.all("rate")),
                spread([us / 1e6 for us in entry.all("cpu_us")], digits=2),
                _compared(us, entry) if entry in peers else "",
                goals.get(entry.name, ""),
            )
        )
    return [*table(rows), f"the server's own memory at its peak: {ours.peak_mb():.0f} MB, goal 100"]


# --- the peers --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    pid: int
    port: int
    folder: Path
    """Where it keeps what it takes."""


@contextmanager
def _nginx() -> Iterator[Peer]:
    with service("nginx") as variables:
        port = urlsplit(variables["NGINX_URL"]).port
        assert port is not None
        folder = Path(".services/nginx/files")
        try:
            yield Peer(int(Path(".services/pids/nginx").read_text()), port, folder)
        finally:
            _empty(folder)


@contextmanager
def _peer(*command: str, cwd: Path | None = None) -> Iterator[Peer]:
    """A server of one file that is told a folder and a port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="peer-", dir=Path.cwd() / "data"))
    process = subprocess.Popen((*command, str(folder), str(port)), cwd=cwd)
    try:
        _until_it_listens(port)
        yield Peer(process.pid, port, folder)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


def _cpu_s(pid: int) -> float:
    """Processor time of a process and those that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = time.clock_gettime(~pid << 3 | 2)  # the clock of another process: clock_getcpuclockid(3)
    return own + sum(_cpu_s(int(child)) for child in children)


def _free(folder: Path) -> None:
    """The room of the originals; their names stay, for they would be missed."""
    for original in folder.glob("raw/*/*"):
        os.truncate(original, 0)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _version(command: str, flag: str) -> str:
    path = shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        return "none"
    done = subprocess.run((path, flag), capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).strip().removeprefix("nginx version: ")
