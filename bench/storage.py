"""Files into an S3 store through the appliance, beside the same files from obstore, directly.

The store is Swift with its s3api, of one process each (scripts/services), on the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

import aiohttp
import obstore
from obstore.store import S3Store

from appliance.clock import SystemClock
from appliance.errors import StorageRefused
from appliance.ids import new_id
from appliance.storage.buckets.s3 import S3Bucket
from appliance.storage.buckets.s3_credentials import CredentialSource
from appliance.store_urls import parse_bucket_url
from bench.rounds import ratios, spread, table
from bench.server import Appliance
from bench.upload import NO_WORKERS

ROUNDS = 3
LARGE_BYTES = 1024**3
SMALL_BYTES = 100 * 1024
SMALL_FILES = 1000
AT_ONCE = 8
BUCKET = "bench"
BLOCK = bytes(1024 * 1024)

Measured = Callable[[], Awaitable[float]]


async def run() -> str:
    swift = _swift()
    keys = {
        "AWS_ACCESS_KEY_ID": swift["SWIFT_KEY"],
        "AWS_SECRET_ACCESS_KEY": swift["SWIFT_SECRET"],
    }
    at = f"?endpoint={quote(swift['SWIFT_URL'])}"
    whole = parse_bucket_url(f"s3://{BUCKET}{at}")
    bucket = S3Bucket(whole, CredentialSource(keys), region="us-east-1", clock=SystemClock())
    with contextlib.suppress(StorageRefused):  # it is there from an earlier run
        await bucket.ask("PUT", None)
    direct = S3Store(
        BUCKET,
        prefix="theirs",
        endpoint=swift["SWIFT_URL"],
        access_key_id=keys["AWS_ACCESS_KEY_ID"],
        secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )
    try:
        async with (
            Appliance(keys, **NO_WORKERS, storage_url=f"s3://{BUCKET}/ours{at}") as ours,
            aiohttp.ClientSession(headers=ours.headers) as http,
        ):

            async def large_ours() -> float:
                began = time.perf_counter()
                await _put(http, f"{ours.url}/upload/a.pdf", _document())
                return LARGE_BYTES / 1e6 / (time.perf_counter() - began)

            async def large_theirs() -> float:
                began = time.perf_counter()
                await obstore.put_async(direct, f"raw/{new_id()}/a.pdf", _document())
                return LARGE_BYTES / 1e6 / (time.perf_counter() - began)

            text = b"words " * (SMALL_BYTES // 6)

            async def small_ours() -> float:
                return await _many(lambda: _put(http, f"{ours.url}/upload/a.txt", text))

            async def small_theirs() -> float:
                return await _many(lambda: obstore.put_async(direct, f"raw/{new_id()}/a.txt", text))

            rows = [(f"{ROUNDS} rounds", "directly", "through us", "through us is … times as fast")]
            for name, theirs, mine in (
                (f"{SMALL_FILES:,} × 100 KiB, {AT_ONCE} at once, 1/s", small_theirs, small_ours),
                ("1 GiB, MB/s", large_theirs, large_ours),
            ):
                rows.append((name, *await _compared(theirs, mine)))
            peak = f"The server's own process took {ours.peak_mb():.0f} MB at most."
    finally:
        await bucket.delete([entry.key async for entry in bucket.entries("")])
        await bucket.close()
    return "\n".join([*table(rows), "", peak])


def _swift() -> dict[str, str]:
    subprocess.run(("scripts/services", "start", "swift"), check=True)
    told = subprocess.check_output(("scripts/services", "env", "swift"), text=True)
    return dict(line.split("=", 1) for line in told.splitlines())


async def _compared(*sides: Measured) -> tuple[str, str, str]:
    found: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for side, figures in zip(sides, found, strict=True):
            figures.append(await side())
    return spread(found[0]), spread(found[1]), spread(ratios(found[1], found[0]), digits=2)


async def _many(send: Callable[[], Awaitable[object]]) -> float:
    left = iter(range(SMALL_FILES))
    began = time.perf_counter()

    async def some() -> None:
        for _ in left:
            await send()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return SMALL_FILES / (time.perf_counter() - began)


async def _put(http: aiohttp.ClientSession, url: str, data: bytes | AsyncIterator[bytes]) -> None:
    async with http.put(url, data=data) as response:
        assert response.status == 202, await response.text()
        await response.read()


async def _document() -> AsyncIterator[bytes]:
    yield b"%PDF-1.7\n" + BLOCK[9:]
    for _ in range(LARGE_BYTES // len(BLOCK) - 1):
        yield BLOCK
