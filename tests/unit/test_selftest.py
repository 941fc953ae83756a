"""The parts of the self-test that need no server."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from appliance.config import Config, load
from appliance.errors import ConfigurationError
from appliance.intake import filetypes
from appliance.jobs import JobType
from appliance.selftest import disk, scratch
from appliance.selftest.damage import flipped
from appliance.selftest.ledger import Ledger
from appliance.selftest.recovery import Spread, Strike, resumed
from appliance.selftest.report import Report
from appliance.selftest.samples import SAMPLES, Sample
from appliance.selftest.traffic import QUICK, SLOW
from appliance.selftest.verifier import AttemptTold

OLD = "selftest-01ARZ3NDEKTSV4RRFFQ69G5FAV"  # of 2016


def config(data_dir: Path, **settings: str) -> Config:
    environ = {f"APPLIANCE_{name.upper()}": value for name, value in settings.items()}
    return load({"APPLIANCE_DATA_DIR": str(data_dir), **environ})


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [*SAMPLES, *SLOW, *QUICK], ids=lambda one: one.filename)
def test_a_sample_is_what_its_name_says_and_each_is_another(sample: Sample) -> None:
    first, second = sample.make("mark-1"), sample.make("mark-2")
    found = filetypes.recognise(first[: filetypes.SNIFF_BYTES])
    assert found.job_type is sample.job_type
    assert Path(sample.filename).suffix in found.extensions
    assert first != second
    assert first == sample.make("mark-1")


def test_there_is_a_sample_for_every_kind_of_worker() -> None:
    assert {sample.job_type for sample in SAMPLES} == set(JobType)


# --- the place -------------------------------------------------------------------------------


def test_the_place_is_beside_the_data_and_gone_afterwards(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "there" / "yet"
    with scratch.scratch(config(data_dir), room_bytes=1) as places:
        assert places.root.parent == data_dir
        assert {places.storage.parent, places.database.parent} == {places.root}
        (places.root / "something").write_text("left")
    assert list(tmp_path.iterdir()) == []


def test_what_lies_elsewhere_is_tried_where_it_lies(tmp_path: Path) -> None:
    chosen = config(tmp_path / "data", storage_url=f"file://{tmp_path}/big disk")
    with scratch.scratch(chosen, room_bytes=1) as places:
        assert places.storage.parent.parent == tmp_path / "big disk"
        assert places.database.parent == places.root
        assert "big%20disk" in places.settings["APPLIANCE_STORAGE_URL"]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_one_has_left_is_removed_and_one_that_runs_is_not(tmp_path: Path) -> None:
    abandoned, held = tmp_path / OLD, tmp_path / OLD.replace("5FAV", "5FAW")
    for path in (abandoned / "files", held):
        path.mkdir(parents=True)
    precious = tmp_path / "selftest-notes"
    precious.mkdir()
    descriptor = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with scratch.scratch(config(tmp_path), room_bytes=1):
            assert not abandoned.exists()
    finally:
        os.close(descriptor)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([held.name, precious.name])


def test_no_room_is_told_with_the_mend(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="Free some space"),
        scratch.scratch(config(tmp_path / "data"), room_bytes=1 << 60),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


# --- the disk --------------------------------------------------------------------------------


def test_a_disk_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    found = disk.examine(tmp_path)
    assert 0 < found.sync_s <= found.slowest_sync_s
    assert found.file_system != "unknown"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file_system", "options", "sync_s", "warning"),
    [
        ("ext4", set(), 0.001, None),
        ("ext4", set(), 0.000002, "only says that it syncs"),
        ("ext4", {"barrier=0"}, 0.001, "barrier=0"),
        ("tmpfs", set(), 0.000001, "memory"),
        ("nfs4", set(), 0.004, "network"),
        ("overlay", set(), 0.001, "container"),
    ],
)
def test_warnings_of_a_disk(
    file_system: str, options: set[str], sync_s: float, warning: str | None
) -> None:
    told = disk.warnings(file_system, options, sync_s)
    assert len(told) == (warning is not None)
    assert warning is None or warning in told[0]


# --- recovery --------------------------------------------------------------------------------


def test_a_broken_attempt_is_laid_to_the_last_kill_within_it() -> None:
    strikes = [Strike("child", 10.0), Strike("server", 20.0, 1.5, 1.4), Strike("server", 30.0)]
    histories = [
        [AttemptTold(9.0, 10.01, "retry"), AttemptTold(12.5, 13.0, "completed")],
        [AttemptTold(15.0, 21.0, "lost"), AttemptTold(21.5, 22.0, "completed")],
        [AttemptTold(19.5, 21.0, "lost"), AttemptTold(23.0, 24.0, "completed")],
        [AttemptTold(29.0, 30.5, "completed")],  # done before anybody noticed
        [AttemptTold(1.0, 2.0, "retry"), AttemptTold(4.0, 5.0, "completed")],  # by itself
    ]
    assert resumed(strikes, histories) == [(strikes[0], 2.5), (strikes[1], 3.0)]


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert Spread.of([]) is None
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(3, 2.0, 3.0, 3.0)
    assert Spread.of(range(1, 201)) == Spread(200, 100, 198, 200)


# --- damage and report -----------------------------------------------------------------------


def test_one_bit_is_flipped_and_flipped_back(tmp_path: Path) -> None:
    content = bytes(range(200))
    entry = Ledger().acknowledge("job", "a.bin", content)
    path = tmp_path / "raw" / "job" / "a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with flipped(tmp_path, entry) as offset:
        damaged = path.read_bytes()
        assert [n for n in range(200) if damaged[n] != content[n]] == [offset]
    assert path.read_bytes() == content


def test_a_report_with_anything_wrong_is_no_pass() -> None:
    report = Report(directory="/somewhere")
    entry = report.ledger.acknowledge("job", "a.txt", b"a")
    assert "Passed" in report.lines()[-1]
    assert report.document()["passed"] is True
    report.findings.note("altered", entry, "another SHA-256")
    assert report.document() | {"passed": False, "altered": 1} == report.document()
    assert report.lines()[-1] == "  altered: a.txt of job job: another SHA-256"
