"""Many uploads by tus at once, cut at random bytes: clients go away, fall silent or are killed, and
the server is killed. All finish, and what arrived is what was sent.

A short form by default; APPLIANCE_TEST_TRANSFERS=500 (`make torture-uploads`) is the long one.
APPLIANCE_TEST_SEED repeats one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.acceptance.conftest import Server

TRANSFERS = int(os.environ.get("APPLIANCE_TEST_TRANSFERS", "10"))
SEED = int(os.environ.get("APPLIANCE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
AT_ONCE = 8
OCTETS = "application/offset+octet-stream"
CUTS = {"goes away": 45, "falls silent": 20, "curl is killed": 15, "server is killed": 10}
"""How a transfer is cut, and how often each."""
DEADLINE_S = 60.0
LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


class Scene:
    """A server that dies now and then and comes back at the same address, and what happened."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.happened: Counter[str] = Counter()
        self._up = asyncio.Event()
        self._killing = asyncio.Lock()
        self._opened: list[asyncio.StreamWriter] = []
        self.http: aiohttp.ClientSession

    async def start(self) -> None:
        await self.server.start()
        self._up.set()

    async def kill(self) -> None:
        async with self._killing:
            self._up.clear()
            await self.server.end(signal.SIGKILL)
            await self.server.start()
            self._up.set()

    async def send(self, method: str, url: str, **options: Any) -> aiohttp.ClientResponse:
        """A request that is repeated while the server is away; not where it may have had effect."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await self._up.wait()
                with suppress(*LOST):
                    async with self.http.request(method, url, **options) as response:
                        if response.status != 503:
                            return response
                await asyncio.sleep(0.02)

    async def once(self, method: str, url: str, **options: Any) -> aiohttp.ClientResponse | None:
        """A request whose answer may be lost: None."""
        await self._up.wait()
        with suppress(*LOST):
            async with self.http.request(method, url, **options) as response:
                await response.read()
                return response if response.status != 503 else None
        return None

    # --- how a transfer is cut ------------------------------------------------------------------

    async def cut(self, kind: str, url: str, fields: dict[str, str], body: bytes, at: int) -> None:
        """Send a PATCH of `body`, but no more than its first `at` bytes."""
        self.happened[kind] += 1
        with suppress(*LOST):
            if kind == "curl is killed":
                await self._kill_curl(url, fields, body, at)
                return
            await self._up.wait()
            address = urlsplit(url)
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            self._opened.append(writer)
            lines = [f"{name}: {value}" for name, value in fields.items()]
            head = [f"PATCH {address.path} HTTP/1.1", f"Host: {address.netloc}", *lines]
            length = f"Content-Length: {len(body)}"
            writer.write("\r\n".join([*head, length, "", ""]).encode() + body[:at])
            await writer.drain()
            if kind == "server is killed":
                await self.kill()
            if kind != "falls silent":
                writer.transport.abort()

    async def _kill_curl(self, url: str, fields: dict[str, str], body: bytes, at: int) -> None:
        """A real process, when about so much of what it sends has arrived."""
        sent = self.folder / f"{url.rpartition('/')[2]}.sent"
        sent.write_bytes(body)
        partial = self.server.data_dir / "files/partial" / url.rpartition("/")[2]
        wanted = int(fields["Upload-Offset"]) + at
        told = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
        process = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--limit-rate", "20M", "-X", "PATCH", *told,
            "--data-binary", f"@{sent}", url, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        ended = asyncio.create_task(process.wait())
        while not ended.done():
            if not partial.exists() or partial.stat().st_size >= wanted:
                process.kill()
                break
            await asyncio.wait((ended,), timeout=0.002)
        await ended
        sent.unlink()

    async def close(self) -> None:
        for writer in self._opened:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


class Transfer:
    """One file on its way, by a client that does as tus says and never gives up."""

    def __init__(self, scene: Scene, number: int, chance: random.Random) -> None:
        self.scene = scene
        self.number = number
        self.chance = chance
        size = int(64 * (64_000 ** chance.random()))  # 64 B to 4 MB, small ones as often as large
        self.data = chance.randbytes(size // 2 + 1).hex().encode()[:size]
        name = base64.b64encode(f"{number}.txt".encode()).decode()
        self.metadata = f"filename {name}"
        self.job_id: str | None = None
        self.joined_again = False
        """The answer to a request that joins was lost; repeating it may make a second job."""

    async def run(self) -> None:
        kinds = [self._plain] * 8 + [self._in_parts] * 2
        self.job_id = await self.chance.choice(kinds)()

    async def _plain(self) -> str | None:
        deferred = self.chance.random() < 0.2
        url = await self._create(None if deferred else len(self.data), self.metadata)
        return await self._send_all(url, self.data, deferred=deferred)

    async def _in_parts(self) -> str | None:
        middle = self.chance.randrange(len(self.data))
        pieces = [self.data[:middle], self.data[middle:]]
        urls = [await self._create(len(piece), None) for piece in pieces]
        await asyncio.gather(
            *(self._send_all(url, piece) for url, piece in zip(urls, pieces, strict=True))
        )
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Concat": f"final;{' '.join(urls)}",
            "Upload-Metadata": self.metadata,
        }
        while True:
            response = await self.scene.once("POST", self._files, headers=headers)
            if response is not None and response.status == 201:
                return response.headers["Upload-Job-Id"]
            if response is not None and response.status == 404:
                return None  # it was joined, but the answer was lost with the server
            assert response is None, await response.text()
            self.joined_again = True

    @property
    def _files(self) -> str:
        return f"{self.scene.server.url}/files"

    async def _create(self, length: int | None, metadata: str | None) -> str:
        headers = {"Tus-Resumable": "1.0.0"}
        headers |= (
            {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        )
        if metadata is None:
            headers["Upload-Concat"] = "partial"
        else:
            headers["Upload-Metadata"] = metadata
        response = await self.scene.send("POST", self._files, headers=headers)
        assert response.status == 201, response
        return self._files + response.headers["Location"].removeprefix("/files")

    async def _send_all(self, url: str, data: bytes, *, deferred: bool = False) -> str | None:
        told = 0
        cuts = self.chance.randint(1, 3)
        while True:
            head = await self.scene.send("HEAD", url, headers={"Tus-Resumable": "1.0.0"})
            assert head.status == 200, head
            offset = int(head.headers["Upload-Offset"])
            assert offset >= told, f"{offset} where {told} was acknowledged"
            told = offset
            if head.headers.get("Upload-Length") == str(offset) == str(len(data)):
                return head.headers.get("Upload-Job-Id")
            body = data[offset : offset + self.chance.choice([2**30, len(data) // 3 + 1])]
            fields = {
                "Authorization": f"Bearer {self.scene.server.key}",
                "Tus-Resumable": "1.0.0",
                "Content-Type": OCTETS,
                "Upload-Offset": str(offset),
            }
            if self.chance.random() < 0.2:
                digest = base64.b64encode(hashlib.sha1(body).digest()).decode()
                fields["Upload-Checksum"] = f"sha1 {digest}"
            if deferred and offset + len(body) == len(data):
                fields["Upload-Length"] = str(len(data))
            if cuts:
                cuts -= 1
                (kind,) = self.chance.choices(list(CUTS), list(CUTS.values()))
                await self.scene.cut(kind, url, fields, body, self.chance.randint(0, len(body)))
                continue
            response = await self.scene.once("PATCH", url, data=io.BytesIO(body), headers=fields)
            if response is not None and response.status == 409:
                continue  # what an older request had on its way came after HEAD: look again
            if response is not None:
                assert response.status == 204, await response.text()
                told = int(response.headers["Upload-Offset"])
                assert told == offset + len(body)


@pytest.mark.timeout(120 + 4 * TRANSFERS)
async def test_uploads_that_are_cut_at_random_bytes_all_arrive(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    began = time.monotonic()
    scene = Scene(new_server(port=str(free_port()), max_open_uploads="9999"), tmp_path)
    await scene.start()
    transfers = [Transfer(scene, n, random.Random(f"{SEED}/{n}")) for n in range(TRANSFERS)]
    key = {"Authorization": f"Bearer {scene.server.key}"}
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(headers=key, connector=connector) as scene.http:
        waiting = iter(transfers)

        async def client() -> None:
            for transfer in waiting:
                try:
                    await transfer.run()
                except BaseException as error:
                    error.add_note(f"transfer {transfer.number}, APPLIANCE_TEST_SEED={SEED}")
                    raise

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(client())
        finally:
            await scene.close()
        await scene.kill()  # once more: what was acknowledged was durable
        await all_arrived(scene, transfers)
    cuts = ", ".join(f"{kind} {count}" for kind, count in sorted(scene.happened.items()))
    megabytes = sum(len(one.data) for one in transfers) / 1e6
    sys.stdout.write(
        f"{TRANSFERS} transfers ({megabytes:.0f} MB) in {time.monotonic() - began:.0f} s, "
        f"seed {SEED}; cuts: {cuts}; lost or changed: 0\n"
    )


async def all_arrived(scene: Scene, transfers: list[Transfer]) -> None:
    """One job each, with the very bytes."""
    jobs: dict[str, list[str]] = {}
    cursor = ""
    while True:
        page = await scene.server.request("GET", f"/jobs?limit=100{cursor}")
        for job in page["jobs"]:
            jobs.setdefault(job["filename"], []).append(job["jobId"])
        if not page.get("nextCursor"):
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert len(jobs) == len(transfers)
    for transfer in transfers:
        made = jobs[f"{transfer.number}.txt"]
        assert len(made) == 1 or transfer.joined_again
        assert transfer.job_id is None or transfer.job_id in made
        for job_id in made:
            job = await scene.server.request("GET", f"/status/{job_id}")
            assert job["sizeBytes"] == len(transfer.data)
            assert job["sha256"] == hashlib.sha256(transfer.data).hexdigest()
            stored = scene.server.data_dir / "files/raw" / job_id / job["filename"]
            assert stored.read_bytes() == transfer.data, job["filename"]
