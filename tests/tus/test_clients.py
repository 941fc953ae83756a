"""Foreign clients of tus on a way that breaks: each finishes, and what arrived is what was sent.

tus-js-client and Uppy under Node.js, tuspy, curl; Uppy in a browser is in
tests/browser/test_uppy.py. `scripts/services install node` brings those from npm.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ADMIN_KEY, Serve, Served
from tests.tus.flaky import flaky
from tests.tus.peers import OCTETS, installed_node

SIZE = 1_500_000
CUTS = [200_000, 700_000, 1_300_000]
DEADLINE_S = 60.0
HERE = Path(__file__).resolve().parent


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_bytes(random.Random(4).randbytes(SIZE // 2).hex().encode())
    return path


@dataclass
class Client:
    """A foreign program, and what it says: JSON, a line each."""

    process: asyncio.subprocess.Process
    said: list[Any] = field(default_factory=list)

    async def hear(self) -> Any:
        """The next that it says; None at its end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            line = await self.process.stdout.readline()
        if not line:
            return None
        self.said.append(json.loads(line))
        return self.said[-1]

    async def end(self) -> Any:
        """The last that it says; it must end well."""
        while await self.hear() is not None:
            pass
        async with asyncio.timeout(DEADLINE_S):
            assert await self.process.wait() == 0, self.said[-3:]
        return self.said[-1]

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self.process._transport.close()  # type: ignore[attr-defined]  # else it is warned of


@asynccontextmanager
async def client(*command: str | Path, **told: Any) -> AsyncIterator[Client]:
    arguments = [str(part) for part in command]
    one = Client(
        await asyncio.create_subprocess_exec(
            *arguments, json.dumps(told), stdout=asyncio.subprocess.PIPE
        )
    )
    try:
        yield one
    finally:
        await one.kill()


def tus_js_client() -> tuple[str | Path, ...]:
    return "node", installed_node() / "tus-js-client.mjs"


def uppy() -> tuple[str | Path, ...]:
    return "node", installed_node() / "uppy.mjs"


def tuspy() -> tuple[str | Path, ...]:
    return sys.executable, HERE / "tuspy_upload.py"


async def arrived(served: Served, job_id: str, sent: Path) -> None:
    job = await served.json("GET", f"/status/{job_id}")
    data = sent.read_bytes()
    assert (job["sha256"], job["sizeBytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (job["filename"], job["contentType"]) == ("words.txt", "text/plain")
    async with served.admin.get(f"/jobs/{job_id}/files/original") as response:
        assert await response.read() == data
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1
    partials = served.data_dir / "files/partial"
    assert [path.name for path in partials.iterdir()] == ["boot-id"]


WAYS = {
    "whole": {},
    "in chunks": {"chunkSize": 150_000},
    "with the creation": {"uploadDataDuringCreation": True},
    # Its stream does not notice its end after a chunk that is full (4.3.1).
    "with the length last": {"uploadLengthDeferred": True, "chunkSize": SIZE // 9},
    "in parallel parts": {"parallelUploads": 4},
}


@pytest.mark.parametrize("way", WAYS)
async def test_tus_js_client(serve: Serve, words: Path, way: str) -> None:
    served = await serve()
    told = {"file": str(words), "endpoint": f"{served.url}/files", "key": ADMIN_KEY, **WAYS[way]}
    async with client(*tus_js_client(), **told) as one:
        await arrived(served, (await one.end())["jobId"], words)


@pytest.mark.parametrize("silent", [False, True], ids=["broken off", "silent"])
@pytest.mark.parametrize("way", ["whole", "in chunks", "in parallel parts"])
async def test_tus_js_client_goes_on_after_cuts(
    serve: Serve, words: Path, way: str, silent: bool
) -> None:
    served = await serve()
    async with flaky(served.url, CUTS, silent=silent) as broken:
        told = {"endpoint": f"{broken.url}/files", "key": ADMIN_KEY, **WAYS[way]}
        async with client(*tus_js_client(), file=str(words), **told) as one:
            await arrived(served, (await one.end())["jobId"], words)
        assert broken.made == len(CUTS)
        assert broken.passed < SIZE * 2  # it went on, and did not begin anew each time


async def test_tus_js_client_goes_on_after_it_was_killed(
    serve: Serve, words: Path, tmp_path: Path
) -> None:
    served = await serve()
    told = {
        "file": str(words), "endpoint": f"{served.url}/files", "key": ADMIN_KEY,
        "urls": str(tmp_path / "urls.json"), "chunkSize": 150_000,
    }  # fmt: skip
    async with client(*tus_js_client(), **told) as killed:
        while (said := await killed.hear())["progress"] < SIZE // 3:
            assert said is not None
        await killed.kill()
    async with client(*tus_js_client(), **told) as one:
        last = await one.end()
        assert one.said[0]["resumed"] == last["url"]
        await arrived(served, last["jobId"], words)


@pytest.mark.parametrize("silent", [False, True], ids=["broken off", "silent"])
async def test_uppy_goes_on_after_cuts(serve: Serve, words: Path, silent: bool) -> None:
    served = await serve()
    async with flaky(served.url, CUTS, silent=silent) as broken:
        told = {"endpoint": f"{broken.url}/files", "key": ADMIN_KEY}
        async with client(*uppy(), file=str(words), **told) as one:
            await arrived(served, (await one.end())["jobId"], words)
        assert broken.made == len(CUTS)


@pytest.mark.parametrize("silent", [False, True], ids=["broken off", "silent"])
@pytest.mark.parametrize("upload_checksum", [False, True])
async def test_tuspy_goes_on_after_cuts(
    serve: Serve, words: Path, silent: bool, upload_checksum: bool
) -> None:
    served = await serve()
    async with flaky(served.url, CUTS, silent=silent) as broken:
        told = {
            "endpoint": f"{broken.url}/files", "key": ADMIN_KEY, "chunk_size": 300_000,
            "retries": 5, "retry_delay": 0, "upload_checksum": upload_checksum,
        }  # fmt: skip
        async with client(*tuspy(), file=str(words), **told) as one:
            await arrived(served, (await one.end())["jobId"], words)
        assert broken.made == len(CUTS)


async def test_tuspy_goes_on_after_it_was_killed(serve: Serve, words: Path, tmp_path: Path) -> None:
    served = await serve()
    told = {
        "file": str(words), "endpoint": f"{served.url}/files", "key": ADMIN_KEY,
        "urls": str(tmp_path / "urls.json"), "chunk_size": 150_000,
    }  # fmt: skip
    async with client(*tuspy(), **told) as killed:
        first = await killed.hear()
        await killed.kill()
    async with client(*tuspy(), **told) as one:
        last = await one.end()
        assert one.said[0]["resumed"] == first["url"] == last["url"]
        await arrived(served, last["jobId"], words)


async def curl(*arguments: str) -> tuple[int, dict[str, str]]:
    """The exit code and the fields of the last answer."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--dump-header", "-", "--output", "/dev/null", "--max-time", "30",
        "-H", f"Authorization: Bearer {ADMIN_KEY}", "-H", "Tus-Resumable: 1.0.0", *arguments,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await process.communicate()
    lines = (line.partition(": ") for line in out.decode().split("\r\n"))
    return process.returncode or 0, {name.title(): value for name, _, value in lines if value}


@pytest.mark.parametrize("silent", [False, True], ids=["broken off", "silent"])
async def test_curl_goes_on_after_cuts(
    serve: Serve, words: Path, tmp_path: Path, silent: bool
) -> None:
    """By hand, as docs/clients.md shows it."""
    served = await serve()
    async with flaky(served.url, CUTS, silent=silent) as broken:
        name = "d29yZHMudHh0"  # words.txt
        told = [f"Upload-Length: {SIZE}", f"Upload-Metadata: filename {name}"]
        fields = [part for line in told for part in ("-H", line)]
        code, answer = await curl("-X", "POST", *fields, f"{broken.url}/files")
        assert code == 0
        url = broken.url + answer["Location"]
        for attempt in range(len(CUTS) + 1):
            _, head = await curl("--head", url)
            offset = int(head["Upload-Offset"])
            rest = tmp_path / "rest"
            rest.write_bytes(words.read_bytes()[offset:])
            code, answer = await curl(
                "-X", "PATCH", "-H", f"Upload-Offset: {offset}", "-H", f"Content-Type: {OCTETS}",
                "--data-binary", f"@{rest}", url,
            )  # fmt: skip
            assert (code == 0) == (attempt == len(CUTS))
        await arrived(served, answer["Upload-Job-Id"], words)
