"""Processors of other packages, really installed, beside a real server."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import Server

EXAMPLE = Path(__file__).parent.parent.parent / "docs/examples/processor-wordcount"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder beside the environment's own, with the example in it."""
    folder = tmp_path / "packages"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--no-index", "--no-deps", "--no-build-isolation"),
            *("--target", str(folder), str(EXAMPLE)),
        ],
        check=True,
        timeout=90,
    )
    return folder


def break_one(packages: Path) -> None:
    """A second plug-in, for the same files, that cannot be imported."""
    (packages / "broken_processor.py").write_text("raise RuntimeError('no model was found')\n")
    info = packages / "processor_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: processor-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[appliance.processors]\nbroken = broken_processor:PROCESSOR\n"
    )


async def test_the_example_works_also_beside_one_that_breaks(
    new_server: Callable[..., Server], packages: Path
) -> None:
    break_one(packages)
    server = new_server(log_format="json")
    server.environ["PYTHONPATH"] = str(packages)
    await server.start()

    text = b"The cat and the dog.\nThe end.\n"
    job = await server.request("PUT", "/upload/story.txt", data=io.BytesIO(text))
    job = await server.finished(job["jobId"])
    assert (job["status"], job["error"]) == ("COMPLETED", None)
    facts = {name: job["result"][name] for name in ("wordCount", "distinctWords", "longestWord")}
    assert facts == {"wordCount": 7, "distinctWords": 5, "longestWord": "the"}
    (file,) = job["files"]
    assert (file["name"], file["contentType"]) == ("words.csv", "text/csv")
    table = (await server.bytes_of(file["url"])).decode().splitlines()
    assert table[:2] == ["word,count", "the,3"]

    readiness = await server.request("GET", "/readyz")
    assert readiness["status"] == "ready"
    processors = readiness["parts"]["processors"]
    assert not processors["ok"]
    assert "RuntimeError: no model was found" in processors["detail"]
    assert any("plugin_not_used" in line for line in server.output)
    assert await server.end() == 0


async def test_processors_are_named_with_their_versions(
    new_server: Callable[..., Server], packages: Path
) -> None:
    server = new_server()
    server.environ["PYTHONPATH"] = str(packages)
    await server.start()
    job = await server.request("PUT", "/upload/a.txt", data=io.BytesIO(b"words"))
    await server.finished(job["jobId"])
    processors = (await server.request("GET", "/readyz"))["parts"]["processors"]
    assert processors["ok"], processors
    assert "wordcount 1" in processors["detail"]
