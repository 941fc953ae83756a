"""Presets in a data directory, through a real server and the command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import media
from tests.acceptance.conftest import Server
from tests.acceptance.test_command import appliance

TINY = """
version = 1

[[image.results]]
name = "tiny"
width = 48
format = "png"

[pdf]
pages = 1
"""


def write(data_dir: Path, name: str, text: str) -> Path:
    path = data_dir / "presets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


async def upload(server: Server, preset: str) -> str:
    job = await server.request(
        "POST", f"/upload?filename=a.txt&preset={preset}", data=b"A line of words.\n"
    )
    return str(job["jobId"])


async def test_a_user_s_preset_is_listed_and_makes_its_results(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    write(tmp_path / "data", "mine.toml", 'version = 4\ndescription = "Mine"\n[any]\n')
    server = new_server()
    await server.start()
    listed = (await server.request("GET", "/presets"))["presets"]
    assert {"name": "mine", "version": 4, "description": "Mine", "processors": ["any"]} in listed
    job = await server.finished(await upload(server, "mine"))
    assert (job["status"], job["preset"], job["presetVersion"]) == ("COMPLETED", "mine", 4)
    again = await server.request(
        "POST", f"/jobs/{job['jobId']}/process", json={"preset": "default"}
    )
    again = await server.finished(again["jobId"])
    assert (again["status"], again["preset"], again["presetVersion"]) == ("COMPLETED", "default", 1)


async def made(server: Server, name: str, data: bytes, preset: str) -> dict[str, Any]:
    """The results of a new job, by name."""
    job = await server.request("POST", f"/upload?filename={name}&preset={preset}", data=data)
    job = await server.finished(job["jobId"])
    assert job["status"] == "COMPLETED", job["error"]
    return {file["name"]: file for file in job["files"]}


async def test_a_user_s_options_make_other_results(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    write(tmp_path / "data", "tiny.toml", TINY)
    server = new_server()
    await server.start()
    (picture,) = (await made(server, "a.jpg", media.jpeg(640, 480), "tiny")).values()
    assert (picture["name"], picture["contentType"]) == ("tiny.png", "image/png")
    assert (picture["width"], picture["height"]) == (48, 36)
    pages = await made(server, "a.pdf", media.pdf(3, "Words"), "tiny")
    assert {"page-1.webp", "text.txt"} <= pages.keys()  # what is not said is as ever
    assert "page-2.webp" not in pages


async def test_the_preset_thumbnail_makes_thumbnails(new_server: Callable[..., Server]) -> None:
    server = new_server()
    await server.start()
    for name, data, expected in (
        ("a.jpg", media.jpeg(640, 480), {"thumbnail.webp"}),
        ("a.pdf", media.pdf(3, "Words"), {"thumbnail.webp"}),
        ("a.mp4", media.mp4(1), {"poster.webp", "thumbnail.webp"}),
    ):
        assert set(await made(server, name, data, "thumbnail")) == expected, name


async def test_a_preset_that_is_removed_fails_its_jobs_until_it_is_back(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    path = write(tmp_path / "data", "mine.toml", "version = 1\n")
    server = new_server(workers_any="0")
    await server.start()
    job_id = await upload(server, "mine")
    await server.end()

    path.unlink()
    server = new_server()
    await server.start()
    job = await server.finished(job_id)
    assert (job["status"], job["error"]["code"]) == ("FAILED", "preset_unknown")
    assert "Put its file back" in job["error"]["message"]
    await server.end()

    write(tmp_path / "data", "mine.toml", "version = 2\n")
    server = new_server()
    await server.start()
    await server.request("POST", f"/jobs/{job_id}/retry")
    job = await server.finished(job_id)
    assert (job["status"], job["presetVersion"]) == ("COMPLETED", 2)


async def test_the_client_names_a_preset(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server()
    await server.start()
    file = tmp_path / "a.txt"
    file.write_text("words")

    async def sent(preset: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *server.command, "upload", "--quiet", "--preset", preset, str(file),
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "APPLIANCE_KEY": server.key,
                 "APPLIANCE_SERVER": server.url},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return process.returncode, out.decode().strip(), err.decode()

    code, job_id, _ = await sent("thumbnail")
    assert code == 0
    assert (await server.finished(job_id))["preset"] == "thumbnail"
    code, _, told = await sent("nosuch")
    assert code == 1
    assert "There is no preset 'nosuch' here. There are: default, " in told


@pytest.mark.parametrize("command", ["serve", "check"])
def test_faulty_presets_stop_the_start_with_file_and_line(tmp_path: Path, command: str) -> None:
    bad = write(tmp_path, "bad.toml", "version = 1\nverison = 2\n")
    done = appliance(command, data_dir=tmp_path)
    assert done.returncode == 2
    assert f"{bad}, line 2: verison is not known here; did you mean version?" in done.stderr

    bad.write_text("version = 1\n\n[any]\nno_such_option = 1\n")
    worse = write(tmp_path, "worse.toml", "version = 1\n[nosuch]\n")
    done = appliance(command, data_dir=tmp_path)
    assert done.returncode == 2
    assert f"{bad}, line 4: [any] `no_such_option` is not known." in done.stderr
    assert f"{worse}, line 2: There is no processor nosuch." in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("admin.key"))


def test_an_api_server_takes_presets_as_they_are(tmp_path: Path) -> None:
    """It has no processor to ask; what it can read it judges all the same."""
    write(tmp_path, "bad.toml", "version = 0\n")
    done = appliance("serve", "--no-workers", data_dir=tmp_path)
    assert done.returncode == 2
    assert "bad.toml, line 1: version is a whole number" in done.stderr


def test_a_folder_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    done = appliance("check", data_dir=tmp_path / "data", presets_dir=str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "APPLIANCE_PRESETS_DIR: there is no folder" in done.stderr
