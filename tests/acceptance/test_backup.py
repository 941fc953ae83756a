"""Backups of a living appliance, and what is left when everything else is lost."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import databases, media
from tests.acceptance.conftest import DEADLINE_S, Server

TIMES = int(os.environ.get("APPLIANCE_TEST_BACKUPS", "3"))
"""How often a backup is taken under load: `make torture-backups` takes 50."""


async def run(
    data_dir: Path, *arguments: str | Path, expect: int = 0, **environ: str
) -> tuple[str, str]:
    process = await started(data_dir, *arguments, **environ)
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode == expect, (out.decode(), err.decode())
    return out.decode(), err.decode()


async def started(
    data_dir: Path, *arguments: str | Path, **environ: str
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "appliance", *map(str, arguments),
        env={"PATH": os.environ["PATH"], **databases.variables(data_dir), **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def uploaded(server: Server, name: str, content: bytes) -> Any:
    return await server.request("PUT", f"/upload/{name}", data=content)


async def has_all(server: Server, acknowledged: dict[str, bytes]) -> None:
    for job_id, content in acknowledged.items():
        assert await server.bytes_of(f"/jobs/{job_id}/files/original") == content


def objects(place: Path) -> dict[str, int]:
    return {
        path.name: path.stat().st_mtime_ns
        for path in (place / "objects").rglob("*")
        if path.is_file()
    }


@pytest.mark.timeout(120 + 20 * TIMES)
async def test_under_load_every_backup_restores_to_a_whole(
    server: Server, new_server: Callable[..., Server], tmp_path: Path
) -> None:
    place, acknowledged, deleted = tmp_path / "place", {}, set()  # type: dict[str, bytes], set[str]
    stop = asyncio.Event()

    async def load(number: int) -> None:
        count = 0
        while not stop.is_set():
            content = f"{number} {count}\n".encode() * 500
            job = await uploaded(server, f"{number}-{count}.txt", content)
            acknowledged[job["jobId"]] = content
            count += 1
            if count % 3 == 0:
                await server.finished(job["jobId"])
                deleted.add(job["jobId"])
                del acknowledged[job["jobId"]]
                await server.request("DELETE", f"/jobs/{job['jobId']}")

    loads = [asyncio.create_task(load(number)) for number in range(4)]
    backups: list[tuple[str, dict[str, bytes]]] = []
    try:
        for _ in range(TIMES):
            before = dict(acknowledged)
            out, _ = await run(server.data_dir, "backup", place, "--json", "--keep", "99")
            gone = set(before) - set(acknowledged)  # deleted while it was taken
            taken = json.loads(out)
            assert (taken["missing"], taken["damaged"]) == ([], [])
            kept = {job_id: one for job_id, one in before.items() if job_id not in gone}
            backups.append((taken["snapshot"], kept))
    finally:
        stop.set()
        await asyncio.gather(*loads)
    assert await server.end() == 0
    for number, (snapshot, kept) in enumerate(backups):
        restored = new_server(tmp_path / f"restored-{number}")
        await run(restored.data_dir, "verify", place, "--snapshot", snapshot)
        await run(restored.data_dir, "restore", place, "--snapshot", snapshot)
        await restored.start()
        await has_all(restored, kept)
        for job_id in kept:
            assert (await restored.finished(job_id))["status"] == "COMPLETED"
        assert await restored.end() == 0


async def test_a_disaster(
    server: Server, new_server: Callable[..., Server], tmp_path: Path
) -> None:
    """As docs/backup.md goes through it: all is lost but the backup."""
    place = tmp_path / "place"
    picture = media.jpeg(800, 600)
    job = await server.finished((await uploaded(server, "cat.jpg", picture))["jobId"])
    out, _ = await run(server.data_dir, "backup", place)
    assert "new were" in out
    assert await server.end(signal.SIGKILL) == -signal.SIGKILL
    key = server.key
    shutil.rmtree(server.data_dir)
    databases.lose(server.data_dir)

    out, _ = await run(server.data_dir, "restore", place)
    assert "every digest right" in out
    again = new_server(server.data_dir)
    await again.start()
    assert again.key == key
    assert await again.bytes_of(f"/jobs/{job['jobId']}/files/original") == picture
    for file in job["files"]:
        content = await again.bytes_of(file["url"])
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    # It goes on as if nothing had been.
    more = await uploaded(again, "dog.jpg", picture)
    assert (await again.finished(more["jobId"]))["status"] == "COMPLETED"

    _, err = await run(again.data_dir, "restore", place, expect=2)
    assert "another appliance runs" in err
    await again.end()
    _, err = await run(again.data_dir, "restore", place, expect=2)
    assert "There is something already" in err


async def test_only_what_is_new_is_copied_and_old_ones_go(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "place"
    first = await uploaded(server, "a.txt", b"a" * 5000)
    await server.finished(first["jobId"])
    await run(server.data_dir, "backup", place)
    before = objects(place)
    assert hashlib.sha256(b"a" * 5000).hexdigest() in before

    second = await uploaded(server, "b.txt", b"b" * 5000)
    await server.finished(second["jobId"])
    await server.request("DELETE", f"/jobs/{first['jobId']}")
    await run(server.data_dir, "backup", place)
    after = objects(place)
    assert {name: after[name] for name in before} == before, "nothing is written twice"
    out, _ = await run(server.data_dir, "backup", place, "--list")
    assert len(out.splitlines()) == 2

    await run(server.data_dir, "backup", place, "--keep", "1")
    out, _ = await run(server.data_dir, "backup", place, "--list")
    assert len(out.splitlines()) == 1
    left = objects(place)
    assert hashlib.sha256(b"a" * 5000).hexdigest() not in left
    assert hashlib.sha256(b"b" * 5000).hexdigest() in left
    await run(server.data_dir, "verify", place)


async def test_what_rots_is_found_and_not_restored(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "place"
    contents = [b"one" * 2000, b"two" * 2000]
    for number, content in enumerate(contents):
        await server.finished((await uploaded(server, f"{number}.txt", content))["jobId"])
    await run(server.data_dir, "backup", place)
    sha256 = hashlib.sha256(contents[0]).hexdigest()
    rotten = place / "objects" / sha256[:2] / sha256
    flip(rotten)

    _, err = await run(server.data_dir, "verify", place, expect=1)
    assert sha256 in err
    ((faults,),) = databases.rows(server.data_dir, "SELECT faults FROM backups")
    assert sha256 in faults

    # The next one reads what is there, and puts right what it can.
    await run(server.data_dir, "backup", place)
    await run(server.data_dir, "verify", place)
    flip(rotten)

    _, err = await run(tmp_path / "new", "restore", place, expect=2)
    assert sha256 in err
    assert "--despite-damage" in err
    assert not (tmp_path / "new/appliance.db").exists()
    _, err = await run(tmp_path / "new", "serve", expect=2)
    assert "Give `appliance restore` again" in err
    _, err = await run(tmp_path / "new", "restore", place, "--despite-damage", expect=1)
    assert "0.txt" in err
    found = [path.read_bytes() for path in (tmp_path / "new/files/raw").rglob("*.txt")]
    assert found == [contents[1]]


async def test_a_rotten_file_does_not_come_into_a_backup(server: Server, tmp_path: Path) -> None:
    job = await uploaded(server, "a.txt", b"a" * 5000)
    await server.finished(job["jobId"])
    (original,) = (server.data_dir / "files/raw").rglob("a.txt")
    flip(original)
    place = tmp_path / "place"
    _, err = await run(server.data_dir, "backup", place, expect=1)
    assert "damaged in the store" in err
    original.unlink()
    _, err = await run(server.data_dir, "backup", place, expect=1)
    assert "missing in the store" in err
    await run(server.data_dir, "verify", place)
    await run(tmp_path / "new", "restore", place, expect=1)


async def test_files_that_are_encrypted_later_are_taken_anew(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    place, key = tmp_path / "place", {"APPLIANCE_ENCRYPTION_KEY": secret}
    server = new_server()
    await server.start()
    job = await uploaded(server, "secret.txt", b"nobody reads this" * 300)
    await server.finished(job["jobId"])
    await run(server.data_dir, "backup", place)
    await server.end()
    server.settings["encryption_key"] = secret
    await server.start()
    await run(server.data_dir, "backup", place, **key)  # while both kinds are there
    await run(server.data_dir, "encryption", "encrypt", **key)
    await run(server.data_dir, "backup", place, "--keep", "1", **key)
    await server.end()
    for path in place.rglob("*"):
        assert path.is_dir() or b"nobody reads this" not in path.read_bytes()
    await run(tmp_path / "new", "restore", place, **key)
    again = new_server(tmp_path / "new", encryption_key=secret)
    await again.start()
    await has_all(again, {job["jobId"]: b"nobody reads this" * 300})


async def test_encrypted_files_stay_so(new_server: Callable[..., Server], tmp_path: Path) -> None:
    secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    place = tmp_path / "place"
    server = new_server(encryption_key=secret)
    await server.start()
    job = await uploaded(server, "secret.txt", b"nobody reads this" * 300)
    await server.finished(job["jobId"])
    await run(server.data_dir, "backup", place, APPLIANCE_ENCRYPTION_KEY=secret)
    await server.end()
    for path in place.rglob("*"):
        assert path.is_dir() or b"nobody reads this" not in path.read_bytes()
        assert path.is_dir() or secret.encode() not in path.read_bytes()

    out, _ = await run(tmp_path / "new", "restore", place, APPLIANCE_ENCRYPTION_KEY=secret)
    assert "the same encryption key" in out
    again = new_server(tmp_path / "new", encryption_key=secret)
    await again.start()
    await has_all(again, {job["jobId"]: b"nobody reads this" * 300})


@pytest.mark.parametrize("command", ["backup", "restore"])
async def test_kill_9_in_the_middle_and_once_more(
    server: Server, tmp_path: Path, command: str
) -> None:
    place = tmp_path / "place"
    contents = {}
    for number in range(40):
        content = gzip.compress(os.urandom(200_000), 1)
        job = await uploaded(server, f"{number}.gz", content)
        contents[job["jobId"]] = content
    for job_id in contents:
        await server.finished(job_id)
    target = server.data_dir
    if command == "restore":
        await run(server.data_dir, "backup", place)
        target = tmp_path / "new"
    process = await started(target, command, place)
    seen = place if command == "backup" else target / "files/raw"
    async with asyncio.timeout(DEADLINE_S):
        while len(list(seen.rglob("*"))) < 20 and process.returncode is None:
            await asyncio.sleep(0.001)
    process.kill()
    await process.communicate()
    assert not (target / "appliance.db").exists() or command == "backup"
    await run(target, command, place)
    if command == "backup":
        await run(target, "verify", place)
        target = tmp_path / "new"
        await run(target, "restore", place)
    await server.end()
    again = Server(target)
    await again.start()
    try:
        await has_all(again, contents)
    finally:
        await again.end()


async def test_taken_and_proven_by_itself(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = new_server(backup_url=f"file://{tmp_path}/place", backup_every_s="1")
    await server.start()
    job = await uploaded(server, "a.txt", b"a" * 5000)
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if databases.rows(
                server.data_dir,
                "SELECT 1 FROM backups WHERE snapshot IS NOT NULL AND proven_at IS NOT NULL",
            ):
                break
            await asyncio.sleep(0.05)
    await server.end()
    assert job["jobId"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["backup"], "set APPLIANCE_BACKUP_URL"),
        (["verify", "/nowhere/at/all"], "There is no backup in this place"),
        (["restore", "{empty}"], "There is no backup in this place"),
        (["restore", "{empty}", "--snapshot", "x"], "There is no backup in this place"),
        (["backup", "/proc/1/backups"], "cannot be written"),
        (["backup", "s3://"], "name the bucket"),
        (["backup", "{empty}", "--keep", "0"], "above 0"),
    ],
)
async def test_what_makes_no_sense_says_how_to_mend_it(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    given = [one.format(empty=tmp_path / "empty") for one in arguments]
    _, err = await run(tmp_path / "data", *given, expect=2)
    assert says in err


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o640)
    path.write_bytes(content)


async def test_what_was_deleted_meanwhile_is_gone_after_a_restore(
    server: Server, new_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Files that went between the copy of the database and theirs: seldom, so it is written."""
    place = tmp_path / "place"
    gone, kept = [await uploaded(server, f"{n}.txt", f"{n}".encode() * 500) for n in range(2)]
    await run(server.data_dir, "backup", place)
    (manifest,) = (place / "snapshots").iterdir()
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        if f"/{gone['jobId']}/" in line.get("key", ""):
            line |= {"lacking": "deleted"}
    manifest.chmod(0o640)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    await run(server.data_dir, "verify", place)
    await server.end()
    again = new_server(tmp_path / "new")
    await run(again.data_dir, "restore", place)
    await again.start()
    found = (await again.request("GET", "/jobs"))["jobs"]
    assert [job["jobId"] for job in found] == [kept["jobId"]]


@pytest.mark.parametrize("key", ["raw/../../evil.txt", "data/../evil.txt", "data/"])
async def test_a_manifest_that_leads_elsewhere_is_refused(
    server: Server, tmp_path: Path, key: str
) -> None:
    place = tmp_path / "place"
    await uploaded(server, "a.txt", b"a" * 500)
    await run(server.data_dir, "backup", place)
    (manifest,) = (place / "snapshots").iterdir()
    head, first, *rest = manifest.read_text().splitlines()
    evil = json.dumps(json.loads(first) | {"key": key})
    manifest.chmod(0o640)
    manifest.write_text("\n".join([head, evil, *rest, ""]))
    _, err = await run(tmp_path / "new", "restore", place, expect=2)
    assert "The backup names" in err
    assert "Traceback" not in err
    assert list(tmp_path.rglob("evil.txt")) == []
