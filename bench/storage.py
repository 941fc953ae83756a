"""Files into an S3 store and out of it through the appliance, beside the same with the store alone.

The store is Swift with its s3api, of one process each (scripts/services), on the same machine, so
all share its cores: what the appliance costs itself, the store lacks.

Both ways are taken by the same client: small files are put by obstore, as objects and as requests
to the appliance. Beside them the appliance's own client of S3 (`S3Bucket`) puts them directly:
what that is slower than obstore is the client's share, the rest is receiving, checking and the
database. Of 1 GiB obstore can send pieces to S3 only, so what goes through us is sent by aiohttp.
Downloads are aiohttp's, from a presigned URL, from us, and from us by way of a redirect to one.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
import obstore
from obstore.store import HTTPStore, S3Store

from appliance.clock import SystemClock
from appliance.errors import StorageRefused
from appliance.ids import new_id
from appliance.storage.buckets.s3 import S3Bucket
from appliance.storage.buckets.s3_credentials import CredentialSource
from appliance.storage.spool import Given
from appliance.store_urls import parse_bucket_url
from bench.rounds import ROUNDS, ratios, spread, table
from bench.server import Appliance
from bench.upload import NO_WORKERS

LARGE_ROUNDS = 3
LARGE_BYTES = 1024**3
SMALL_BYTES = 100 * 1024
SMALL_FILES = 1000
RANGE_BYTES = 64 * 1024
RANGES = 1000
AT_ONCE = 8
BUCKET = "bench"
BLOCK = bytes(1024 * 1024)
FILM_START = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
"""What is sent on to the bucket: a film, by its first bytes."""

Measured = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Ways:
    """To the same store."""

    direct: S3Store
    own_client: S3Bucket
    ours: Appliance
    http: aiohttp.ClientSession
    """With the appliance's key."""
    anybody: aiohttp.ClientSession


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
    settings = {"storage_url": f"s3://{BUCKET}/ours{at}", "storage_redirect": "1"}
    try:
        async with (
            Appliance(keys, **NO_WORKERS, **settings) as ours,
            aiohttp.ClientSession(headers=ours.headers) as http,
            aiohttp.ClientSession() as anybody,
        ):
            ways = Ways(direct, bucket, ours, http, anybody)
            rows = [
                ("", "directly", "through us", "through us is … times as fast"),
                *await _small(ways),
                *await _large(ways),
                *await _downloads(ways),
            ]
            peak = f"The server's own process took {ours.peak_mb():.0f} MB at most."
    finally:
        await bucket.delete([entry.key async for entry in bucket.entries("")])
        await bucket.close()
    told = f"{ROUNDS} rounds; of 1 GiB {LARGE_ROUNDS}"
    return "\n".join([told, "", *table(rows), "", peak])


def _swift() -> dict[str, str]:
    subprocess.run(("scripts/services", "start", "swift"), check=True)
    told = subprocess.check_output(("scripts/services", "env", "swift"), text=True)
    return dict(line.split("=", 1) for line in told.splitlines())


# --- up -----------------------------------------------------------------------------------------


async def _small(ways: Ways) -> list[tuple[str, ...]]:
    text = b"words " * (SMALL_BYTES // 6)
    uploads = HTTPStore(
        f"{ways.ours.url}/upload",
        client_options={"allow_http": True, "default_headers": ways.ours.headers},
    )

    async def theirs() -> float:
        return await _rate(
            SMALL_FILES, lambda: obstore.put_async(ways.direct, f"raw/{new_id()}/a.txt", text)
        )

    async def mine() -> float:
        return await _rate(SMALL_FILES, lambda: obstore.put_async(uploads, "a.txt", text))

    async def own_client() -> float:
        return await _rate(
            SMALL_FILES, lambda: ways.own_client.put(f"own/raw/{new_id()}/a.txt", Given(text))
        )

    title = f"{SMALL_FILES:,} × 100 KiB up, {AT_ONCE} at once, 1/s"
    beside = {title: mine, "  by our own client of S3, directly": own_client}
    return await _compared(theirs, beside, rounds=ROUNDS)


async def _large(ways: Ways) -> list[tuple[str, ...]]:
    async def theirs() -> float:
        began = time.perf_counter()
        await obstore.put_async(ways.direct, f"raw/{new_id()}/a.mp4", _film())
        return _mb_per_s(began)

    async def mine() -> float:
        began = time.perf_counter()
        await _put(ways, "a.mp4", _film())
        return _mb_per_s(began)

    return await _compared(theirs, {"1 GiB up, MB/s": mine}, rounds=LARGE_ROUNDS)


async def _put(ways: Ways, name: str, data: AsyncIterator[bytes]) -> str:
    """The URL at which it lies."""
    async with ways.http.put(f"{ways.ours.url}/upload/{name}", data=data) as response:
        assert response.status == 202, await response.text()
        job = await response.json()
        return f"{ways.ours.url}/jobs/{job['jobId']}/files/original"


async def _film() -> AsyncIterator[bytes]:
    yield FILM_START + BLOCK[len(FILM_START) :]
    for _ in range(LARGE_BYTES // len(BLOCK) - 1):
        yield BLOCK


# --- down ---------------------------------------------------------------------------------------


async def _downloads(ways: Ways) -> list[tuple[str, ...]]:
    await obstore.put_async(ways.direct, "raw/film/a.mp4", _film())
    hours = datetime.timedelta(hours=6)
    presigned = await obstore.sign_async(ways.direct, "GET", "raw/film/a.mp4", hours)
    url = await _put(ways, "a.mp4", _film())
    shown = {"Sec-Fetch-Dest": "video"}  # what a page embeds is never sent elsewhere

    def whole(
        http: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
    ) -> Measured:
        async def measured() -> float:
            began = time.perf_counter()
            assert await _got(http, url, headers) == LARGE_BYTES
            return _mb_per_s(began)

        return measured

    def ranges(
        http: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
    ) -> Measured:
        # Far from each other, and the same ones in every round.
        starts = itertools.cycle(range(0, LARGE_BYTES - RANGE_BYTES, 7_654_321))

        async def one() -> None:
            start = next(starts)
            wanted = {"Range": f"bytes={start}-{start + RANGE_BYTES - 1}"}
            assert await _got(http, url, {**(headers or {}), **wanted}) == RANGE_BYTES

        async def measured() -> float:
            return await _rate(RANGES, one)

        return measured

    title = f"{RANGES:,} ranges of 64 KiB down, {AT_ONCE} at once, 1/s"
    return [
        *await _compared(
            whole(ways.anybody, presigned),
            {
                "1 GiB down, MB/s": whole(ways.http, url, shown),
                "  by redirect": whole(ways.http, url),
            },
            rounds=LARGE_ROUNDS,
        ),
        *await _compared(
            ranges(ways.anybody, presigned),
            {title: ranges(ways.http, url, shown), "  by redirect": ranges(ways.http, url)},
            rounds=ROUNDS,
        ),
    ]


async def _got(http: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None) -> int:
    """How many bytes came."""
    async with http.get(url, headers=headers) as response:
        assert response.status in (200, 206), await response.text()
        return sum([len(piece) async for piece in response.content.iter_any()])


# --- measuring ----------------------------------------------------------------------------------


async def _compared(
    directly: Measured, beside: Mapping[str, Measured], *, rounds: int
) -> list[tuple[str, ...]]:
    """A row for each of `beside`, by its title."""
    sides = {"": directly, **beside}
    found: dict[str, list[float]] = {title: [] for title in sides}
    for _ in range(rounds):
        for title, side in sides.items():
            found[title].append(await side())
    theirs = found.pop("")
    return [
        (title, spread(theirs), spread(mine), spread(ratios(mine, theirs), digits=2))
        for title, mine in found.items()
    ]


async def _rate(count: int, act: Callable[[], Awaitable[object]]) -> float:
    """How often a second, of `count` times, `AT_ONCE` at a time."""
    left = iter(range(count))
    began = time.perf_counter()

    async def some() -> None:
        for _ in left:
            await act()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


def _mb_per_s(began: float) -> float:
    return LARGE_BYTES / 1e6 / (time.perf_counter() - began)
