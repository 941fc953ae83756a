"""What encryption at rest and scanning cost: the same appliance with and without, side by side."""

from __future__ import annotations

import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from bench.contestants import Contestant
from bench.rounds import ROUNDS, ratios, spread, table
from bench.server import Appliance
from bench.upload import AT_ONCE, NO_WORKERS, ROUND_S, SMALL_BYTES, put_head
from tests import media
from tests.clamd import Clamd

LARGE_BYTES = 256 * 1024**2
RANGE_BYTES = 64 * 1024
RANGES = 200
PICTURES = 10

Measured = Callable[[Appliance], Awaitable[float]]


async def run() -> str:
    async with AsyncExitStack() as stack:
        load = await stack.enter_async_context(Contestant("load"))
        key = b64encode(bytes(32)).decode()
        plain = await stack.enter_async_context(Appliance(**NO_WORKERS))
        sealed = await stack.enter_async_context(Appliance(**NO_WORKERS, encryption_key=key))
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def small(on: Appliance) -> float:
            result = await load.round(
                port=on.port, status=202, head=put_head(on, "a.txt", SMALL_BYTES), body="words ",
                body_bytes=SMALL_BYTES, seconds=ROUND_S, at_once=AT_ONCE,
            )  # fmt: skip
            return float(result["rate"])

        jobs: dict[Appliance, str] = {}

        async def large(on: Appliance) -> float:
            began = time.perf_counter()
            async with http.put(
                f"{on.url}/upload/a.pdf", data=_document(), headers=on.headers
            ) as response:
                assert response.status == 202, await response.text()
                jobs[on] = (await response.json())["jobId"]
            return LARGE_BYTES / 1e6 / (time.perf_counter() - began)

        async def download(on: Appliance) -> float:
            began = time.perf_counter()
            async with http.get(_original(on, jobs[on]), headers=on.headers) as response:
                async for _ in response.content.iter_any():
                    pass
            return LARGE_BYTES / 1e6 / (time.perf_counter() - began)

        async def parts(on: Appliance) -> float:
            began = time.perf_counter()
            for number in range(RANGES):
                start = number * 1_234_567 % (LARGE_BYTES - RANGE_BYTES)
                headers = {**on.headers, "Range": f"bytes={start}-{start + RANGE_BYTES - 1}"}
                async with http.get(_original(on, jobs[on]), headers=headers) as response:
                    assert len(await response.read()) == RANGE_BYTES
            return RANGES / (time.perf_counter() - began)

        rows = [(f"{ROUNDS} rounds", "without", "encrypted", "encrypted is … times as fast")]
        for name, measured in (
            (f"uploads of 100 KiB, {AT_ONCE} at once, 1/s", small),
            ("an upload of 256 MiB, MB/s", large),
            ("its download, MB/s", download),
            (f"parts of 64 KiB of it, {RANGES} in turn, 1/s", parts),
        ):
            rows.append((name, *await _compared(measured, plain, sealed)))
        lines = [*table(rows), ""]
    return "\n".join([*lines, *await _scanning()])


async def _compared(measured: Measured, *sides: Appliance) -> tuple[str, str, str]:
    found: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for side, figures in zip(sides, found, strict=True):
            figures.append(await measured(side))
    return spread(found[0]), spread(found[1]), spread(ratios(found[1], found[0]), digits=2)


async def _scanning() -> Sequence[str]:
    """From the upload of a picture to its results, one at a time."""
    picture = media.jpeg(4000, 3000)
    with tempfile.TemporaryDirectory() as folder:
        clamd = Clamd(Path(folder))
        await clamd.start()
        try:
            async with (
                Appliance() as without,
                Appliance(clamd_url=clamd.url) as scanned,
                aiohttp.ClientSession() as http,
            ):

                async def pictures(on: Appliance) -> float:
                    began = time.perf_counter()
                    for _ in range(PICTURES):
                        url = f"{on.url}/upload?filename=a.jpg"
                        async with http.post(url, data=picture, headers=on.headers) as response:
                            job = await response.json()
                        while job["status"] != "COMPLETED":
                            address = f"{on.url}/status/{job['jobId']}?wait=10"
                            async with http.get(address, headers=on.headers) as response:
                                job = await response.json()
                            assert job["status"] != "FAILED", job
                    return PICTURES / (time.perf_counter() - began)

                figures = await _compared(pictures, without, scanned)
        finally:
            await clamd.kill()
    name = f"pictures of {len(picture) / 1e6:.1f} MB from upload to result, 1/s"
    return table([("", "without", "scanned", "scanned is … times as fast"), (name, *figures)])


def _original(on: Appliance, job_id: str) -> str:
    return f"{on.url}/jobs/{job_id}/files/original"


async def _document() -> AsyncIterator[bytes]:
    block = bytes(1024 * 1024)
    yield b"%PDF-1.7\n" + block[9:]
    for _ in range(LARGE_BYTES // len(block) - 1):
        yield block
