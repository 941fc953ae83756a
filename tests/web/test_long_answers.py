"""Answers that take long: nothing is held for a client that is gone, and nothing is left out."""

from __future__ import annotations

import asyncio
import io
import os
import time

import aiohttp

from appliance.web.events import MOST
from tests.conftest import Serve


def open_originals() -> int:
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum("/raw/" in os.readlink(link) for link in links if os.path.islink(link))


async def test_a_download_that_is_broken_off_leaves_no_file_open(serve: Serve) -> None:
    served = await serve()
    job = await served.json("PUT", "/upload/big.txt", data=io.BytesIO(b"x" * 2**20 * 8))
    for _ in range(5):
        answer = await served.admin.get(f"/jobs/{job['jobId']}/files/original")
        await answer.content.readexactly(1000)
        answer.close()
    deadline = time.monotonic() + 10
    while open_originals():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_range_that_covers_the_whole_file_is_still_a_range(serve: Serve) -> None:
    """Players ask for `0-` and take nothing but a 206 for an answer."""
    served = await serve()
    job = await served.json("PUT", "/upload/a.txt", data=b"0123456789")
    for asked in ("bytes=0-", "bytes=0-9", "bytes=-10"):
        async with served.admin.get(
            f"/jobs/{job['jobId']}/files/original", headers={"Range": asked}
        ) as answer:
            assert (answer.status, answer.headers["Content-Range"]) == (206, "bytes 0-9/10")
            assert await answer.read() == b"0123456789"


async def test_who_comes_back_after_long_is_told_of_every_job(serve: Serve) -> None:
    served = await serve()
    count = MOST + 40
    form = aiohttp.FormData()
    for number in range(count):
        form.add_field("file", f"{number}", filename=f"{number}.txt")
    jobs = (await served.json("POST", "/upload", data=form))["jobs"]
    missing = {job["jobId"] for job in jobs}
    assert len(missing) == count
    async with served.admin.get("/events", headers={"Last-Event-ID": "0"}) as stream:
        async for line in stream.content:
            if line.startswith(b"data: "):
                missing.discard(line.split(b'"jobId":"')[1][:26].decode())
            if not missing:
                break


async def test_a_header_of_somebody_elses_harms_no_public_route(serve: Serve) -> None:
    served = await serve()
    for header in ("Basic eDp5", "Bearer unknown"):
        async with served.anonymous.get("/healthz", headers={"Authorization": header}) as answer:
            assert answer.status == 200
