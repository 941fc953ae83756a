"""A store that fails: what may go away is tried again, what may not is told with its mend, and
nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from appliance.errors import (
    ApplianceError,
    ConfigurationError,
    ObjectMissing,
    StorageRefused,
    StorageUnavailable,
)
from appliance.parts import open_bucket
from appliance.storage.buckets import pulse, requests
from appliance.storage.buckets.protocol import Body
from appliance.storage.object_store import ObjectStorage
from appliance.storage.spool import Given
from appliance.store_urls import parse_bucket_url
from tests import buckets, certificates
from tests.clocks import MovedClock, WrongClock
from tests.conformance.test_partials import append
from tests.conformance.test_partials import get as get_partial
from tests.conformance.test_storage import get, names, put
from tests.faulty_network import WELL, Fate, FaultyNetwork, faulty_network

MIB = 1024**2
NOISE = random.Random(9).randbytes(9 * MIB)
KEY = "raw/01JD/file.bin"
BUSY = Fate(busy=True)
ANSWER_S, REPEAT_FOR_S = requests.ANSWER_S, requests.REPEAT_FOR_S


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(requests, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(requests, "REPEAT_FOR_S", 0.5)
    monkeypatch.setattr(pulse, "FRESH_FAULT_S", 0.0)


@asynccontextmanager
async def behind(
    fate: Callable[[int], Fate], folder: Path, kind: str = "swift"
) -> AsyncIterator[tuple[ObjectStorage, FaultyNetwork]]:
    await (await buckets.bucket(kind, prefix="any")).close()
    async with faulty_network(buckets.endpoint(kind), fate) as network:
        store = await buckets.opened(kind, folder, prefix=folder.name, through=network.url)
        try:
            yield store, network
        finally:
            await store.close()


async def test_a_busy_store_is_asked_again(tmp_path: Path) -> None:
    async with behind(lambda n: BUSY if n < 3 else WELL, tmp_path) as (store, network):
        await put(store, KEY, b"data")
        assert network.connections == 4
        assert await get(store, KEY) == b"data"


@pytest.mark.parametrize("kind", ["swift", "moto", "gcs"])
async def test_a_store_that_is_too_slow_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """All deadlines a tenth of what they are."""
    monkeypatch.setattr(requests, "ANSWER_S", ANSWER_S / 10)
    monkeypatch.setattr(requests, "REPEAT_FOR_S", REPEAT_FOR_S / 10)
    late = asyncio.Event()
    fates = [Fate(held=asyncio.Event()), WELL]
    async with behind(lambda n: WELL, tmp_path, kind) as (store, _):
        await put(store, KEY, b"data")
    async with behind(lambda n: fates.pop(0), tmp_path, kind) as (store, network):
        assert await get(store, KEY) == b"data"
        assert network.connections == 2
    async with behind(lambda n: Fate(held=late), tmp_path, kind) as (store, network):
        asyncio.get_running_loop().call_later(ANSWER_S / 50, late.set)
        assert await get(store, KEY) == b"data"
        assert network.connections == 1, "slow, and in time"
    async with behind(lambda n: Fate(held=asyncio.Event()), tmp_path, kind) as (store, network):
        async with asyncio.timeout((ANSWER_S + REPEAT_FOR_S) / 10 + 1):
            with pytest.raises(StorageUnavailable, match="does not answer in time"):
                await put(store, KEY, b"other")
        assert network.connections == 2


@pytest.mark.parametrize("kind", ["swift", "gcs"])
async def test_a_read_goes_on_where_it_broke(tmp_path: Path, kind: str) -> None:
    cuts = [None, 3 * MIB, 1000, 2 * MIB]

    def fate(number: int) -> Fate:
        return Fate(back_bytes=cuts[number]) if number < len(cuts) else WELL

    async with behind(lambda n: WELL, tmp_path, kind) as (store, _):
        await put(store, KEY, NOISE)
    async with behind(lambda n: fate(n + 1), tmp_path, kind) as (store, network):
        assert await get(store, KEY) == NOISE
        assert network.connections == 4


async def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path, chance: random.Random) -> None:
    """Whole or nothing, whatever breaks; and what can be told to have arrived, has."""

    def fate(number: int) -> Fate:
        if chance.random() < 0.5:
            return WELL
        if chance.random() < 0.3:
            return BUSY
        most = chance.choice([500, 2000, 300_000, 9 * MIB])
        if chance.random() < 0.5:
            return Fate(there_bytes=chance.randrange(most))
        return Fate(back_bytes=chance.randrange(1000))

    acknowledged: dict[str, bytes] = {}
    tried: dict[str, bytes] = {}
    async with behind(fate, tmp_path) as (store, _):

        async def send(number: int) -> None:
            data = NOISE[number : number + chance.choice([0, 10, 70_000, 900_000, 9 * MIB])]
            key = f"raw/{number:02}/file"
            tried[key] = data
            try:
                await put(store, key, *(data[at : at + MIB] for at in range(0, len(data), MIB)))
            except ApplianceError:
                return
            acknowledged[key] = data

        for begin in range(0, 30, 6):
            await asyncio.gather(*map(send, range(begin, begin + 6)))
    async with behind(lambda n: WELL, tmp_path) as (store, _):
        assert acknowledged
        for key, data in tried.items():
            try:
                assert await get(store, key) == data
            except ObjectMissing:
                assert key not in acknowledged
    assert not list((tmp_path / "spool").iterdir())


async def test_what_changed_since_it_came_is_refused_by_the_store(tmp_path: Path) -> None:
    """The digest of what came is what the store checks, not one taken when it is sent."""
    async with behind(lambda n: WELL, tmp_path) as (store, _):
        async with await store.receive(KEY) as incoming:
            await incoming.write(NOISE[:1000])
            with pytest.raises(StorageUnavailable, match="BadDigest"):
                await incoming.commit(sha256=hashlib.sha256(NOISE[1:1001]).hexdigest())
        with pytest.raises(ObjectMissing):
            await store.size(KEY)
        async with await store.receive(KEY) as incoming:
            await incoming.write(NOISE[:1000])
            await incoming.commit(sha256=hashlib.sha256(NOISE[:1000]).hexdigest())
        assert await get(store, KEY) == NOISE[:1000]


async def test_what_was_synced_of_a_partial_survives_every_cut(
    tmp_path: Path, chance: random.Random
) -> None:
    def fate(number: int) -> Fate:
        return Fate(there_bytes=chance.randrange(3 * MIB)) if chance.random() < 0.4 else WELL

    offset = 0
    async with behind(lambda n: WELL, tmp_path) as (well, _), behind(fate, tmp_path) as (ill, _):
        await well.partials.create("UPLOAD")
        for _ in range(20):
            end = min(len(NOISE), offset + chance.randrange(1, 2 * MIB))
            try:
                await append(ill.partials, offset, NOISE[offset:end], name="UPLOAD")
            except StorageUnavailable:
                assert await well.partials.size("UPLOAD") in (offset, end)
                continue
            offset = end
            assert await well.partials.size("UPLOAD") == offset
        await append(well.partials, offset, NOISE[offset:], name="UPLOAD")
        await well.partials.commit("UPLOAD", KEY)
        assert await get(well, KEY) == NOISE


async def test_a_manifest_whose_answer_was_lost_names_nothing_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind(lambda n: WELL, tmp_path) as (store, _):
        await store.partials.create("UPLOAD")
        await append(store.partials, 0, b"told", name="UPLOAD")
        put_well = store._bucket.put

        async def put_and_hear_nothing(key: str, body: Body) -> None:
            await put_well(key, body)
            if key.endswith("manifest"):
                raise StorageUnavailable

        monkeypatch.setattr(store._bucket, "put", put_and_hear_nothing)
        with pytest.raises(StorageUnavailable):
            await append(store.partials, 4, b" and not told", name="UPLOAD")
        monkeypatch.undo()
        assert (await get_partial(store.partials, "UPLOAD"))[:4] == b"told"
        await append(store.partials, 4, b" again", name="UPLOAD")
        assert await get_partial(store.partials, "UPLOAD") == b"told again"


async def test_a_store_that_is_down_is_known_to_be_and_found_again(tmp_path: Path) -> None:
    is_down = True
    async with behind(lambda n: BUSY if is_down else WELL, tmp_path) as (store, network):
        with pytest.raises(StorageUnavailable, match="503"):
            await put(store, KEY, b"data")
        with pytest.raises(StorageUnavailable, match="503"):
            await store._bucket.delete([f"raw/01JD/{number}" for number in range(100)])
        for _ in range(2):
            with pytest.raises(StorageUnavailable) as told:
                await store.space()
            assert told.value.retry_after_s
        is_down = False
        assert await store.space() is None
        asked = network.connections
        assert await store.space() is None  # the last answer is new enough
        assert network.connections == asked
        assert await names(store, "raw") == set()


async def test_nobody_there(tmp_path: Path, unused_tcp_port: int) -> None:
    through = f"http://127.0.0.1:{unused_tcp_port}"
    store = await buckets.opened("gcs", tmp_path, prefix="x", through=through)
    try:
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await put(store, KEY, b"data")
    finally:
        await store.close()


async def refusal(url: str, **environ: str) -> str:
    store = open_bucket(parse_bucket_url(url), {**buckets.environ("swift"), **environ})
    try:
        with pytest.raises(StorageRefused) as told:
            await store.ping()
    finally:
        await store.close()
    return told.value.detail


async def test_what_only_people_can_mend_is_told_with_the_mend() -> None:
    url = buckets.url("swift", prefix="x")
    assert "secret does not fit" in await refusal(url, AWS_SECRET_ACCESS_KEY="wrong")
    nowhere = url.replace("s3://appliance", "s3://nowhere")
    assert "there is no such bucket" in await refusal(nowhere)
    assert "Set region=us-east-1 in the URL" in await refusal(f"{url}&region=eu-west-9")
    assert "there is no such bucket" in await refusal(
        buckets.url("gcs", prefix="x").replace("gs://appliance", "gs://nowhere")
    )


async def test_an_authority_of_ones_own_is_named_in_the_url(tmp_path: Path) -> None:
    pair = certificates.pair(tmp_path)

    async def empty(request: web.Request) -> web.Response:
        return web.Response(text="<ListBucketResult/>")

    runner = web.AppRunner(_app(empty))
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    url = f"s3://b-1/?endpoint=https://localhost:{port}"
    try:
        assert "ca=/path/to/ca.pem" in await refusal(url)
        known = open_bucket(
            parse_bucket_url(f"{url}&ca={quote(str(pair.certificate))}"), buckets.environ("moto")
        )
        await known.ping()
        await known.close()
        with pytest.raises(ConfigurationError, match="no readable PEM"):
            open_bucket(parse_bucket_url(f"{url}&ca=/nowhere.pem"), {})
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("ahead_s", [-400.0, -7200.0, 100_000.0])
async def test_the_clock_of_the_store_is_believed(tmp_path: Path, ahead_s: float) -> None:
    """Swift refuses what was signed more than 15 minutes from its own time."""
    clock = WrongClock(ahead_s)
    with structlog.testing.capture_logs() as logged:
        store = await buckets.opened("swift", tmp_path, prefix=tmp_path.name, clock=clock)
        try:
            await store._bucket.ping()  # not repeated, and yet signed anew
            await put(store, KEY, NOISE)
            assert await get(store, KEY) == NOISE
            assert abs(store.clock_skew_s + ahead_s) < 10
            link = await store.presigned(
                KEY, expires_s=60, content_type="image/png", disposition="inline"
            )
            assert link is not None
            async with aiohttp.request("GET", URL(link, encoded=True)) as answer:
                assert (answer.status, await answer.read()) == (200, NOISE)
            clock.ahead_s = 0  # somebody has mended it
            await put(store, KEY, b"data")
            assert store.clock_skew_s == 0
        finally:
            await store.close()
    told = [line for line in logged if line["event"].startswith("store_clock")]
    assert [line["event"] for line in told] == ["store_clock_differs", "store_clock_agrees"]
    assert abs(told[0]["ahead_s"] + ahead_s) < 10
    assert "NTP" in told[0]["mend"]


@pytest.mark.parametrize(
    ("dated_s", "skew_s"),
    [(0.0, 0.0), (45.0, 0.0), (90.0, 0.0), (-30.0, -30.0), (120.0, 30.0)],
)
async def test_an_answer_that_takes_long_is_no_wrong_clock(
    unused_tcp_port: int, dated_s: float, skew_s: float
) -> None:
    """It comes after 90 s, with the date of so many after it was asked for."""
    clock = MovedClock()

    async def slowly(request: web.Request) -> web.Response:
        date = formatdate(clock.now() + dated_s, usegmt=True)
        clock.pass_time(90.0)
        return web.Response(text="<ListBucketResult/>", headers={"Date": date})

    runner = web.AppRunner(_app(slowly))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    url = parse_bucket_url(f"s3://files?endpoint=http://127.0.0.1:{unused_tcp_port}")
    bucket = open_bucket(url, buckets.environ("moto"), clock=clock)
    try:
        await bucket.ping()
        assert bucket.clock.skew_s == skew_s
    finally:
        await bucket.close()
        await runner.cleanup()


async def test_a_store_that_does_not_tell_its_time_cannot_be_believed(
    unused_tcp_port: int,
) -> None:
    async def too_late(request: web.Request) -> web.Response:
        error = "<Error><Code>RequestTimeTooSkewed</Code></Error>"
        return web.Response(status=403, text=error, headers={"Date": "today"})

    runner = web.AppRunner(_app(too_late))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    url = f"s3://files?endpoint=http://127.0.0.1:{unused_tcp_port}"
    bucket = open_bucket(parse_bucket_url(url), buckets.environ("moto"))
    try:
        with pytest.raises(StorageUnavailable, match="its clock and that of this machine"):
            await bucket.put(KEY, Given(b"data"))
    finally:
        await bucket.close()
        await runner.cleanup()


def _app(handler: Handler) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return app
