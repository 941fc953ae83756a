"""What docs/clients.md shows is tried as it stands, with another address."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import ADMIN_KEY, Serve, Served
from tests.tus.peers import TEXT, installed_node

PAGE = Path(__file__).resolve().parents[2] / "docs/clients.md"
HOST = "http://localhost:8080"


def snippet(heading: str, language: str) -> str:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    assert section is not None
    code = re.search(rf"^```{language}\n(.*?)^```", section[1], re.M | re.S)
    assert code is not None
    return code[1]


async def run(served: Served, folder: Path, *command: str | Path) -> str:
    """Run it in a folder with the file that it names; what it prints last."""
    (folder / "holiday.txt").write_bytes(TEXT)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, env={**os.environ, "KEY": ADMIN_KEY}
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip().splitlines()[-1]


async def arrived(served: Served, job_id: str) -> None:
    job = await served.json("GET", f"/status/{job_id}")
    assert (job["filename"], job["sha256"]) == ("holiday.txt", hashlib.sha256(TEXT).hexdigest())


@pytest.mark.parametrize(
    ("heading", "language", "command"),
    [
        ("tuspy", "python", [sys.executable, "-c"]),
        ("curl, with tus", "sh", ["bash", "-euo", "pipefail", "-c"]),
    ],
)
async def test_a_snippet_uploads(
    serve: Serve, tmp_path: Path, heading: str, language: str, command: list[str]
) -> None:
    served = await serve()
    code = snippet(heading, language).replace(HOST, served.url)
    await arrived(served, await run(served, tmp_path, *command, code))


async def test_the_snippet_of_tus_js_client_uploads(serve: Serve, tmp_path: Path) -> None:
    served = await serve()
    (tmp_path / "node_modules").symlink_to(installed_node() / "node_modules")
    script = tmp_path / "upload.mjs"
    script.write_text(snippet("tus-js-client", "js").replace(HOST, served.url))
    await arrived(served, await run(served, tmp_path, "node", script))


async def test_sharex_s_settings_upload(serve: Serve) -> None:
    """As ShareX reads them: https://getsharex.com/docs/custom-uploader"""
    served = await serve()
    told = json.loads(snippet("ShareX", "json").replace(HOST, served.url))
    assert (told["RequestMethod"], told["Body"]) == ("POST", "Binary")
    headers = {k: v.replace("KEY", ADMIN_KEY) for k, v in told["Headers"].items()}
    headers["Content-Type"] = "text/plain"
    url = told["RequestURL"].replace("{filename}", "holiday.txt")
    async with served.anonymous.post(url, data=TEXT, headers=headers) as response:
        answer = await response.json()

    def filled(template: str) -> str:
        return re.sub(r"\{json:(\w+)\}", lambda match: answer[match[1]], template)

    assert response.status == 202
    shown = filled(told["URL"])
    async with served.admin.get(shown) as response:
        assert (await response.json())["filename"] == "holiday.txt"
    async with served.anonymous.post(url, data=b"\x7fELF", headers=headers) as response:
        answer = await response.json(content_type=None)
    assert filled(told["ErrorMessage"])
