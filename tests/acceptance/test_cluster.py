"""Two servers and two workers on PostgreSQL, RabbitMQ, Redis and an S3 store, as DIAGRAMS.md draws
them: each a process, which may be killed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from appliance.ids import new_id
from tests import brokers, buckets, databases, media
from tests.acceptance.conftest import DEADLINE_S, Server
from tests.services import needed

ROOT = Path(__file__).resolve().parents[2]
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {"Content-Type": "application/offset+octet-stream"}
KEY = "upa_the-admin-key-of-the-cluster"


class Worker(Server):
    verb = "worker"
    ready = r"Works on (.*) \("


@dataclass
class Cluster:
    servers: list[Server]
    workers: list[Server]

    def session(self, number: int = 0) -> aiohttp.ClientSession:
        url = self.servers[number % len(self.servers)].url
        return aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {KEY}"})


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    databases.server()  # or it is not there
    namespace = new_id()
    await (await buckets.bucket("moto", prefix="any")).close()
    settings = {
        "database_url": databases.postgres_at(tmp_path),
        "queue_url": brokers.url(namespace),
        "cache_url": f"{needed('REDIS_URL', 'redis')}?namespace={namespace}",
        "storage_url": buckets.url("moto", prefix=tmp_path.name),
        "admin_key": KEY,
        "heartbeat_timeout_s": "3",
        "stale_after_s": "3",
        "drain_s": "10",
    }
    servers = [
        Server(tmp_path / f"server-{number}", **settings, port=str(free_port()))
        for number in range(2)
    ]
    workers: list[Server] = [Worker(tmp_path / f"worker-{number}", **settings) for number in (1, 2)]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(brokers.names_of_its_own(namespace))
        for one in (*servers, *workers):
            one.environ.update(buckets.environ("moto"))
            one.options = ("--no-workers",) if one in servers else ()
            stack.push_async_callback(end, one)
        await servers[0].start()  # it migrates; the others find it done
        await asyncio.gather(*(one.start() for one in (servers[1], *workers)))
        yield Cluster(servers, workers)


async def end(one: Server) -> None:
    if one.process is not None:
        await one.end(signal.SIGKILL)


async def finished(http: aiohttp.ClientSession, job_id: str) -> str:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with http.get(f"/status/{job_id}", params={"wait": "10"}) as response:
                status: str = (await response.json())["status"]
            if status in ("COMPLETED", "FAILED", "CANCELLED"):
                return status


async def test_what_one_server_takes_another_tells_and_either_worker_does(
    cluster: Cluster,
) -> None:
    photo, film = media.jpeg(600, 400), media.mp4(1, 320, 240)
    files = [("cat.jpg", photo), ("film.mp4", film), ("doc.pdf", media.pdf()), ("a.txt", b"words")]
    async with cluster.session(0) as one, cluster.session(1) as other:
        jobs = {}
        for number, (name, content) in enumerate(files * 3):
            async with (one, other)[number % 2].put(f"/upload/{name}", data=content) as response:
                assert response.status == 202, await response.text()
                jobs[(await response.json())["jobId"]] = content
        for number, (job_id, content) in enumerate(jobs.items()):
            http = (other, one)[number % 2]
            assert await finished(http, job_id) == "COMPLETED"
            async with http.get(f"/jobs/{job_id}/files/original") as response:
                assert await response.read() == content
        held = set()
        for job_id in jobs:
            async with one.get(f"/jobs/{job_id}") as response:
                (attempt,) = (await response.json())["attempts"]
                held.add(attempt["worker"])
        assert len(held) == 2, "both workers had some"
        async with one.get("/readyz") as response:
            parts = (await response.json())["parts"]
        assert "queue" not in parts
        assert "cache" not in parts
        async with one.get("/dashboard", headers={"Accept": "text/html"}) as response:
            assert response.status == 200


async def test_nothing_acknowledged_is_lost_whoever_is_killed(
    cluster: Cluster, chance: random.Random
) -> None:
    acknowledged: dict[str, str] = {}
    unanswered = 0

    async def send(number: int) -> None:
        nonlocal unanswered
        content = chance.randbytes(chance.randrange(1, 100_000)).hex().encode()
        try:
            async with (
                cluster.session(number) as http,
                http.put(f"/upload/{number}.txt", data=content) as response,
            ):
                if response.status == 202:
                    job = await response.json()
                    acknowledged[job["jobId"]] = hashlib.sha256(content).hexdigest()
        except aiohttp.ClientError:
            unanswered += 1

    for round_number in range(3):
        sending = [asyncio.create_task(send(number)) for number in range(20)]
        await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        victim = (cluster.workers[0], cluster.servers[1], cluster.workers[1])[round_number]
        await victim.end(signal.SIGKILL)
        await asyncio.wait(sending)
        await victim.start()
    assert len(acknowledged) > 20
    async with cluster.session(0) as http:
        for job_id, digest in acknowledged.items():
            assert await finished(http, job_id) == "COMPLETED"
            async with http.get(f"/jobs/{job_id}/files/original") as response:
                assert hashlib.sha256(await response.read()).hexdigest() == digest


async def test_events_of_one_server_s_jobs_are_heard_at_the_other(cluster: Cluster) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        cluster.session(0) as one,
        cluster.session(1) as other,
        one.get("/events") as stream,
    ):
        assert (await stream.content.readuntil(b"\n\n")).startswith(b"retry")
        async with other.put("/upload/a.txt", data=b"words") as response:
            job_id = (await response.json())["jobId"]
        told = b""
        while job_id.encode() not in told or b"COMPLETED" not in told:
            told += await stream.content.readuntil(b"\n\n")


@asynccontextmanager
async def behind_nginx(cluster: Cluster, folder: Path) -> AsyncIterator[str]:
    """With the map and the upstream of docs/scale-out.md; the address of nginx."""
    page = (ROOT / "docs/scale-out.md").read_text(encoding="utf-8")
    (upstream,) = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    for number, server in enumerate(cluster.servers):
        there = f"10.0.0.1{number + 1}:8080"
        assert upstream.count(there) == 1
        upstream = upstream.replace(there, server.url.removeprefix("http://"))
    port = free_port()
    paths = "\n".join(
        f"{kind}_temp_path {folder / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"{user} daemon off; worker_processes 1; pid {folder / 'nginx.pid'};\n"
        f"error_log {folder / 'error.log'};\nevents {{ worker_connections 512; }}\n"
        f"http {{ access_log off; {paths}\n{upstream}\n"
        f"server {{ listen 127.0.0.1:{port}; client_max_body_size 0;\n"
        "location / { proxy_pass http://appliance; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; proxy_set_header Host $http_host;\n'
        "proxy_request_buffering off; proxy_buffering off; } } }\n"
    )
    nginx = await asyncio.create_subprocess_exec(
        NGINX, "-e", str(folder / "error.log"), "-c", str(config)
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        await nginx.wait()


async def offset_of(http: aiohttp.ClientSession, upload: str) -> int:
    """Asked again, as clients do, while nginx takes both servers to be gone: for 5 s at most."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with http.head(upload) as answer:
                if answer.status != 502:
                    return int(answer.headers["Upload-Offset"])
            await asyncio.sleep(0.1)


async def test_an_upload_through_nginx_goes_on_when_its_server_is_gone(
    cluster: Cluster, tmp_path: Path, chance: random.Random
) -> None:
    content = chance.randbytes(450_000).hex().encode()
    pieces = [content[at : at + 300_000] for at in range(0, len(content), 300_000)]
    name = base64.b64encode(b"words.txt").decode()
    async with (
        behind_nginx(cluster, tmp_path) as url,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}", **TUS}) as http,
    ):
        begin = {"Upload-Length": str(len(content)), "Upload-Metadata": f"filename {name}"}
        async with http.post(f"{url}/files", headers=begin) as answer:
            assert answer.status == 201, await answer.text()
            upload = f"{url}/files/{answer.headers['Location'].rpartition('/')[2]}"
        offset = 0
        for number, piece in enumerate(pieces):
            headers = {"Upload-Offset": str(offset), **PATCH}
            async with http.patch(upload, data=piece, headers=headers) as answer:
                assert answer.status == 204, await answer.text()
            offset += len(piece)
            if number < 2:  # one of the two is the one to which nginx leads
                await cluster.servers[number].end(signal.SIGKILL)
                assert await offset_of(http, upload) == offset
                await cluster.servers[number].start()
        job_id = upload.rpartition("/")[2]
    async with cluster.session(0) as http:
        assert await finished(http, job_id) == "COMPLETED"
        async with http.get(f"/jobs/{job_id}/files/original") as response:
            assert await response.read() == content


async def test_a_worker_needs_what_can_be_shared(tmp_path: Path) -> None:
    alone = Worker(tmp_path / "alone")
    with pytest.raises(AssertionError, match="APPLIANCE_DATABASE_URL: a worker shares it"):
        await alone.start()
    await end(alone)
