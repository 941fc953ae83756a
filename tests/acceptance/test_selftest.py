"""`appliance selftest`, as somebody types it, on a machine that holds and on one that does not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import DEADLINE_S, Server
from tests.acceptance.test_lives import gone


class Selftest:
    """A run of the command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    @classmethod
    async def start(cls, data_dir: Path, *arguments: str, **settings: str) -> Selftest:
        environ = {
            "PATH": os.environ["PATH"],
            "APPLIANCE_DATA_DIR": str(data_dir),
            **{f"APPLIANCE_{name.upper()}": value for name, value in settings.items()},
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "appliance", "selftest", *arguments),
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def until_told(self, words: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            async for line in self.process.stdout:
                self.lines.append(line.decode())
                if words in self.lines[-1]:
                    return
        raise AssertionError("".join(self.lines))

    async def end(self, *, deadline_s: float = DEADLINE_S) -> tuple[int, str, str]:
        async with asyncio.timeout(deadline_s):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, "".join(self.lines) + out.decode(), err.decode()

    def family(self) -> set[int]:
        """Itself and everything below it."""
        found, frontier = set(), {self.process.pid}
        while frontier:
            found |= frontier
            frontier = {child for pid in frontier for child in _children(pid)} - found
        return found


def _children(pid: int) -> set[int]:
    try:
        return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except (FileNotFoundError, ProcessLookupError):
        return set()


@pytest.mark.timeout(3 * DEADLINE_S)
async def test_chaos_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    run = await Selftest.start(tmp_path / "data", "--chaos", "--seconds", "1", "--json")
    code, out, err = await run.end(deadline_s=2.5 * DEADLINE_S)
    report = json.loads(out)
    assert (code, report["passed"], report["problems"]) == (0, True, []), err
    for name in ("lost", "altered", "stuck", "failed", "twice", "unchecked", "unexpected"):
        assert report[name] == 0
    assert report["acknowledged"] > 50
    assert report["kills"]["server"] >= 1
    assert sum(report["kills"].values()) >= 3
    assert report["damage"] == {"done": 1, "found": 1}
    assert report["recovery"]["serverKillToReady"]["maxS"] > 0
    for phase in ("Kills:", "Stop:", "Damage:", "Small disk:"):
        assert phase in err
    if not report["skipped"]:
        assert report["refused"] > 0
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_lost_and_one_that_is_altered_are_reported(tmp_path: Path) -> None:
    """Somebody's hands in the store: what a disk that does not hold looks like."""
    run = await Selftest.start(tmp_path)
    stored: list[Path] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(stored) < 2:
            stored = list(tmp_path.glob("selftest-*/files/raw/*/text.txt"))
            await asyncio.sleep(0.001)
    stored[0].unlink()
    stored[1].write_bytes(stored[1].read_bytes().replace(b"line", b"lime", 1))
    code, out, _ = await run.end()
    assert code == 1
    assert "FAILED" in out
    assert f"lost: text.txt of job {stored[0].parent.name}: its original cannot be read" in out
    assert f"altered: text.txt of job {stored[1].parent.name}: its original has another" in out
    assert out.count("altered: ") == 1
    assert list(tmp_path.iterdir()) == []


async def test_it_leaves_a_server_that_runs_on_the_data_alone(server: Server) -> None:
    job = await server.request("PUT", "/upload/mine.txt", data=b"my own")
    await server.finished(job["jobId"])
    before = sorted(server.data_dir.rglob("*"))
    run = await Selftest.start(server.data_dir, workers_video="0")
    code, out, err = await run.end()
    assert (code, err) == (0, "")
    assert "Passed" in out
    assert "Skipped: files for VIDEO" in out
    assert sorted(server.data_dir.rglob("*")) == before
    assert len((await server.request("GET", "/jobs"))["jobs"]) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_when_it_is_ended_nothing_of_it_goes_on(tmp_path: Path, number: int) -> None:
    run = await Selftest.start(tmp_path, "--chaos")
    await run.until_told("Kills:")
    family = run.family()
    assert len(family) >= 6  # itself, the server, four nurseries
    run.process.send_signal(number)
    code, out, err = await run.end()
    await gone(family)
    if number == signal.SIGINT:
        assert (code, err) == (128 + signal.SIGINT, "")
        assert "Nothing is left behind" in out
        assert list(tmp_path.iterdir()) == []


async def test_a_server_that_ends_by_itself_is_told(tmp_path: Path) -> None:
    run = await Selftest.start(tmp_path, "--chaos")
    await run.until_told("Kills:")
    (server,) = _children(run.process.pid)
    os.kill(server, signal.SIGKILL)
    code, _, err = await run.end()
    assert code == 2
    assert "ended by itself (-9)" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


async def test_what_cannot_be_tried_is_told_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    run = await Selftest.start(tmp_path / "file" / "data")
    code, out, err = await run.end()
    assert (code, out) == (2, "")
    assert "Choose another place" in err
