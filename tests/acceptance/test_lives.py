"""Starting, stopping, and being killed at any time: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests import databases, media
from tests.acceptance.conftest import DEADLINE_S, Server

NewServer = Callable[..., Server]


def processes_of(server: Server) -> set[int]:
    """The server and everything below it."""
    assert server.process is not None
    found, frontier = set(), [server.process.pid]
    while frontier:
        pid = frontier.pop()
        found.add(pid)
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        frontier += [int(child) for child in children]
    return found


def alive(pids: set[int]) -> set[int]:
    def lives(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    return {pid for pid in pids if lives(pid)}


async def gone(pids: set[int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while alive(pids):
        assert time.monotonic() < deadline, alive(pids)
        await asyncio.sleep(0.01)


async def test_kill_9_in_the_middle_of_a_video_job(server: Server) -> None:
    video = media.long_film()
    job = await server.request("PUT", "/upload/long.mp4", data=io.BytesIO(video))
    job_id = job["jobId"]
    await server.until(job_id, lambda job: job["status"] == "PROCESSING" and job["progress"] > 0.05)
    family = processes_of(server)
    assert len(family) >= 6  # the server, four nurseries, a child
    await server.end(signal.SIGKILL)
    await gone(family)  # no orphan goes on working

    await server.start()
    job = await server.finished(job_id)
    assert job["status"] == "COMPLETED", job["error"]
    whole = await server.request("GET", f"/jobs/{job_id}")
    assert [attempt["outcome"] for attempt in whole["attempts"]] == ["lost", "completed"]
    original = await server.bytes_of(f"/jobs/{job_id}/files/original")
    assert hashlib.sha256(original).hexdigest() == hashlib.sha256(video).hexdigest()


async def test_kill_9_leaves_no_result_of_the_attempt_that_was_killed(server: Server) -> None:
    """A thumbnail is seen while the film is being transcoded, and goes with its attempt."""
    video = media.long_film()
    job_id = (await server.request("PUT", "/upload/long.mp4", data=io.BytesIO(video)))["jobId"]
    job = await server.until(job_id, lambda job: job["files"])
    assert job["status"] == "PROCESSING"
    assert job["files"][0]["name"] == "poster.webp"
    assert await server.bytes_of(job["files"][0]["url"])
    await server.end(signal.SIGKILL)
    rows = _result_keys(server)
    assert {key.split("/")[2] for key in rows} == {"1"}

    await server.start()
    job = await server.finished(job_id)
    assert job["status"] == "COMPLETED", job["error"]
    rows = _result_keys(server)
    assert {key.split("/")[2] for key in rows} == {"2"}
    assert len(rows) == len(job["files"])
    for file in job["files"]:
        content = await server.bytes_of(file["url"])
        assert hashlib.sha256(content).hexdigest() == file["sha256"]


def _result_keys(server: Server) -> list[str]:
    return [key for (key,) in databases.rows(server.data_dir, "SELECT storage_key FROM files")]


async def test_kill_9_under_uploads_loses_nothing_acknowledged(new_server: NewServer) -> None:
    """The clients' record of 202s lies here, outside the killed process."""
    server = new_server()
    acknowledged: dict[str, str] = {}
    chance = random.Random(2)

    async def keep_uploading(session: aiohttp.ClientSession, key: str) -> None:
        while True:
            content = b"text " + os.urandom(chance.randrange(1, 60_000)).hex().encode()
            try:
                async with session.put(
                    "/upload/a.txt", data=content, headers={"Authorization": f"Bearer {key}"}
                ) as response:
                    if response.status == 202:
                        job = await response.json()
                        acknowledged[job["jobId"]] = hashlib.sha256(content).hexdigest()
            except aiohttp.ClientError:
                return

    for _ in range(4):
        await server.start()
        enough = len(acknowledged) + chance.randrange(20, 120)
        async with aiohttp.ClientSession(server.url) as session:
            clients = [asyncio.create_task(keep_uploading(session, server.key)) for _ in range(8)]
            deadline = time.monotonic() + DEADLINE_S
            while len(acknowledged) < enough:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
            await server.end(signal.SIGKILL)
            await asyncio.gather(*clients)

    await server.start()
    for job_id, sha256 in acknowledged.items():
        job = await server.finished(job_id)
        assert job["status"] == "COMPLETED"
        assert job["sha256"] == sha256
        content = (server.data_dir / "files/raw" / job_id / "a.txt").read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
    assert list((server.data_dir / "files/incoming").iterdir()) == []
    assert await server.end() == 0


async def test_sigterm_drains_and_ends_with_0(server: Server) -> None:
    jobs = [
        await server.request("PUT", f"/upload/{n}.jpg", data=media.jpeg(1600, 1200))
        for n in range(4)
    ]
    family = processes_of(server)
    assert await server.end() == 0
    assert alive(family) == set()
    await server.start()
    for job in jobs:
        done = await server.finished(job["jobId"])
        assert (done["status"], done["attempt"]) == ("COMPLETED", 1)  # no attempt was burnt


async def test_a_long_job_is_handed_back_when_the_grace_is_over(new_server: NewServer) -> None:
    server = new_server(drain_s="0.5")
    await server.start()
    job = await server.request("PUT", "/upload/long.mp4", data=io.BytesIO(media.long_film()))
    await server.until(job["jobId"], lambda job: job["status"] == "PROCESSING")
    assert await server.end() == 0
    await server.start()
    whole = await server.request("GET", f"/jobs/{job['jobId']}")
    assert whole["attempts"][0]["outcome"] == "handed_back"


async def test_an_upload_under_way_at_sigterm_is_finished(server: Server) -> None:
    """What was begun is answered; nobody is left with a broken connection for no reason."""
    head_sent = asyncio.Event()
    stopping = asyncio.Event()
    first_half = b"first half, " * 250_000  # too much to be held in memory until its end

    async def body() -> AsyncIterator[bytes]:
        yield first_half
        head_sent.set()
        await stopping.wait()
        yield b"second half"

    uploading = asyncio.create_task(server.request("PUT", "/upload/a.txt", data=body()))
    await head_sent.wait()
    incoming = server.data_dir / "files/incoming"
    while not [path for path in incoming.iterdir() if path.stat().st_size]:
        await asyncio.sleep(0.01)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    while not any("Stopping" in line for line in server.output):
        await asyncio.sleep(0.01)
    stopping.set()
    job = await uploading
    assert await server.end() == 0
    original = server.data_dir / "files/raw" / job["jobId"] / "a.txt"
    assert original.read_bytes() == first_half + b"second half"


@pytest.mark.parametrize("victim", ["nursery", "child"])
async def test_a_killed_media_process_costs_one_attempt(server: Server, victim: str) -> None:
    job = await server.request("PUT", "/upload/long.mp4", data=io.BytesIO(media.long_film()))
    await server.until(job["jobId"], lambda job: job["status"] == "PROCESSING" and job["step"])
    child = await _child_of(server)
    os.kill(child if victim == "child" else _parent(child), signal.SIGKILL)
    await server.until(job["jobId"], lambda job: job["status"] == "RETRYING")
    done = await server.finished(job["jobId"])
    assert (done["status"], done["attempt"]) == ("COMPLETED", 2)


async def _child_of(server: Server) -> int:
    """The one process that works on a file; it may just be being forked."""
    assert server.process is not None
    deadline = time.monotonic() + DEADLINE_S
    while True:
        below = processes_of(server) - {server.process.pid}
        children = [pid for pid in alive(below) if _parent(pid) != server.process.pid]
        if children:
            (child,) = children
            return child
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_second_server_on_the_same_data_is_refused(
    server: Server, new_server: NewServer
) -> None:
    second = new_server()
    with pytest.raises(AssertionError, match="another appliance runs"):
        await second.start()
    assert second.process is not None
    assert await second.process.wait() == 2
