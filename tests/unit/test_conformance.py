"""The suite for processors: the built-in ones pass it, and one that breaks a rule fails it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.conformance import ProcessorSuite, Sample
from tests import media

EXAMPLE = Path(__file__).parent.parent.parent / "docs/examples/processor-wordcount"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    folder = tmp_path_factory.mktemp("samples")
    files = {
        "photo.jpg": (media.jpeg(320, 240), "image/jpeg"),
        "paper.pdf": (media.pdf(2, "Quarterly report"), "application/pdf"),
        "clip.mp4": (media.mp4(1, 160, 120), "video/mp4"),
        "words.txt": (b"Some words.\nSome more of them.\n" * 20, "text/plain"),
        "noise.gz": (b"\x1f\x8b\x08" + bytes(range(256)), "application/gzip"),
    }
    made = {}
    for name, (data, content_type) in files.items():
        (folder / name).write_bytes(data)
        made[name] = Sample(folder / name, content_type)
    return made


@contextmanager
def suite_of(processor: str) -> Iterator[ProcessorSuite]:
    suite = type("Suite", (ProcessorSuite,), {"processor": processor})
    suite.setup_class()
    try:
        yield suite()
    finally:
        suite.teardown_class()


TESTS = [name for name in vars(ProcessorSuite) if name.startswith("test_")]


def run(suite: ProcessorSuite, name: str, sample: Sample) -> None:
    test = getattr(suite, name)
    code: Any = test.__func__.__code__
    test(sample) if "sample" in code.co_varnames[: code.co_argcount] else test()


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("image", ["photo.jpg"]),
        ("pdf", ["paper.pdf"]),
        ("video", ["clip.mp4"]),
        ("any", ["words.txt", "noise.gz"]),
    ],
)
def test_the_built_in_processors_pass(
    module: str, names: list[str], samples: dict[str, Sample]
) -> None:
    with suite_of(f"appliance.processors.{module}:PROCESSOR") as suite:
        for name in TESTS:
            for sample in names:
                run(suite, name, samples[sample])


def failures(processor: str, sample: Sample) -> set[str]:
    failed = set()
    with suite_of(f"tests.broken_processors:{processor}") as suite:
        for name in TESTS:
            try:
                run(suite, name, sample)
            except AssertionError:
                failed.add(name)
    return failed


UNINSTALLED = "test_is_found_by_its_entry_point"
"""None of these has an entry point, so this one is always red."""


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("GOOD", set()),
        ("NAMELESS", {*TESTS}),
        ("THREADED", {*TESTS}),
        (
            "STRANGE",
            {"test_some_of_its_types_are_recognised", "test_the_server_would_give_it_the_sample"},
        ),
        ("ELSEWHERE", {"test_the_server_would_give_it_the_sample"}),
        ("LAXED", {"test_refuses_an_option_that_it_does_not_know"}),
        ("SILENT", {"test_tells_progress_that_only_grows"}),
        ("FALLING", {"test_tells_progress_that_only_grows"}),
        ("RANDOM", {"test_works_twice"}),
        ("TRUSTING", {"test_damaged_files_end_well"}),
        ("UNREPORTING", {"test_works", "test_damaged_files_end_well"}),
    ],
)
def test_who_breaks_a_rule_is_found_out(
    processor: str, expected: set[str], samples: dict[str, Sample]
) -> None:
    assert failures(processor, samples["words.txt"]) == expected | {UNINSTALLED}


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("DEMANDED", {"test_takes_a_preset_that_says_nothing", "test_works"}),
        ("FAILING", {"test_works", "test_works_twice", "test_damaged_files_end_well"}),
    ],
)
def test_who_cannot_work_is_found_out(
    processor: str, expected: set[str], samples: dict[str, Sample]
) -> None:
    assert failures(processor, samples["words.txt"]) >= expected


def test_who_changes_the_input_is_found_out_or_kept_from_it(samples: dict[str, Sample]) -> None:
    """With walls, the attempt fails; without them, the change is seen."""
    found = failures("SCRIBBLING", samples["words.txt"])
    assert found & {"test_leaves_the_input_as_it_is", "test_works"}


def test_the_example_passes_as_its_author_runs_it(tmp_path: Path) -> None:
    packages = install(EXAMPLE, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"],
        cwd=EXAMPLE,
        env={"PATH": "", "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 passed" in done.stdout, done.stdout


def install(package: Path, folder: Path) -> Path:
    packages = folder / "packages"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--no-index", "--no-deps", "--no-build-isolation", "--no-compile"),
            *("--target", str(packages), str(package)),
        ],
        check=True,
        timeout=90,
    )
    return packages
