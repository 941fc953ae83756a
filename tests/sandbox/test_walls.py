"""What a child can do to the world, tried from inside, behind the walls and without them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ChildTimedOut
from appliance.processors.protocol import REQUIRED_LAYERS, Limits, Order
from appliance.processors.sandbox.walls import LAYERS
from appliance.workers.nursery import Nursery
from appliance.workers.outcome import AttemptFailed
from appliance.workers.outputs import Bounds, check_outputs
from tests import media
from tests.fuzz import corpus
from tests.sandbox.escapes import ESCAPES

FILM = media.video(0.4, 64, 48, container="mpegts")
OLD_FILM = media.video(0.4, 64, 48, container="mpeg", codec="mpeg2video", audio=False)

LIMITS = Limits(memory_bytes=200 << 20, cpu_s=2, file_bytes=64 << 20, wall_s=30.0, idle_s=20.0)

FILES = {
    "read-passwd", "list-root", "environ-of-nursery", "memory-of-nursery", "environ-of-init",
    "own-maps", "neighbour", "list-neighbours", "write-tmp", "write-beside", "write-shm",
    "write-input", "empty-input", "rename-input", "remove-input", "av-file", "av-concat",
    "av-subfile", "av-movie", "av-subtitles",
}  # fmt: skip
"""Refused by Landlock: EACCES."""

FLOODS = {
    "flood-memory": "MemoryError",
    "flood-disk": "EFBIG",
    "flood-descriptors": "EMFILE",
    "flood-threads": "RuntimeError",
}

OPEN = {"stat"}
"""The known gap: that a path exists, how large and how old it is."""

ALLOWED = {"own-input", "own-output", "randomness", "threads", "own-signal"}

SWALLOWED = {"av-playlist": "InvalidDataError"}
"""FFmpeg goes on when it may not open a part of a playlist, and finds that there is nothing."""

CALLS = set(ESCAPES) - FILES - set(FLOODS) - set(SWALLOWED) - OPEN - ALLOWED - {"burn"}
"""Refused by seccomp: EPERM."""

REFUSED = dict.fromkeys(FILES, "EACCES") | dict.fromkeys(CALLS, "EPERM") | FLOODS | SWALLOWED

HARMLESS_BARE = {
    "av-http", "av-tcp", "tcp", "tcp-6", "unix", "udp",  # nobody listens there
    "signal-everybody", "time", "mount", "chroot", "set-groups", "hostname", "bpf", "ptrace",
    "io-uring", "userfaultfd", "vfork", "numbers-of-x32", "keyctl", "pidfd", "new-session",
    "packet", "raw", "netlink",
    "memory-of-nursery", "environ-of-init",  # up to who runs the tests, and where
    "read-memory-of-nursery", "exec", "flood-threads", "flood-memory", "flood-disk",
    "flood-descriptors",  # the limits stay without walls
    "av-concat", "av-subfile", "av-movie", "av-file", "niceness",
}  # fmt: skip
"""Not tried, or of no certain outcome, where there are no walls."""


class Cell:
    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self.nursery, self._folder, self._count = nursery, folder, 0

    async def tries(self, escape: str) -> str:
        self._count += 1
        folder = self._folder / str(self._count)
        (folder / "out").mkdir(parents=True)
        (folder / escape).write_bytes(b"input")
        (folder / "secret").write_bytes(b"another's")
        (folder / "film.ts").write_bytes(FILM)
        (folder / "film.mpg").write_bytes(OLD_FILM)
        order = Order(
            f"job-{self._count}", str(folder / escape), str(folder / "out"), "text/plain", LIMITS
        )
        outcome = await self.nursery.run(order)
        assert (folder / "secret").read_bytes() == b"another's"
        if escape not in ("rename-input", "remove-input") or escape in outcome.facts["outcome"]:
            assert (folder / escape).exists() or outcome.facts["outcome"] == "done"
        return str(outcome.facts["outcome"])


async def _cell(folder: Path, sandbox: str) -> AsyncIterator[Cell]:
    nursery = Nursery(
        "IMAGE",
        scratch_dir=folder,
        processor="tests.sandbox.escapes:PROCESSOR",
        sandbox=sandbox,
    )
    await nursery.start()
    try:
        yield Cell(nursery, folder)
    finally:
        await nursery.stop()


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[Cell]:
    async for one in _cell(tmp_path, "require"):
        yield one


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Cell]:
    async for one in _cell(tmp_path, "off"):
        yield one


def test_every_escape_is_in_the_table() -> None:
    assert set(REFUSED) | OPEN | ALLOWED | {"burn"} == set(ESCAPES)
    assert set(REFUSED) > HARMLESS_BARE


@pytest.mark.parametrize("escape", sorted(REFUSED))
async def test_it_is_refused(cell: Cell, escape: str) -> None:
    assert await cell.tries(escape) == REFUSED[escape]


@pytest.mark.parametrize("escape", sorted(ALLOWED | OPEN))
async def test_it_is_let_through(cell: Cell, escape: str) -> None:
    assert await cell.tries(escape) == "done"


@pytest.mark.parametrize("escape", sorted(set(REFUSED) - HARMLESS_BARE))
async def test_without_walls_it_is_not(bare: Cell, escape: str) -> None:
    """Else the table would prove nothing."""
    assert await bare.tries(escape) == "done"


async def test_processor_time_is_bounded(cell: Cell) -> None:
    with pytest.raises(AttemptFailed) as caught:
        await cell.tries("burn")
    assert isinstance(caught.value.error, ChildTimedOut)


async def test_ffmpeg_reaches_no_server(cell: Cell, tmp_path: Path) -> None:
    """Not even the one that listens, in the network that it would be in."""
    reached = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0):
        for escape in ("av-http", "av-tcp", "tcp"):
            assert await cell.tries(escape) == "EPERM"
    assert not reached.is_set()


async def test_the_nursery_says_which_layers_hold(cell: Cell, bare: Cell) -> None:
    assert cell.nursery.said is not None
    assert set(cell.nursery.said.layers) == set(LAYERS)
    assert [cell.nursery.said.layers[layer] for layer in REQUIRED_LAYERS] == [""] * len(
        REQUIRED_LAYERS
    )
    assert bare.nursery.said is not None
    assert bare.nursery.said.layers["limits"] == ""
    assert "APPLIANCE_SANDBOX" in bare.nursery.said.layers["seccomp"]


AS_NOBODY = """
import json, os, sys, sysconfig
from pathlib import Path
from appliance.processors.any import PROCESSOR
from appliance.processors.sandbox.trial import find_out
from appliance.processors.sandbox.walls import prepare

sysconfig.get_paths()  # looked up while the interpreter may still be read
os.chown(sys.argv[1], 65534, 65534)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
_, layers = find_out(prepare("require", PROCESSOR), Path(sys.argv[1]))
print(json.dumps(layers))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="these tests do not run as root: it is tried anyway")
def test_the_walls_need_no_privilege() -> None:
    """As in a container whose user is not root, and where no namespace may be made."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, folder], capture_output=True, check=True, text=True
        )
    layers = json.loads(done.stdout)
    assert {name: layers[name] for name in REQUIRED_LAYERS} == dict.fromkeys(REQUIRED_LAYERS, "")


RESULTS = [
    {
        "name": "a",
        "format": "avif",
        "width": 40,
        "height": 40,
        "fit": "cover",
        "focus": "attention",
    },
    {"name": "b", "format": "jpeg", "width": 40, "similarity": 0.95},
    {"name": "c", "format": "png", "width": 40, "height": 40, "fit": "contain"},
    {"name": "d", "format": "webp", "width": 40},
]
KEPT = {"metadata": "keep", "colour": "keep", "animation": "keep", "results": RESULTS}
FILMS = {
    "storyboard": True,
    "preview": True,
    "copy": "never",
    "mp4_heights": [144],
    "hls_heights": [144],
}

PRESETS = {
    "images-of-every-format": ("IMAGE", "image/jpeg", media.jpeg(160, 120, gps=True), KEPT),
    "animation": ("IMAGE", "image/gif", media.gif(100, 80, frames=4), KEPT),
    "pages-as-jpeg": ("PDF", "application/pdf", media.pdf(2, lines=4), {"format": "jpeg"}),
    "pages-as-png": ("PDF", "application/pdf", media.filled_form(), {"format": "png"}),
    "films-and-streams": ("VIDEO", "video/mp4", media.mp4(1, 320, 180), FILMS),
    "hdr": ("VIDEO", "video/mp4", media.mp4(0.4, 320, 180, hlg=True), FILMS),
}
"""What other results than the default ones are made with; libraries load parts of theirs late."""


@pytest.mark.parametrize("sample", corpus.SAMPLES, ids=lambda sample: sample.content_type)
async def test_good_files_are_worked_on_behind_the_walls(
    sample: corpus.Sample, tmp_path: Path
) -> None:
    await _worked_on(sample.kind, sample.content_type, sample.make(), {}, tmp_path)


@pytest.mark.parametrize("preset", PRESETS)
async def test_presets_are_worked_on_behind_the_walls(preset: str, tmp_path: Path) -> None:
    await _worked_on(*PRESETS[preset], tmp_path)


async def _worked_on(
    kind: str, content_type: str, data: bytes, options: dict[str, Any], folder: Path
) -> None:
    nursery = Nursery(kind, scratch_dir=folder, sandbox="require")
    await nursery.start()
    try:
        (folder / "in").write_bytes(data)
        (folder / "out").mkdir()
        limits = Limits(512 << 20, 60, 256 << 20, 60.0, 30.0)
        order = Order(
            "job-1", str(folder / "in"), str(folder / "out"), content_type, limits, options
        )
        outcome = await nursery.run(order)
        assert check_outputs(folder / "out", outcome.outputs, Bounds())
    finally:
        await nursery.stop()
