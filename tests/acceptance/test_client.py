"""The client commands, as somebody types them, against a real server over a network that breaks."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import hashlib
import json
import math
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests import media
from tests.acceptance.conftest import Server
from tests.acceptance.proxies import Proxy, proxy_to
from tests.conftest import ADMIN_KEY, Serve

LARGE_BYTES = 6_000_000
DEADLINE_S = 60.0


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Client:
    """`appliance upload`, `status` and `download`, with a state and a folder of its own."""

    def __init__(self, folder: Path, server_url: str, key: str) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder.parent / "state"),
            "APPLIANCE_SERVER": server_url,
            "APPLIANCE_KEY": key,
        }

    async def start(self, *arguments: str | Path) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "appliance", *map(str, arguments),
            env=self.environ, cwd=self.folder, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str | Path, stdin: bytes = b"") -> Done:
        return await self.end(await self.start(*arguments), stdin)

    async def end(self, process: asyncio.subprocess.Process, stdin: bytes = b"") -> Done:
        async with asyncio.timeout(DEADLINE_S):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        done = Done(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in done.err, done.err
        return done

    @property
    def notes(self) -> list[Path]:
        return list((self.folder.parent / "state/appliance/uploads").glob("*"))


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Client:
    folder = tmp_path / "client"
    folder.mkdir()
    return Client(folder, server.url, server.key)


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with proxy_to(server.url) as proxy:
        yield proxy


@pytest.fixture
def through(client: Client, proxy: Proxy) -> Client:
    client.environ["APPLIANCE_SERVER"] = proxy.url
    return client


def large(path: Path, size_bytes: int = LARGE_BYTES, *, seed: int = 1) -> bytes:
    """A file of a type that is taken and that nothing makes smaller."""
    content = gzip.compress(random.Random(seed).randbytes(size_bytes), 0)
    path.write_bytes(content)
    return content


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def jobs_of(server: Server) -> list[Any]:
    found: list[Any] = (await server.request("GET", "/jobs?limit=200"))["jobs"]
    return found


# --- what is sent ----------------------------------------------------------------------------


async def test_a_rate_limit_is_waited_for(serve: Serve, tmp_path: Path) -> None:
    served = await serve(rate_uploads="3/s")
    folder = tmp_path / "client"
    (folder / "trip").mkdir(parents=True)
    for number in range(9):
        (folder / f"trip/{number}.txt").write_text(f"{number} has words")
    done = await Client(folder, served.url, ADMIN_KEY).run("upload", "trip", "--parallel", "4")
    assert (done.code, done.err) == (0, "")
    names = [job["filename"] for job in (await served.json("GET", "/jobs"))["jobs"]]
    assert sorted(names) == [f"{number}.txt" for number in range(9)]
    async with served.admin.get("/metrics") as response:
        assert re.search(r'route="/files",status="429"\} [1-9]', await response.text())


async def test_files_folders_and_patterns_arrive_each_once(server: Server, client: Client) -> None:
    names = ["trip/a.txt", "trip/deep/er/b.txt", "more/c.txt", "more/d.txt", "e.txt"]
    for name in names:
        path = client.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} has words\n" * 50)
    done = await client.run(
        "upload", "trip", "more/*.txt", "trip/a.txt", "e.txt", "--parallel", "2",
        "--priority", "7", "--metadata", "album=Crete", "--metadata", "by=me=you",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 5
    jobs = {job["filename"]: job for job in await jobs_of(server)}
    assert set(jobs) == {Path(name).name for name in names}
    for name in names:
        job = await server.request("GET", f"/status/{jobs[Path(name).name]['jobId']}")
        assert job["sha256"] == sha256((client.folder / name).read_bytes())
        assert job["priority"] == 7
        assert job["metadata"].items() >= {"album": "Crete", "by": "me=you"}.items()
        if name.startswith("trip"):
            assert job["metadata"]["relativePath"] == name
    assert client.notes == []


async def test_standard_input_is_sent_block_by_block(server: Server, client: Client) -> None:
    content = gzip.compress(random.Random(2).randbytes(17_000_000), 0)
    done = await client.run("upload", "-", "--name", "from a pipe.gz", "--json", stdin=content)
    assert done.code == 0, done.err
    (line,) = done.lines
    assert line["sizeBytes"] == len(content)
    assert line["job"]["filename"] == "from a pipe.gz"
    assert line["job"]["sha256"] == sha256(content)


async def test_a_stream_of_exactly_one_block_ends(server: Server, client: Client) -> None:
    content = b"line of text\n" * (8 * 1024 * 1024 // 13 + 1)
    content = content[: 8 * 1024 * 1024]
    done = await client.run("upload", "-", "--name", "block.txt", "--json", stdin=content)
    assert done.code == 0, done.err
    assert done.lines[0]["job"]["sha256"] == sha256(content)


async def test_who_stops_reading_the_results_stops_no_upload(
    server: Server, client: Client
) -> None:
    for number in range(5):
        (client.folder / f"{number}.txt").write_text(f"number {number}")
    process = await client.start("upload", ".", "--parallel", "1")
    assert process.stdout is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert (await client.end(process)).code == 0
    assert len(await jobs_of(server)) == 5


async def test_wait_follows_the_jobs_to_the_end(server: Server, client: Client) -> None:
    (client.folder / "good.jpg").write_bytes(media.jpeg(320, 240))
    (client.folder / "bad.jpg").write_bytes(media.jpeg(320, 240)[:400])
    done = await client.run("upload", "good.jpg", "--wait")
    assert done.code == 0, done.err
    assert re.fullmatch(r"[0-9A-Z]{26}  COMPLETED   good\.jpg\n", done.out)
    done = await client.run("upload", "good.jpg", "bad.jpg", "--wait", "--json")
    assert done.code == 1
    told = {line["file"]: line for line in done.lines}
    assert told["good.jpg"]["status"] == told["good.jpg"]["job"]["status"] == "COMPLETED"
    assert told["bad.jpg"]["status"] == "FAILED"
    assert told["bad.jpg"]["job"]["error"]["code"] == "corrupt_file"
    assert "1 of 2 files failed" in done.err


async def test_quiet_tells_ids_alone(client: Client) -> None:
    (client.folder / "a.txt").write_text("words")
    done = await client.run("upload", "a.txt", "-q")
    assert re.fullmatch(r"[0-9A-Z]{26}\n", done.out)
    assert (done.code, done.err) == (0, "")


async def test_what_is_refused_is_told_and_the_others_go_on(server: Server, client: Client) -> None:
    large(client.folder / "wrong.jpg")
    (client.folder / "empty.txt").touch()
    (client.folder / "good.txt").write_text("words")
    done = await client.run("upload", ".", "--json")
    assert done.code == 1
    told = {Path(line["file"]).name: line for line in done.lines}
    assert told["good.txt"]["error"] is None
    assert told["wrong.jpg"]["error"]["code"] == "file_type_mismatch"
    assert "content is gzip" in told["wrong.jpg"]["error"]["message"]
    assert "is empty" in told["empty.txt"]["error"]["message"]
    assert [job["filename"] for job in await jobs_of(server)] == ["good.txt"]


# --- what breaks -----------------------------------------------------------------------------


@pytest.mark.parametrize("after_bytes", [700, 1_500, 70_000, 2_000_000, LARGE_BYTES])
async def test_a_killed_client_goes_on_where_it_stopped(
    after_bytes: int, server: Server, through: Client, proxy: Proxy
) -> None:
    content = large(through.folder / "film.gz")
    await proxy.there.allow(after_bytes)
    process = await through.start("upload", "film.gz")
    await proxy.there.reached()
    process.kill()
    await process.wait()
    proxy.cut()  # what is still in the buffers of the network is gone with it
    await proxy.there.allow(math.inf)

    done = await through.run("upload", "film.gz", "--json")
    assert done.code == 0, done.err
    (line,) = done.lines
    assert line["job"]["sha256"] == sha256(content)
    assert len(await jobs_of(server)) == 1
    assert through.notes == []
    last = proxy.requests("PATCH")[-1]
    assert f"Upload-Offset: {line['resumedBytes']}" in last
    if after_bytes >= 70_000:  # bytes of the file had been sent, and are not sent again
        assert 0 < line["resumedBytes"] <= after_bytes
        assert len(proxy.requests("POST")) == 1
        assert int(line["resumedBytes"]) > after_bytes - 1_000_000


async def test_a_command_given_again_sends_only_what_is_missing(
    server: Server, through: Client, proxy: Proxy
) -> None:
    folder = through.folder / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(f"photo {number}")
    content = large(folder / "4.gz")
    await proxy.there.allow(2_000_000)
    process = await through.start("upload", "photos", "--parallel", "1")
    await proxy.there.reached()
    process.send_signal(signal.SIGINT)
    stopped = await through.end(process)
    assert stopped.code == 130
    assert "given again, goes on from here" in stopped.err
    assert len(await jobs_of(server)) == 4
    await proxy.there.allow(math.inf)

    done = await through.run("upload", "photos", "--parallel", "1")
    assert done.code == 0, done.err
    assert done.out.count("(was there already)") == 4
    assert done.out.count("(went on at") == 1
    jobs = await jobs_of(server)
    assert len(jobs) == 5
    original = await server.bytes_of(f"/jobs/{jobs[0]['jobId']}/files/original")
    assert original == content
    # It is done with: given once more, it is meant.
    assert through.notes == []
    assert (await through.run("upload", "photos")).code == 0
    assert len(await jobs_of(server)) == 10


async def test_a_lost_network_is_outlived_at_any_byte(
    server: Server, through: Client, proxy: Proxy
) -> None:
    content = large(through.folder / "film.gz")
    await proxy.there.allow(1_000)
    process = await through.start("upload", "film.gz", "--json")
    chance = random.Random(3)
    for _ in range(6):
        await proxy.there.reached()
        proxy.cut()
        await proxy.there.allow(chance.randrange(1, 1_500_000))
    await proxy.there.allow(math.inf)
    done = await through.end(process)
    assert done.code == 0, done.err
    assert done.lines[0]["job"]["sha256"] == sha256(content)
    assert len(await jobs_of(server)) == 1


async def test_an_answer_that_is_lost_makes_no_second_job(
    server: Server, through: Client, proxy: Proxy
) -> None:
    content = large(through.folder / "film.gz")
    await proxy.there.allow(2_000_000)
    process = await through.start("upload", "film.gz", "--json")
    await proxy.there.reached()
    await proxy.back.allow(0)  # the last byte goes through, the answer does not
    await proxy.there.allow(math.inf)
    async with asyncio.timeout(DEADLINE_S):
        while not await jobs_of(server):
            await asyncio.sleep(0.05)
    proxy.cut()
    await proxy.back.allow(math.inf)
    done = await through.end(process)
    assert done.code == 0, done.err
    assert done.lines[0]["job"]["sha256"] == sha256(content)
    assert len(await jobs_of(server)) == 1
    assert len(proxy.requests("PATCH")) == 1


@pytest.mark.parametrize("how", ["file", "stream"])
async def test_a_server_that_is_killed_and_started_again_gets_all_of_it(
    how: str, server: Server, through: Client, proxy: Proxy
) -> None:
    content = large(through.folder / "film.gz", 3 * LARGE_BYTES)
    await proxy.there.allow(2 * LARGE_BYTES)
    if how == "file":
        process = await through.start("upload", "film.gz", "--wait", "--json")
        ended = asyncio.create_task(through.end(process))
    else:
        process = await through.start("upload", "-", "--name", "film.gz", "--wait", "--json")
        ended = asyncio.create_task(through.end(process, content))
    await proxy.there.reached()
    await server.end(signal.SIGKILL)
    proxy.cut()
    sent_bytes = proxy.there.passed_bytes
    await server.start()
    proxy.target_url = server.url
    await proxy.there.allow(math.inf)
    done = await ended
    assert done.code == 0, done.err
    (line,) = done.lines
    assert line["job"]["sha256"] == sha256(content)
    assert line["status"] == "COMPLETED"
    assert len(await jobs_of(server)) == 1
    assert proxy.requests("HEAD")
    assert len(proxy.requests("POST")) == 1
    if how == "file":  # what was told after the kill is not more than what can have been there
        offset = re.search(r"Upload-Offset: (\d+)", proxy.requests("PATCH")[-1])
        assert offset is not None
        assert int(offset[1]) <= sent_bytes


async def test_a_server_that_stays_away_is_given_up(
    server: Server, through: Client, proxy: Proxy
) -> None:
    large(through.folder / "film.gz")
    await proxy.there.allow(2_000_000)
    process = await through.start("upload", "film.gz", "--retry-for", "1")
    await proxy.there.reached()
    await server.end(signal.SIGKILL)
    proxy.cut()
    done = await through.end(process)
    assert done.code == 1
    assert "film.gz: The connection to" in done.err
    assert len(through.notes) == 1


async def test_a_file_that_changes_while_it_is_sent_is_told_and_not_kept(
    server: Server, through: Client, proxy: Proxy
) -> None:
    path = through.folder / "log.gz"
    large(path)
    await proxy.there.allow(1_000_000)
    process = await through.start("upload", "log.gz")
    await proxy.there.reached()
    with path.open("ab") as file:
        file.write(b"one more line")
    await proxy.there.allow(math.inf)
    done = await through.end(process)
    assert done.code == 1
    assert "It changed while it was sent" in done.err
    assert await jobs_of(server) == []
    assert len(proxy.requests("DELETE")) == 1
    assert through.notes == []


async def test_one_upload_is_the_work_of_one_command(through: Client, proxy: Proxy) -> None:
    large(through.folder / "film.gz")
    await proxy.there.allow(1_000_000)
    process = await through.start("upload", "film.gz")
    await proxy.there.reached()
    process.kill()
    await process.wait()
    proxy.cut()
    await proxy.there.allow(math.inf)
    (note,) = through.notes
    assert note.stat().st_mode & 0o777 == 0o600
    assert through.environ["APPLIANCE_KEY"] not in note.read_text()
    with note.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = await through.run("upload", "film.gz")
        assert done.code == 1
        assert "being uploaded by another command" in done.err
    assert "(went on at" in (await through.run("upload", "film.gz")).out


# --- what cannot be begun --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["upload a.txt", f"status {'0' * 26}", f"download {'0' * 26}"])
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"APPLIANCE_KEY": ""}, "appliance keys create"),
        ({"APPLIANCE_KEY": "upa_wrong"}, "Check APPLIANCE_KEY"),
        ({"APPLIANCE_SERVER": "http://127.0.0.1:1"}, "No connection to http://127.0.0.1:1 ("),
        ({"APPLIANCE_SERVER": "127.0.0.1"}, "such as http://127.0.0.1:8080"),
    ],
)
async def test_it_is_said_why_and_how_to_mend_it(
    command: str, changed: dict[str, str], words: str, client: Client
) -> None:
    (client.folder / "a.txt").write_text("words")
    client.environ |= changed
    done = await client.run(*command.split())
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


async def test_the_faults_of_names_are_told_all_at_once(client: Client) -> None:
    done = await client.run("upload", "nowhere.txt", "*.jpg", "-", stdin=b"x")
    assert done.code == 2
    for words in ("nowhere.txt: no such file", "*.jpg: nothing matches", "--name NAME"):
        assert words in done.err
    assert (await client.run("upload")).code == 2


async def test_a_server_s_settings_are_no_matter_of_the_client(client: Client) -> None:
    (client.folder / "appliance.toml").write_text("port = 'none at all'")
    (client.folder / "a.txt").write_text("words")
    client.environ["APPLIANCE_WORKERS_IMAGE"] = "many"
    done = await client.run("upload", "a.txt")
    assert done.code == 0, done.err


# --- reading ---------------------------------------------------------------------------------


@pytest.fixture
async def job(server: Server, client: Client) -> Any:
    (client.folder / "photo.jpg").write_bytes(media.jpeg(640, 480))
    done = await client.run("upload", "photo.jpg", "--wait", "--json")
    assert done.code == 0, done.err
    return done.lines[0]["job"]


async def test_status_reads_a_job(server: Server, client: Client, job: Any) -> None:
    done = await client.run("status", job["jobId"])
    assert done.code == 0
    assert done.out.startswith("photo.jpg\n")
    for words in ("COMPLETED", job["sha256"], "thumbnail.webp", "640"):
        assert words in done.out
    done = await client.run("status", job["jobId"].lower(), "--wait", "--json")
    assert done.lines == [await server.request("GET", f"/status/{job['jobId']}")]
    done = await client.run("status", "0" * 26)
    assert done.code == 2
    assert "no such job" in done.err


async def test_process_makes_a_new_job(server: Server, client: Client, job: Any) -> None:
    done = await client.run(
        "process", job["jobId"], "--preset", "thumbnail", "--priority", "7", "-q"
    )
    assert done.code == 0, done.err
    made = await server.finished(done.out.strip())
    assert (made["status"], made["preset"], made["priority"]) == ("COMPLETED", "thumbnail", 7)
    assert made["sha256"] == job["sha256"]
    done = await client.run("process", made["jobId"], "--preset", "default", "--wait", "--json")
    (told,) = done.lines
    assert (done.code, told["status"], told["preset"]) == (0, "COMPLETED", "default")
    assert len({job["jobId"], made["jobId"], told["jobId"]}) == 3
    done = await client.run("process", job["jobId"].lower(), "--preset", "default", "--wait")
    assert re.fullmatch(r"[0-9A-Z]{26}  COMPLETED   photo\.jpg\n", done.out)


async def test_process_tells_what_cannot_be_made(server: Server, client: Client, job: Any) -> None:
    done = await client.run("process", job["jobId"], "--preset", "nosuch")
    assert (done.code, done.out) == (2, "")
    assert "There are: default, " in done.err
    done = await client.run("process", "0" * 26, "--preset", "default")
    assert done.code == 2
    assert "no such job" in done.err
    broken = await server.request("POST", "/upload?filename=a.pdf", data=b"%PDF-1.4\nbroken")
    done = await client.run("process", broken["jobId"], "--preset", "default", "--wait", "--quiet")
    assert done.code == 1
    assert (
        done.err.strip()
        == f"appliance: {(await server.finished(done.out.strip()))['error']['message']}"
    )


async def test_download_brings_what_was_asked_for(server: Server, client: Client, job: Any) -> None:
    digests = {file["name"]: file["sha256"] for file in job["files"]}
    for arguments, expected in (
        ([], digests),
        (["thumbnail.webp"], {"thumbnail.webp": digests["thumbnail.webp"]}),
        (["--original"], {"photo.jpg": job["sha256"]}),
        (["--all"], {**digests, "photo.jpg": job["sha256"]}),
    ):
        folder = client.folder / "-".join(["out", *arguments])
        done = await client.run("download", job["jobId"], *arguments, "-o", folder)
        assert done.code == 0, done.err
        assert {p.name: sha256(p.read_bytes()) for p in folder.iterdir()} == expected
        assert {Path(line).name for line in done.out.splitlines()} == set(expected)
    done = await client.run("download", job["jobId"], "nothing.webp")
    assert done.code == 2
    assert "thumbnail.webp" in done.err


async def test_a_killed_download_goes_on_where_it_stopped(
    server: Server, through: Client, proxy: Proxy
) -> None:
    content = large(through.folder / "film.gz")
    job_id = (await through.run("upload", "film.gz", "-q")).out.strip()
    await proxy.back.allow(2_000_000)
    process = await through.start("download", job_id, "--original", "-o", "out")
    await proxy.back.reached()
    folder = through.folder / "out"
    async with asyncio.timeout(DEADLINE_S):
        while sum(path.stat().st_size for path in folder.glob("*")) < 1_000_000:
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    (part,) = folder.iterdir()
    assert part.suffix == ".part"
    there_bytes = part.stat().st_size
    await proxy.back.allow(math.inf)

    done = await through.run("download", job_id, "--original", "-o", "out")
    assert done.code == 0, done.err
    assert [path.name for path in folder.iterdir()] == ["film.gz"]
    assert (folder / "film.gz").read_bytes() == content
    last = proxy.requests("GET")[-1]
    assert f"\r\nRange: bytes={there_bytes}-" in last
    assert f'If-Range: "{sha256(content)}"' in last


async def test_a_download_outlives_a_lost_network(
    server: Server, through: Client, proxy: Proxy
) -> None:
    content = large(through.folder / "film.gz")
    job_id = (await through.run("upload", "film.gz", "-q")).out.strip()
    await proxy.back.allow(1_000_000)
    process = await through.start("download", job_id, "--original", "-o", "out")
    for _ in range(3):
        await proxy.back.reached()
        proxy.cut()
        await proxy.back.allow(1_000_000)
    await proxy.back.allow(math.inf)
    done = await through.end(process)
    assert done.code == 0, done.err
    assert (through.folder / "out/film.gz").read_bytes() == content


async def test_a_part_that_is_none_is_fetched_anew(client: Client, job: Any) -> None:
    part = client.folder / f"photo.jpg.{job['sha256'][:8]}.part"
    part.write_bytes(b"something else" * 100)
    (client.folder / "photo.jpg").rename(client.folder / "kept.jpg")
    done = await client.run("download", job["jobId"], "--original")
    assert done.code == 0, done.err
    assert sha256((client.folder / "photo.jpg").read_bytes()) == job["sha256"]
    assert not part.exists()


async def test_a_download_replaces_nothing_that_it_was_not_told_to(
    client: Client, job: Any
) -> None:
    outside = client.folder / "outside.txt"
    outside.write_text("mine")
    (client.folder / "out").mkdir()
    (client.folder / "out/photo.jpg").symlink_to(outside)
    (client.folder / "out/thumbnail.webp").write_text("mine too")
    done = await client.run("download", job["jobId"], "--all", "-o", "out")
    assert done.code == 1
    assert done.err.count("Give --force") == 2
    assert (client.folder / "out/thumbnail.webp").read_text() == "mine too"
    done = await client.run("download", job["jobId"], "--all", "-o", "out", "--force")
    assert done.code == 0, done.err
    assert outside.read_text() == "mine"
    assert not (client.folder / "out/photo.jpg").is_symlink()
    done = await client.run("download", job["jobId"], "--all", "-o", "out")
    assert done.code == 0
    assert done.out.count("(was there already)") == 4


# --- servers that are none of ours -----------------------------------------------------------


async def test_a_hostile_server_writes_nothing_outside_and_nothing_that_it_did_not_tell(
    client: Client, aiohttp_server: Callable[..., Any]
) -> None:
    names = [
        "../../evil",
        "/etc/evil",
        ".bashrc",
        "..",
        "a\x1b[31mb",
        "c\\d",
        "x" * 500,
        "same",
        "same",
    ]
    job = {
        "jobId": "0" * 26, "status": "COMPLETED", "filename": "../up.txt", "progress": 1.0,
        "sizeBytes": 5, "sha256": sha256(b"other"),
        "files": [{"name": name, "sizeBytes": 5, "sha256": sha256(b"evil!")} for name in names],
    }  # fmt: skip
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        if request.path == "/jobs" or request.path.startswith("/status"):
            return web.json_response(job)
        return web.Response(body=b"evil!")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    fake = await aiohttp_server(app)
    client.environ["APPLIANCE_SERVER"] = str(fake.make_url("/")).rstrip("/")
    done = await client.run("download", "0" * 26, "--all", "-o", "in/here")
    assert done.code == 1
    assert "up.txt: What came does not have the SHA-256" in done.err
    assert "\x1b" not in done.out
    here = client.folder / "in/here"
    written = [path for path in client.folder.rglob("*") if path.is_file()]
    assert len(written) == len(names)
    assert {path.parent for path in written} == {here}
    assert not any(path.name.startswith(".") for path in written)
    assert not any("/../" in path for path in seen)


async def test_what_answers_otherwise_is_told(
    client: Client, aiohttp_server: Callable[..., Any]
) -> None:
    answers = iter(
        [
            web.Response(text="<h1>Welcome to nginx</h1>", content_type="text/html"),
            web.Response(status=302, headers={"Location": "https://elsewhere.example/"}),
            web.Response(status=413, text="too large", headers={"Server": "nginx"}),
        ]
    )
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return next(answers)

    app.router.add_get("/{path:.*}", answer)
    fake = await aiohttp_server(app)
    client.environ["APPLIANCE_SERVER"] = str(fake.make_url("/")).rstrip("/")
    for words in ("no appliance", "sends on to 'https://elsewhere.example/'", "by 'nginx'"):
        done = await client.run("status", "0" * 26)
        assert done.code == 2
        assert words in done.err
