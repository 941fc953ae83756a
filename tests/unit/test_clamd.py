"""The scanner against a real clamd: the four verdicts, and that `clean` is never said in vain."""

from __future__ import annotations

import asyncio
import io
import random
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.errors import ScannerUnavailable
from appliance.jobs import Scan
from appliance.scanning import clamd as scanning
from appliance.scanning.clamd import ClamdScanner
from appliance.scanning.protocol import Content
from tests.clamd import EICAR, SIGNATURE, Clamd

MIB = 1024 * 1024


def pieces(data: bytes, size: int = 64 * 1024) -> Content:
    async def read() -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    return read


async def scanned(scanner: ClamdScanner, data: bytes) -> Scan:
    return await scanner.scan(pieces(data), size_bytes=len(data))


def noise(size_bytes: int) -> bytes:
    return random.Random(3).randbytes(size_bytes)


@pytest.fixture
async def clamd(tmp_path: Path) -> AsyncIterator[Clamd]:
    made = Clamd(tmp_path / "clamd", MaxFileSize="2M", StreamMaxLength="4M")
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
def scanner(clamd: Clamd) -> ClamdScanner:
    return ClamdScanner(clamd.url, max_bytes=100 * MIB)


async def test_an_engine_tells_its_version(scanner: ClamdScanner) -> None:
    assert (await scanner.check()).startswith("ClamAV ")


async def test_clean(scanner: ClamdScanner) -> None:
    scan = await scanned(scanner, noise(MIB))
    assert (scan.verdict, scan.reason) == ("clean", None)
    assert scan.engine is not None
    assert scan.engine.startswith("ClamAV ")


def in_a_zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", data)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [EICAR, noise(300_000) + EICAR + noise(300_000), in_a_zip(EICAR), in_a_zip(in_a_zip(EICAR))],
    ids=["bare", "in the middle", "in a zip", "in a zip in a zip"],
)
async def test_infected(scanner: ClamdScanner, data: bytes) -> None:
    scan = await scanned(scanner, data)
    assert scan.verdict == "infected"
    assert scan.reason is not None
    assert scan.reason.startswith(SIGNATURE)


async def test_infected_across_the_border_of_two_pieces(scanner: ClamdScanner) -> None:
    data = noise(1000) + EICAR
    scan = await scanner.scan(pieces(data, 1010), size_bytes=len(data))
    assert scan.verdict == "infected"


@pytest.mark.parametrize(
    ("size_bytes", "why"),
    [
        (3 * MIB, "did not look into all of it"),  # above MaxFileSize
        (5 * MIB, "StreamMaxLength"),
        (60 * MIB, "StreamMaxLength"),  # so far above it that clamd's own words are lost
        (101 * MIB, "the most that is sent"),
    ],
)
async def test_larger_than_the_scanner_s_limits_is_not_clean(
    scanner: ClamdScanner, size_bytes: int, why: str
) -> None:
    scan = await scanned(scanner, noise(size_bytes))
    assert scan.verdict == "not_scanned"
    assert scan.reason is not None
    assert why in scan.reason


async def test_no_scanner_there(scanner: ClamdScanner, clamd: Clamd) -> None:
    await clamd.kill()
    for asked in (scanner.check(), scanned(scanner, b"x")):
        with pytest.raises(ScannerUnavailable, match="cannot be reached"):
            await asked
    await clamd.start()
    assert (await scanned(scanner, b"x")).verdict == "clean"


async def test_a_scanner_killed_in_the_middle_is_unavailable_not_clean(
    scanner: ClamdScanner, clamd: Clamd
) -> None:
    async def read() -> AsyncIterator[bytes]:
        yield noise(MIB)
        await clamd.kill()
        yield noise(MIB)

    with pytest.raises(ScannerUnavailable):
        await scanner.scan(read, size_bytes=2 * MIB)


async def test_a_scanner_restarted_in_the_middle_reads_again(
    scanner: ClamdScanner, clamd: Clamd
) -> None:
    reads = 0

    async def read() -> AsyncIterator[bytes]:
        nonlocal reads
        reads += 1
        yield noise(MIB)
        if reads == 1:
            await clamd.kill()
            await clamd.start()
        for _ in range(10):
            yield EICAR + noise(10_000)

    scan = await scanner.scan(read, size_bytes=MIB + 10 * (10_000 + len(EICAR)))
    assert (scan.verdict, reads) == ("infected", 2)


@pytest.mark.parametrize("name", ["ANSWER_S", "STALL_S"])
async def test_a_scanner_that_hangs_is_unavailable(
    scanner: ClamdScanner, clamd: Clamd, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(scanning, name, 0.2)
    clamd.pause()
    try:
        data = b"x" if name == "ANSWER_S" else noise(3 * MIB)
        with pytest.raises(ScannerUnavailable, match=r"0\.2 s"):
            await scanned(scanner, data)
    finally:
        clamd.resume()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


@pytest.mark.parametrize(
    "answer", [b"stream: Can't allocate memory ERROR\0", b"nonsense\0", b"x" * 100_000, b""]
)
async def test_what_is_no_verdict_is_none(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0\0\0\0")
        writer.write(answer)
        writer.close()

    socket = tmp_path / "fake.sock"
    async with await asyncio.start_unix_server(serve, str(socket)):
        with pytest.raises(ScannerUnavailable):
            await scanned(ClamdScanner(f"unix://{socket}", max_bytes=MIB), b"abc")


async def test_tcp(tmp_path: Path, free_port: int) -> None:
    clamd = Clamd(tmp_path / "tcp", TCPAddr="127.0.0.1", TCPSocket=str(free_port))
    await clamd.start()
    try:
        scanner = ClamdScanner(f"tcp://127.0.0.1:{free_port}", max_bytes=MIB)
        assert (await scanned(scanner, EICAR)).verdict == "infected"
    finally:
        await clamd.kill()


@pytest.fixture
def free_port(unused_tcp_port_factory: Callable[[], int]) -> int:
    return unused_tcp_port_factory()
