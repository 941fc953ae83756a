"""A whole appliance with encryption at rest: no file is on its disk, and all of it comes back."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import pytest

from appliance.errors import ConfigurationError
from tests import databases, media
from tests.conftest import Serve, Served
from tests.web.wire import services_of, upload

KEY, NEW_KEY = (b64encode(bytes([byte]) * 32).decode() for byte in (1, 2))
MARK = b"a sentence that nobody else may read "
TUS = {"Tus-Resumable": "1.0.0"}


def on_disk(served: Served) -> dict[str, bytes]:
    return {
        str(path.relative_to(served.data_dir)): path.read_bytes()
        for path in served.data_dir.rglob("*")
        if path.is_file()
    }


async def content(served: Served, path: str, **headers: str) -> bytes:
    async with served.admin.get(path, headers=headers) as response:
        assert response.status in (200, 206), await response.text()
        return await response.read()


async def test_nothing_of_a_file_is_on_the_disk(serve: Serve) -> None:
    served = await serve(workers=True, encryption_key=KEY)
    text, picture = MARK * 5000, media.jpeg(640, 480)
    jobs = [
        await upload(served, text, "letter.txt"),
        await upload(served, picture, "cat.jpg"),
    ]
    for job, original in zip(jobs, (text, picture), strict=True):
        done = await served.finished(job["jobId"])
        assert done["status"] == "COMPLETED", done
        assert done["sha256"] == hashlib.sha256(original).hexdigest()
        assert await content(served, f"/jobs/{job['jobId']}/files/original") == original
        part = await content(served, f"/jobs/{job['jobId']}/files/original", Range="bytes=100-199")
        assert part == original[100:200]
        for file in done["files"]:
            found = await content(served, file["url"])
            assert hashlib.sha256(found).hexdigest() == file["sha256"]
    for name, stored in on_disk(served).items():
        assert MARK not in stored, name
        if name.startswith("files/"):
            assert b"JFIF" not in stored, name
            assert b"WEBP" not in stored, name


async def again(served: Served, serve: Serve, **settings: str) -> Served:
    await served.stop()
    return await serve(**settings)


async def test_an_upload_goes_on_after_a_restart(serve: Serve) -> None:
    served = await serve(encryption_key=KEY)
    data = MARK * 60_000
    headers = {**TUS, "Upload-Length": str(len(data)), "Upload-Metadata": "filename YS50eHQ="}
    async with served.admin.post("/files", headers=headers) as response:
        assert response.status == 201
        path = response.headers["Location"]
    sent = 1_500_001
    for start, end in ((0, 5), (5, sent)):
        await patch(served, path, data, start, end)
    assert not any(MARK in stored for stored in on_disk(served).values())

    served = await again(served, serve, encryption_key=KEY)
    async with served.admin.head(path, headers=TUS) as response:
        assert response.headers["Upload-Offset"] == str(sent)
    await patch(served, path, data, sent, len(data))
    job_id = path.rsplit("/", 1)[1]
    job = await served.json("GET", f"/status/{job_id}")
    assert job["sha256"] == hashlib.sha256(data).hexdigest()
    assert await content(served, f"/jobs/{job_id}/files/original") == data


async def patch(served: Served, path: str, data: bytes, start: int, end: int) -> None:
    headers = {
        **TUS,
        "Upload-Offset": str(start),
        "Content-Type": "application/offset+octet-stream",
    }
    part = BytesIO(data[start:end])
    async with served.admin.patch(path, data=part, headers=headers) as response:
        assert response.status == 204, await response.text()
        assert response.headers["Upload-Offset"] == str(end)


async def test_a_missing_or_another_key_is_told_at_the_start(serve: Serve) -> None:
    served = await serve(encryption_key=KEY)
    job = await upload(served, MARK)
    with pytest.raises(ConfigurationError, match="the stored files are encrypted"):
        await again(served, serve)
    with pytest.raises(ConfigurationError, match="encrypted with another key"):
        await serve(encryption_key=NEW_KEY)
    served = await serve(encryption_key=KEY)
    assert await content(served, f"/jobs/{job['jobId']}/files/original") == MARK


async def test_a_new_key_in_the_file_replaces_the_old_one(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"{KEY}\n")
    served = await serve(encryption_key_file=str(file))
    job = await upload(served, MARK)
    for lines in (f"{NEW_KEY}\n{KEY}\n", f"{NEW_KEY}\n"):
        file.write_text(lines)
        served = await again(served, serve, encryption_key_file=str(file))
        assert await content(served, f"/jobs/{job['jobId']}/files/original") == MARK
    await served.stop()
    for broken, told in (("", "is empty"), ("short\n", "is not valid"), (None, "cannot be read")):
        file.unlink() if broken is None else file.write_text(broken)
        with pytest.raises(ConfigurationError, match=told):
            await serve(encryption_key_file=str(file))


async def test_a_damaged_file_is_refused_and_not_served(serve: Serve) -> None:
    served = await serve(encryption_key=KEY)
    job = await upload(served, MARK, "a.txt")
    stored = served.data_dir / "files/raw" / job["jobId"] / "a.txt"
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    async with served.admin.get(f"/jobs/{job['jobId']}/files/original") as response:
        assert response.status == 500
        assert (await response.json(content_type=None))["code"] == "object_damaged"


async def test_files_from_before_are_encrypted_by_the_command(serve: Serve) -> None:
    served = await serve()
    job = await upload(served, MARK, "a.txt")
    served = await again(served, serve, encryption_key=KEY)
    assert await content(served, f"/jobs/{job['jobId']}/files/original") == MARK
    said = await command(served, "status")
    assert "1 files from before are not encrypted" in said
    said = await command(served, "encrypt")
    assert "1 files encrypted." in said
    assert "what is not encrypted is refused" in said
    assert not any(MARK in stored for stored in on_disk(served).values())
    served = await again(served, serve, encryption_key=KEY)
    assert await content(served, f"/jobs/{job['jobId']}/files/original") == MARK
    assert "Nothing that is not encrypted" in await command(served, "status")


async def test_files_in_the_cold_place_are_encrypted_there(serve: Serve, tmp_path: Path) -> None:
    cold = {"cold_storage_url": f"file://{tmp_path}/cold"}
    served = await serve(**cold)
    jobs = [(await upload(served, MARK, name))["jobId"] for name in ("a.txt", "b.txt")]
    storage = services_of(served).storage
    await storage.make_cold(f"raw/{jobs[0]}/a.txt")
    both = served.data_dir / f"files/raw/{jobs[0]}/a.txt"
    both.parent.mkdir()
    both.write_bytes(MARK)  # as if the move had been broken off
    await served.stop()
    environ = {"APPLIANCE_COLD_STORAGE_URL": cold["cold_storage_url"]}
    served = await serve(encryption_key=KEY, **cold)
    assert "3 files from before" in await command(served, "status", **environ)
    assert "3 files encrypted." in await command(served, "encrypt", **environ)
    both.unlink()
    assert not any(MARK in path.read_bytes() for path in tmp_path.rglob("*.txt"))
    assert (tmp_path / f"cold/raw/{jobs[0]}/a.txt").exists()
    served = await again(served, serve, encryption_key=KEY, **cold)
    for job_id in jobs:
        assert await content(served, f"/jobs/{job_id}/files/original") == MARK


async def command(served: Served, *arguments: str, **environ: str) -> str:
    """What `appliance encryption` says, beside the server."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "encryption", *arguments),
        env={
            **databases.variables(served.data_dir),
            "APPLIANCE_ENCRYPTION_KEY": KEY,
            **environ,
        },
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()
