"""`appliance dead-letters`, beside a running server and without one."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from appliance.database import jobs
from appliance.database.protocol import Database
from appliance.ids import new_id
from tests import databases, media
from tests.acceptance.conftest import Server
from tests.acceptance.test_command import appliance
from tests.records import FAULT, a_job

WHY = {"reason": "tests"}


async def run(server: Server | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    data_dir = server.data_dir if isinstance(server, Server) else server
    return await asyncio.to_thread(appliance, "dead-letters", *arguments, data_dir=data_dir)


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[Database]:
    """The database, as the command opens it."""
    database = await databases.opened(data_dir)
    try:
        yield database
    finally:
        await database.close()


async def give_up(database: Database, job_id: str, **changes: str) -> None:
    assert await database.write(jobs.claim(job_id, worker="w", now=1_000_000.0))
    assert await database.write(
        jobs.fail(
            job_id,
            attempt=1,
            now=1_000_000.0,
            error=msgspec.structs.replace(FAULT, **changes),
            error_class="ChildCrashed",
            stderr_tail="Segmentation fault\n\x1b[2Jhostile",
        )
    )


async def given_up(data_dir: Path, count: int, **changes: str) -> list[str]:
    """Ids of jobs with a dead letter, whose files there are none of."""
    async with opened(data_dir) as database:
        made = sorted((a_job() for _ in range(count)), key=lambda job: job.id)
        await database.write(jobs.create(made))
        for job in made:
            await give_up(database, job.id, **changes)
    return [job.id for job in made]


async def upload(server: Server, data: bytes, name: str) -> str:
    job = await server.request("POST", "/upload", params={"filename": name}, data=data)
    return str(job["jobId"])


async def mended(server: Server, count: int) -> list[str]:
    """Ids of jobs that were given up through a fault that is gone."""
    await server.request("PUT", "/pauses/type/ANY", json=WHY)
    ids = [await upload(server, b"words", "a.txt") for _ in range(count)]
    async with opened(server.data_dir) as database:
        for job_id in ids:
            await give_up(database, job_id)
    await server.request("DELETE", "/pauses/type/ANY")
    return sorted(ids)


# --- list, show --------------------------------------------------------------------------


async def test_groups_first_then_one_by_one(tmp_path: Path) -> None:
    broken = await given_up(tmp_path, 2, code="corrupt_file", message="No \x1b[31mend.")
    crashed = await given_up(tmp_path, 3)
    done = await run(tmp_path, "list")
    assert (done.returncode, done.stderr) == (0, "")
    groups, _, letters = done.stdout.partition("\n\n")
    assert [line.split()[1] for line in groups.splitlines()] == ["3", "2"]
    assert "child_crashed" in groups.splitlines()[0]
    assert r"No \x1b[31mend." in groups
    lines = letters.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == sorted(broken + crashed, reverse=True)
    assert lines[-1] == "5 in all."

    done = await run(tmp_path, "list", "--code", "corrupt_file", "--limit", "1")
    assert "child_crashed" not in done.stdout
    assert done.stdout.splitlines()[-1] == "1 of 2."

    document = json.loads((await run(tmp_path, "list", "--type", "image", "--json")).stdout)
    assert document["matching"] == 5
    assert [group["jobs"] for group in document["groups"]] == [3, 2]
    assert {letter["jobId"] for letter in document["deadLetters"]} == {*broken, *crashed}
    done = await run(tmp_path, "list", "--until", "1970-01-01T00:00:00Z", "--json")
    assert json.loads(done.stdout) == {"groups": [], "deadLetters": [], "matching": 0}


async def test_one_with_its_story(tmp_path: Path) -> None:
    job_id, _ = await given_up(tmp_path, 2)
    done = await run(tmp_path, "show", job_id)
    assert done.returncode == 0
    for words in (job_id, "cat.jpg", "child_crashed", "It broke.", "1 more failed alike",
                  "attempt 1", "Segmentation fault", r"\x1b[2Jhostile", "FAILED"):  # fmt: skip
        assert words in done.stdout
    assert "\x1b" not in done.stdout
    document = json.loads((await run(tmp_path, "show", job_id, "--json")).stdout)
    assert (document["jobId"], document["others"]) == (job_id, 1)


# --- what makes no sense -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retry"], "Say which"),
        (["discard", "--yes"], "Say which"),
        (["retry", "--all", "--code", "x"], "Say which"),
        (["retry", "--all", "01M85F1MKT1XZEV6WT98GJ23JH"], "Say which"),
        (["retry", "--code", "x", "01M85F1MKT1XZEV6WT98GJ23JH"], "Say which"),
        (["retry", "x"], "'x' is not the id of a job"),
        (["retry", "\x1b[2J"], "is not the id"),
        (["discard", "01M85F1MKT1XZEV6WT98GJ23JH"], "there is no dead letter"),
        (["show", "01M85F1MKT1XZEV6WT98GJ23JH"], "no dead letter of a job"),
        (["show", "x"], "no dead letter of a job"),
        (["list", "--type", "AUDIO"], "type is one of"),
        (["list", "--since", "yesterday"], "since is a time"),
        (["list", "--fingerprint", "x"], "16 hexadecimal digits"),
        (["list", "--limit", "0"], "a whole number from 1"),
        (["retry", "--all", "--limit", "x"], "a whole number from 1"),
        ([], "required"),
    ],
)
async def test_what_makes_no_sense_says_how_to_mend_it(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = await run(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


async def test_a_filter_that_matches_nothing(tmp_path: Path) -> None:
    for act in ("retry", "discard"):
        done = await run(tmp_path, act, "--code", "none")
        assert (done.returncode, done.stdout) == (0, "No dead letter matches.\n")


# --- retry, discard ----------------------------------------------------------------------


async def test_a_running_server_does_what_is_tried_again(server: Server) -> None:
    ids = await mended(server, 2)
    done = await run(server, "retry", ids[0], "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert "One dead letter is tried again" in done.stdout
    assert "Wave 1: 1 completed." in done.stdout
    job = await server.request("GET", f"/jobs/{ids[0]}")
    assert job["status"] == "COMPLETED"
    assert any("tried again by shell:" in (entry["detail"] or "") for entry in job["history"])
    (act, *_) = (await server.request("GET", "/audit"))["acts"]
    assert (act["action"], act["jobs"]) == ("dead_letters.retry", 1)
    assert act["actor"].startswith("shell:")
    assert (await server.request("GET", "/dead-letters"))["matching"] == 1


async def test_waves_are_told_one_by_one(server: Server) -> None:
    await mended(server, 12)
    done = await run(server, "retry", "--all", "--staged", "--wait")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[1:] == [
        "Wave 1: 1 completed.",
        "Wave 2: 10 completed.",
        "Wave 3: 1 completed.",
        "Done: 12 completed.",
    ]


async def test_waves_stop_when_it_fails_again(server: Server) -> None:
    for _ in range(3):
        job_id = await upload(server, media.damaged(media.truncated(media.jpeg())), "broken.jpg")
        assert (await server.finished(job_id))["status"] == "FAILED"
    done = await run(server, "retry", "--type", "IMAGE", "--staged", "--wait")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "Wave 1: 0 completed, 1 failed again.",
        "Stopped: too many failed again. 2 were not begun.",
    ]
    assert (await server.request("GET", "/dead-letters"))["matching"] == 3


async def test_discarding_what_matches(tmp_path: Path) -> None:
    ids = await given_up(tmp_path, 3)
    await given_up(tmp_path, 2, code="corrupt_file")
    done = await run(tmp_path, "discard", *ids[:2], new_id())
    assert (done.returncode, done.stdout) == (0, "2 dead letters are discarded.\n")
    done = await run(tmp_path, "discard", "--code", "corrupt_file", "--yes")
    assert done.stdout == "2 dead letters are discarded.\n"
    done = await run(tmp_path, "discard", "--all")
    assert done.stdout == "One dead letter is discarded.\n"


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 2), ("", 2), ("\x04", 2)])
async def test_a_terminal_is_asked(tmp_path: Path, answer: str, left: int) -> None:
    ids = await given_up(tmp_path, 2)
    await given_up(tmp_path, 1, code="corrupt_file")
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "dead-letters", "discard", *ids],
        env={"PATH": os.environ["PATH"], **databases.variables(tmp_path)},
        stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(ours, answer.encode() + (b"" if answer == "\x04" else b"\n"))
    told, faults = await asyncio.to_thread(process.communicate, timeout=60)
    os.close(ours)
    os.close(its)
    assert (process.returncode, faults) == (0, "")
    assert "Discard 2 dead letters?" in told
    document = json.loads((await run(tmp_path, "list", "--json")).stdout)
    assert document["matching"] == left + 1


async def test_what_the_server_is_receiving_is_left_alone(server: Server) -> None:
    (server.data_dir / "files" / "incoming" / "part").write_bytes(b"half")
    await run(server, "retry", "--all")
    await run(server, "discard", "--all")
    assert (server.data_dir / "files" / "incoming" / "part").exists()
