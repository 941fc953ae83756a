"""Who takes a file: plug-ins and built-in processors, in real nurseries, some of which break."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.errors import NurseryUnavailable
from appliance.intake.filetypes import FILE_TYPES
from appliance.jobs import JobType
from appliance.processors.protocol import Description
from appliance.workers import entry_points, plugins
from appliance.workers.entry_points import BUILT_IN, OURS, Installed
from appliance.workers.nursery import Nursery
from appliance.workers.plugins import Plugins, exactness

MODULE = """
import msgspec, os, signal, sys, threading

class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass

class Processor:
    version, options, reads = "1", Options, ()
    def __init__(self, name, *content_types):
        self.name, self.content_types = name, content_types
    def warm(self):
        pass
    def process(self, task, report):
        return {"by": self.name}
"""

Install = Callable[..., Awaitable[Plugins]]


@pytest.fixture
async def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Install]:
    """Install plug-ins as packages and start them: `install(audio="Processor('audio', …)")`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    async with AsyncExitStack() as stack:

        async def make(*, ready_timeout_s: float = 20.0, **processors: str) -> Plugins:
            for name, code in processors.items():
                package(site, name, MODULE + f"PROCESSOR = {code}\n")
            made = Plugins.open(tmp_path, ready_timeout_s=ready_timeout_s)
            stack.push_async_callback(made.stop)
            made.start()
            await made.settled()
            return made

        yield make


def package(site: Path, name: str, code: str) -> None:
    """As pip leaves one behind."""
    (site / f"plugin_{name}.py").write_text(code)
    info = site / f"processor_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: processor-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{entry_points.GROUP}]\n{name} = plugin_{name}:PROCESSOR\n"
    )


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Nursery]:
    nursery = Nursery("ANY", scratch_dir=tmp_path)
    await nursery.start()
    yield nursery
    await nursery.stop()


async def taker(found: Plugins, content_type: str, own: Nursery) -> str:
    return (await found.choose(content_type, own)).name


# --- what is installed --------------------------------------------------------------------------


def test_the_built_in_processors_come_through_the_same_door() -> None:
    ours = {one.name for one in entry_points.installed() if one.distribution == OURS}
    assert ours == set(BUILT_IN.values())
    assert BUILT_IN.keys() == set(JobType)


async def test_each_type_that_is_recognised_has_a_built_in_processor(tmp_path: Path) -> None:
    for job_type in JobType:
        nursery = Nursery(job_type.value, scratch_dir=tmp_path)
        await nursery.start()
        said = nursery.said
        await nursery.stop()
        assert said is not None
        assert said.processor.name == BUILT_IN[job_type]
        for known in FILE_TYPES:
            if known.job_type is job_type:
                assert exactness(said.processor, known.content_type) < plugins.NO_MATCH, known.label


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("image", "theirs:PROCESSOR", "the built-in processor image"),
        ("Image", "theirs:PROCESSOR", "no name for a processor"),
        ("a" * 33, "theirs:PROCESSOR", "no name for a processor"),
        ("theirs", "theirs", "module:attribute"),
        ("theirs", "-m:x", "module:attribute"),
        ("theirs", "theirs:PROCESSOR", None),
    ],
)
def test_names_and_values_are_judged_without_an_import(
    name: str, value: str, words: str | None
) -> None:
    (judged,) = entry_points.plugins([Installed(name, value, "processor-theirs")])
    assert (judged.fault is None) if words is None else (words in (judged.fault or ""))
    assert "theirs" not in sys.modules


def test_of_two_with_one_name_the_first_keeps_it() -> None:
    two = [Installed("x", "a:P", "processor-a"), Installed("x", "b:P", "processor-b")]
    first, second = entry_points.plugins(two)
    assert first.fault is None
    assert "that of processor-a" in (second.fault or "")


# --- the choice ---------------------------------------------------------------------------------


def test_a_claim_is_exact_or_for_the_family_or_for_all() -> None:
    said = Description("x", "1", ("audio/mpeg", "text/*"))
    found = [exactness(said, one) for one in ("audio/mpeg", "text/plain", "audio/ogg")]
    assert found == [0, 1, plugins.NO_MATCH]
    assert exactness(Description("x", "1", ("*/*",)), "audio/ogg") == 2


async def test_the_more_exact_claim_wins_then_plug_ins_then_names(
    install: Install, own: Nursery
) -> None:
    with capture_logs() as logs:
        found = await install(
            all="Processor('all', '*/*')",
            family="Processor('family', 'audio/*')",
            b="Processor('b', 'audio/mpeg')",
            a="Processor('a', 'audio/mpeg')",
        )
    assert await taker(found, "audio/mpeg", own) == "a"
    assert await taker(found, "audio/ogg", own) == "family"
    assert await taker(found, "text/plain", own) == "all"
    overlaps = [line for line in logs if line["event"] == "plugins_overlap"]
    assert [(one["content_type"], one["taken_by"], one["left_out"]) for one in overlaps] == [
        ("audio/mpeg", "a", ["b"])
    ]


async def test_a_plug_in_for_all_comes_after_a_built_in_that_names_the_type(
    install: Install, tmp_path: Path
) -> None:
    found = await install(all="Processor('all', '*/*')", exact="Processor('exact', 'image/png')")
    image = Nursery("IMAGE", scratch_dir=tmp_path)
    await image.start()
    assert await taker(found, "image/jpeg", image) == "IMAGE"
    assert await taker(found, "image/png", image) == "exact"
    await image.stop()


async def test_without_plug_ins_the_pool_s_own_takes_all(install: Install, own: Nursery) -> None:
    assert await taker(await install(), "text/plain", own) == "ANY"


# --- those that break ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("__import__('no_such_module')", "ModuleNotFoundError"),
        ("os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "exit code -11"),
        ("Processor('broken')", "ValidationError"),
        ("Processor('broken', 'no type')", "ValidationError"),
        ("Processor('broken', 'text/html;q=1')", "ValidationError"),
        ("Processor('other', 'text/plain')", "calls itself other"),
        ("object()", "AttributeError"),
        ("threading.Thread(target=signal.pause, daemon=True).start()", "AttributeError"),
    ],
)
async def test_one_that_does_not_start_is_told_of_and_passed_over(
    install: Install, own: Nursery, code: str, words: str
) -> None:
    with capture_logs() as logs:
        found = await install(broken=code, good="Processor('good', 'audio/mpeg')")
    (told,) = [line for line in logs if line["event"] == "plugin_not_used"]
    assert told["processor"] == "broken"
    assert words in told["reason"]
    broken, good = found.states()
    assert words in (broken.fault or "")
    assert (broken.ready, good.ready, good.fault) == (False, True, None)
    assert await taker(found, "text/plain", own) == "ANY"
    assert await taker(found, "audio/mpeg", own) == "good"


async def test_one_that_hangs_at_its_import_is_killed(install: Install, own: Nursery) -> None:
    found = await install(broken="signal.pause()", ready_timeout_s=1.0)
    (broken,) = found.states()
    assert "did not get ready" in (broken.fault or "")
    assert await taker(found, "text/plain", own) == "ANY"


async def test_a_type_that_no_file_has_is_told_of(install: Install) -> None:
    with capture_logs() as logs:
        await install(odd="Processor('odd', 'audio/none-such', 'audio/mpeg')")
    (told,) = [line for line in logs if line["event"] == "plugin_types_unrecognised"]
    assert told["content_types"] == ["audio/none-such"]


async def test_one_that_was_killed_is_waited_for(install: Install, own: Nursery) -> None:
    found = await install(text="Processor('text', 'text/plain')")
    nursery = await found.choose("text/plain", own)
    assert nursery.pid is not None
    os.kill(nursery.pid, signal.SIGKILL)
    while nursery.pid is not None:
        await asyncio.sleep(0)
    assert await found.choose("text/plain", own) is nursery


async def test_one_that_stays_down_is_passed_over(
    install: Install, own: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "PATIENCE_S", 0.2)
    found = await install(text="Processor('text', 'text/plain')")
    nursery = await found.choose("text/plain", own)
    (tmp_path / "site/plugin_text.py").write_text("1 / 0")
    assert nursery.pid is not None
    os.kill(nursery.pid, signal.SIGKILL)
    while nursery.pid is not None:
        await asyncio.sleep(0)
    with capture_logs() as logs:
        assert await taker(found, "text/plain", own) == "ANY"
    assert "plugin_passed_over" in [line["event"] for line in logs]
    assert not found.states()[0].ready


async def test_a_choice_waits_until_all_have_started(install: Install, own: Nursery) -> None:
    await install(slow="Processor('slow', 'text/plain')")
    again = Plugins.open(Path(own._scratch_dir))
    choosing = asyncio.create_task(again.choose("text/plain", own))
    again.start()
    assert (await choosing).name == "slow"
    await again.stop()


async def test_who_is_stopped_takes_nothing(install: Install, own: Nursery) -> None:
    found = await install(text="Processor('text', 'text/plain')")
    nursery = await found.choose("text/plain", own)
    await found.stop()
    assert nursery.pid is None
    with pytest.raises(NurseryUnavailable):
        await nursery.check("x", {})
