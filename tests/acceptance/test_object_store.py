"""The whole appliance on an object store: every way in, the work, every way out, and a kill."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests import buckets, databases, media
from tests.acceptance.conftest import Server

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = TUS | {"Content-Type": "application/offset+octet-stream"}
MIB = 1024**2
GZIP = bytes.fromhex("1f8b0800000000000003")

NewServer = Callable[..., Server]


@pytest.fixture(params=["swift", "gcs"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def server(new_server: NewServer, tmp_path: Path, kind: str) -> Server:
    await (await buckets.bucket(kind, prefix="any")).close()
    server = new_server(storage_url=buckets.url(kind, prefix=tmp_path.name))
    server.environ.update(buckets.environ(kind))
    await server.start()
    return server


def session_of(server: Server) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {server.key}"})


async def tus_begin(server: Server, name: str, size_bytes: int) -> str:
    headers = TUS | {
        "Upload-Length": str(size_bytes),
        "Upload-Metadata": f"filename {base64.b64encode(name.encode()).decode()}",
    }
    async with session_of(server) as session, session.post("/files", headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return answer.headers["Location"].removeprefix(server.url)


async def test_in_by_every_way_worked_on_and_out_again(server: Server, kind: str) -> None:
    noise = random.Random(1).randbytes(21 * MIB)
    photo, film = media.jpeg(1200, 900), media.mp4(1, 320, 240)
    async with session_of(server) as session:
        form = aiohttp.FormData()
        form.add_field("file", photo, filename="käse ☃.jpg")
        form.add_field("file", media.pdf(1, "Hello"), filename="paper.pdf")
        async with session.post("/upload", data=form) as answer:
            assert answer.status == 202, await answer.text()
            ids = [job["jobId"] for job in (await answer.json())["jobs"]]
    ids.append((await server.request("PUT", "/upload/film.mp4", data=film))["jobId"])
    raw = await server.request("PUT", "/upload/noise.txt.gz", data=io.BytesIO(GZIP + noise))
    place = await tus_begin(server, "again.gz", len(GZIP) + len(noise))
    whole, at = GZIP + noise, 0
    async with session_of(server) as session:
        for end in (3 * MIB, 14 * MIB, len(whole)):
            headers = PATCH | {"Upload-Offset": str(at)}
            async with session.patch(
                place, headers=headers, data=io.BytesIO(whole[at:end])
            ) as answer:
                assert answer.status == 204, await answer.text()
                at = int(answer.headers["Upload-Offset"])
    ids += [raw["jobId"], place.rpartition("/")[2]]
    jobs = [await server.finished(job_id) for job_id in ids]
    assert [job["status"] for job in jobs] == ["COMPLETED"] * 5, jobs
    assert await server.bytes_of(f"/jobs/{ids[0]}/files/original") == photo
    assert {file["name"] for file in jobs[0]["files"]} >= {"thumbnail.webp"}
    for file in (one for job in jobs for one in job["files"]):
        assert hashlib.sha256(await server.bytes_of(file["url"])).hexdigest() == file["sha256"]
    for job_id in ids[3:]:
        assert await server.bytes_of(f"/jobs/{job_id}/files/original") == whole
    async with session_of(server) as session:
        path = f"/jobs/{ids[4]}/files/original"
        headers = {"Range": "bytes=8388600-8388700"}
        async with session.get(path, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (206, whole[8388600:8388701])
        async with session.get(f"/jobs/{ids[0]}/archive") as answer:
            assert photo in await answer.read()
        for job_id in ids:
            async with session.delete(f"/jobs/{job_id}") as answer:
                assert answer.status == 204
    assert not await objects(server, kind)
    assert not list((server.data_dir / "spool").iterdir())


async def test_kill_9_in_the_middle_of_uploads_loses_nothing_acknowledged(
    server: Server, kind: str
) -> None:
    whole = GZIP + random.Random(2).randbytes(20 * MIB)
    place = await tus_begin(server, "whole.gz", len(whole))
    kept = await server.request("PUT", "/upload/kept.txt", data=b"kept " * 1000)
    reached = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for at in range(0, 12 * MIB, MIB):
            yield whole[at : at + MIB]
        reached.set()
        await asyncio.sleep(60)

    async def send(method: str, path: str, headers: dict[str, str]) -> None:
        async with session_of(server) as session:
            await session.request(method, path, headers=headers, data=body())

    tasks = [
        asyncio.create_task(send("PATCH", place, PATCH | {"Upload-Offset": "0"})),
        asyncio.create_task(send("PUT", "/upload/half.gz", {})),
    ]
    await asyncio.wait_for(reached.wait(), 30)
    await server.end(signal.SIGKILL)
    for task in tasks:
        with pytest.raises(aiohttp.ClientError):
            await task
    await server.start()
    assert not list((server.data_dir / "spool").iterdir())
    assert (await server.finished(kept["jobId"]))["status"] == "COMPLETED"
    assert await server.bytes_of(f"/jobs/{kept['jobId']}/files/original") == b"kept " * 1000
    async with session_of(server) as session:
        async with session.head(place, headers=TUS) as answer:
            at = int(answer.headers["Upload-Offset"])
        headers = PATCH | {"Upload-Offset": str(at)}
        async with session.patch(place, headers=headers, data=io.BytesIO(whole[at:])) as answer:
            assert answer.status == 204
    job_id = place.rpartition("/")[2]
    assert (await server.finished(job_id))["status"] == "COMPLETED"
    assert await server.bytes_of(f"/jobs/{job_id}/files/original") == whole
    found = await objects(server, kind)
    assert {key.split("/")[1] for key in found} == {kept["jobId"], job_id}, found


async def objects(server: Server, kind: str) -> set[str]:
    bucket = await buckets.bucket(kind, prefix=server.data_dir.parent.name)
    try:
        return {entry.key async for entry in bucket.entries("")}
    finally:
        await bucket.close()


async def test_backed_up_into_a_bucket_and_restored_into_another(
    server: Server, new_server: NewServer, tmp_path: Path, kind: str
) -> None:
    content = GZIP + random.Random(2).randbytes(MIB)
    job = await server.request("PUT", "/upload/käse ☃.gz", data=io.BytesIO(content))
    assert (await server.finished(job["jobId"]))["status"] == "COMPLETED"
    place = buckets.url(kind, prefix=f"{tmp_path.name}-backups")
    await command(server, "backup", place)
    await command(server, "verify", place)
    await server.end()

    again = new_server(
        tmp_path / "again", storage_url=buckets.url(kind, prefix=f"{tmp_path.name}-again")
    )
    again.environ.update(buckets.environ(kind))
    await command(again, "restore", place)
    await again.start()
    assert await again.bytes_of(f"/jobs/{job['jobId']}/files/original") == content


async def command(server: Server, *arguments: str) -> None:
    """One of the server's own machine, with its settings."""
    settings = {f"APPLIANCE_{name.upper()}": value for name, value in server.settings.items()}
    process = await asyncio.create_subprocess_exec(
        *server.command, *arguments,
        env={"PATH": os.environ["PATH"], **databases.variables(server.data_dir),
             **settings, **server.environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
