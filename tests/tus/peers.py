"""Who the black-box suite of tus speaks with: a server of tus 1.0.0, known by its address only."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.web.wire import Answer

VERSION = "1.0.0"
OCTETS = "application/offset+octet-stream"
TEXT = b"Some words of a text that any server takes. " * 200
MAX_BYTES = 1_000_000
EXPIRY_S = 3600
DEADLINE_S = 30.0

EXTENSIONS = {
    "appliance": {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    },
    "@tus/server": {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "termination",
    },
}
"""What each says that it can; a test that needs more is not run against it."""

DIFFERENCES = {
    ("@tus/server", "test_an_unknown_version_is_refused_with_412_and_tus_version"): (
        "answers 400, and 412 without Tus-Version where the version is missing"
    ),
    ("@tus/server", "test_x_http_method_override_goes_before_the_method"): (
        "allows browsers the header, and takes no notice of it"
    ),
    ("@tus/server", "test_a_patch_of_another_content_type_is_refused_with_415"): "answers 400",
    ("@tus/server", "test_a_body_of_another_content_type_is_refused_with_415"): (
        "takes no notice of the body, and creates the upload"
    ),
    ("appliance", "test_an_upload_may_have_length_0"): (
        "a job needs a file of at least a byte: 400 empty_file (docs/http.md)"
    ),
}
"""Where one does otherwise than the text, and why; held to that, so that its end is noticed."""

NODE = Path(__file__).resolve().parents[1] / "node"
INSTALLED = Path(os.environ.get("NODE_CLIENTS") or NODE.parents[1] / ".services/node")


class Peer:
    def __init__(self, name: str, url: str, http: aiohttp.ClientSession) -> None:
        self.name = name
        self.url = url
        """Where uploads are created."""
        self._http = http

    async def send(
        self,
        method: str,
        url: str,
        data: bytes | AsyncIterator[bytes] | None = None,
        version: str | None = VERSION,
        **fields: Any,
    ) -> Answer:
        """One request. Fields are named `upload_offset` for Upload-Offset."""
        headers = {name.replace("_", "-"): str(value) for name, value in fields.items()}
        if version is not None:
            headers["Tus-Resumable"] = version
        async with (
            asyncio.timeout(DEADLINE_S),
            self._http.request(
                method, url, data=data, headers=headers, skip_auto_headers=["Content-Type"]
            ) as response,
        ):
            return Answer(response.status, response.headers.copy(), await response.read())

    async def options(self) -> Answer:
        return await self.send("OPTIONS", self.url, version=None)

    async def create(self, length: int | None = len(TEXT), **fields: Any) -> str:
        """The address of a new upload."""
        told: dict[str, Any] = (
            {"upload_defer_length": 1} if length is None else {"upload_length": length}
        )
        answer = await self.send("POST", self.url, **told, **fields)
        assert answer.status == 201, answer
        return self.location(answer)

    def location(self, answer: Answer) -> str:
        return urljoin(self.url, answer.headers["Location"])

    async def patch(
        self, url: str, offset: int, data: bytes | AsyncIterator[bytes], **fields: Any
    ) -> Answer:
        told = {"content_type": OCTETS, "upload_offset": offset, **fields}
        return await self.send("PATCH", url, data, **told)

    async def head(self, url: str) -> Answer:
        return await self.send("HEAD", url)

    async def offset(self, url: str) -> int:
        answer = await self.head(url)
        assert answer.status == 200, answer
        return int(answer.headers["Upload-Offset"])


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(v.encode()).decode()}" for key, v in values.items())


def installed_node() -> Path:
    """The folder with the foreign programs; the test is skipped without."""
    lock = INSTALLED / "package-lock.json"
    wanted = (NODE / "package-lock.json").read_bytes()
    is_there = (INSTALLED / "complete").exists() and lock.read_bytes() == wanted
    if shutil.which("node") is None or not is_there:
        pytest.skip("no Node.js with the foreign clients: `scripts/services install node`")
    for script in NODE.glob("*.mjs"):
        target = INSTALLED / script.name
        if not target.exists() or target.read_bytes() != script.read_bytes():
            shutil.copy(script, target)
    return INSTALLED


@asynccontextmanager
async def tus_server(folder: Path) -> AsyncIterator[str]:
    """A @tus/server with its files in `folder`; yields where uploads are created."""
    node = installed_node()
    process = await asyncio.create_subprocess_exec(
        "node", str(node / "server.mjs"), str(folder), str(MAX_BYTES), str(EXPIRY_S * 1000),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode().split()
        assert line, "the foreign server ended at its start"
        yield f"{line[-1]}/files"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # else it is warned of


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once `condition` holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.02)
