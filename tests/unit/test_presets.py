"""Presets: read from files, looked through by processors, told of with file, line and mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from appliance.errors import ConfigurationError
from appliance.jobs import JobType
from appliance.presets import files
from appliance.presets.preset import DEFAULT, Preset
from appliance.processors.options import fault_of
from appliance.workers.nursery import Nursery
from appliance.workers.preset_check import preset_faults

Write = Callable[[str, str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "presets"


@pytest.fixture
def write(folder: Path) -> Write:
    def make(name: str, text: str) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        return folder / name

    return make


def faults(folder: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        files.load(folder)
    return caught.value.faults


# --- reading -----------------------------------------------------------------------------


def test_those_that_are_shipped_are_there_without_a_folder(folder: Path) -> None:
    names = [preset.name for preset in files.load(folder)]
    assert names[0] == DEFAULT
    assert "thumbnail" in names
    assert names[1:] == sorted(names[1:])
    assert [preset.name for preset in files.load()] == names
    assert all(preset.description for preset in files.load())


def test_a_file_of_the_users_is_a_preset(folder: Path, write: Write) -> None:
    write("web-small.toml", 'version = 3\ndescription = "Small"\n[image]\nsizes = [1]\n')
    found = files.load(folder).get("web-small")
    assert found is not None
    assert (found.version, found.description) == (3, "Small")
    assert found.tables == {"image": {"sizes": [1]}}


def test_what_a_preset_does_not_say_is_as_in_default(folder: Path, write: Write) -> None:
    write("default.toml", "version = 2\n[image]\na = 1\nb = 2\n[pdf]\nc = 3\n")
    write("mine.toml", "version = 1\n[image]\nb = 9\n[video]\nd = 4\n")
    presets = files.load(folder)
    mine = presets.get("mine")
    assert mine is not None
    assert presets.options(mine, "image") == {"a": 1, "b": 9}
    assert presets.options(mine, "pdf") == {"c": 3}
    assert presets.options(mine, "video") == {"d": 4}
    assert presets.options(mine, "any") == {}


def test_a_file_takes_the_place_of_a_shipped_one(
    folder: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("thumbnail.toml", "version = 7\n")
    found = files.load(folder).get("thumbnail")
    assert found is not None
    assert (found.version, found.tables) == (7, {})
    logged = capsys.readouterr()
    assert "preset_replaced" in logged.out + logged.err
    assert str(path) in logged.out + logged.err


def test_other_files_and_hidden_ones_are_left_alone(folder: Path, write: Write) -> None:
    before = len(files.load(folder))
    for name in ("README.md", "old.toml~", "._hls.toml", ".hls.toml"):
        write(name, "not a preset")
    assert len(files.load(folder)) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[image]\n", "version is missing. Begin the file with `version = 1`."),
        ("version = 0", ", line 1: version is a whole number from 1 on"),
        ("version = 1_000_000_001", ", line 1: version is a whole number from 1 on"),
        ("version = true", ", line 1: version is a whole number from 1 on"),
        ('\nversion = "1"', ", line 2: version is a whole number from 1 on"),
        ("version = 1\ndescription = 5", ", line 2: description is a text"),
        (f"version = 1\ndescription = '{'x' * 201}'", ", line 2: description is a text of up to"),
        ("version = 1\n\nverison = 2", ", line 3: verison is not known here; did you mean version"),
        ("version = 1\n[lifecycle]\nkeep = 1", ", line 2: [lifecycle] `keep` is not known. Known"),
        (
            "version = 1\n[lifecycle]\ndelete_after_days = -1",
            ", line 2: [lifecycle] delete_after_days is a whole number of days",
        ),
        (
            "version = 1\n[lifecycle]\ndelete_after_days = true",
            ", line 2: [lifecycle] delete_after",
        ),
        (
            "version = 1\n[lifecycle]\ndelete_results_after_days = 1.5",
            ", line 2: [lifecycle] delete_results_after_days is a whole number of days",
        ),
        ("version = 1\nwidth = 2", ", line 2: width is not known here. Options go below the name"),
        ("version = 1\n[[image]]\na = 1", ", line 2: image is not known here"),
        ("version = ", "is not valid TOML: Invalid value"),
        ("version = 1\n[image]\na = 1\na = 2", "is not valid TOML: Cannot overwrite a value"),
        (f"version = 1\n[image]\na = {'[' * 5000}", "is not valid TOML"),
        (f"version = 1\n[image]\na = '{'x' * 17000}'", "tables take more than 16 KiB"),
    ],
)
def test_a_faulty_file_is_told_with_its_mend(
    folder: Path, write: Write, text: str, told: str
) -> None:
    path = write("mine.toml", text)
    (fault,) = faults(folder)
    assert fault.startswith(str(path))
    assert told in fault


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "presets").write_text("no folder")
    (fault,) = faults(tmp_path / "presets")
    assert fault == f"{tmp_path}/presets: cannot be read (Not a directory); check its permissions."


def test_a_file_that_cannot_be_read_is_told(folder: Path, write: Write) -> None:
    write("a.toml", "").write_bytes(b"version = 1 # \xff")
    (folder / "b.toml").mkdir()
    (folder / "c.toml").symlink_to("nowhere")
    assert [fault.partition(": ")[2] for fault in faults(folder)] == [
        "is not UTF-8. Save it as UTF-8.",
        "cannot be read (Is a directory); check its permissions.",
        "cannot be read (No such file or directory); check its permissions.",
    ]


def test_a_preset_says_how_long_its_jobs_are_kept(folder: Path, write: Write) -> None:
    write(
        "short.toml",
        "version = 1\n[lifecycle]\ndelete_after_days = 7\ndelete_results_after_days = 3",
    )
    write("kept.toml", "version = 1\n[lifecycle]\ndelete_after_days = 0")
    presets = files.load(folder)
    assert presets.days(files.DELETE_AFTER) == {"short": 7, "kept": 0}
    assert presets.days(files.DELETE_RESULTS_AFTER) == {"short": 3}
    assert "lifecycle" not in presets.processors
    write("default.toml", "version = 1\n[lifecycle]\ndelete_after_days = 30")
    days = files.load(folder).days(files.DELETE_AFTER)
    assert (days["short"], days["kept"], days["default"], days["thumbnail"]) == (7, 0, 30, 30)


@pytest.mark.parametrize("name", ["Web", "-a", "a b", "a_b", "a.b", "ä", "x" * 51, ""])
def test_a_name_that_cannot_be_is_told(folder: Path, write: Write, name: str) -> None:
    if not name:
        write("-.toml", "version = 1")
    else:
        write(f"{name}.toml", "version = 1")
    (fault,) = faults(folder)
    assert "cannot be the name of a preset" in fault
    assert "web-small.toml" in fault


def test_all_faults_of_all_files_are_told_at_once(folder: Path, write: Write) -> None:
    write("a.toml", "version = 0\nfirst = 1\nsecond = 2\n")
    write("B.toml", "version = ")
    found = faults(folder)
    assert len(found) == 5  # B: its name and its content
    assert sum("a.toml" in fault for fault in found) == 3


TEXT = """version = 1
[image]
quality = 80
"sizes" = [1]
crop.x = 1
[image.focus]
quality = 3
[ "pdf" ]
quality = 2
[[pdf.pages]]
"""


@pytest.mark.parametrize(
    ("table", "key", "line"),
    [
        (None, "version", 1),
        (None, "quality", None),
        ("image", "quality", 3),
        ("image", "sizes", 4),
        ("image", "crop", 5),
        ("image", "focus", 6),
        ("image", "absent", 2),
        ("image", None, 2),
        ("pdf", "quality", 9),
        ("pdf", "pages", 10),
        ("video", "quality", None),
    ],
)
def test_where_an_option_is_said(table: str | None, key: str | None, line: int | None) -> None:
    assert files.line_of(TEXT, table, key) == line


# --- what processors make of them ----------------------------------------------------------


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    width_px: Annotated[int, msgspec.Meta(ge=1, le=100)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 80
    fit: Literal["fill", "crop"] = "fill"
    sizes: tuple[Size, ...] = ()
    either: Size | str = ""
    poster: Size | None = None

    def __post_init__(self) -> None:
        if self.fit == "crop" and not self.sizes:
            raise ValueError("to crop, give sizes")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, None),
        ({"quality": 1, "sizes": [{"width_px": 1}]}, None),
        ({"quality": "x"}, "`quality`: expected `int`, got `str`."),
        ({"quality": 101}, "`quality`: expected `int` <= 100."),
        ({"fit": "fil"}, "`fit`: invalid enum value 'fil'."),
        (
            {"qualty": 1},
            "`qualty` is not known. Did you mean `quality`? "
            "Known are either, fit, poster, quality, sizes.",
        ),
        ({"sizes": [{"width_px": "x"}]}, "`sizes[0].width_px`: expected `int`, got `str`."),
        (
            {"sizes": [{"width": 1}]},
            "`sizes[0].width` is not known. Did you mean `width_px`? Known are width_px.",
        ),
        (
            {"poster": {"zzz": 1}},
            "`poster.zzz` is not known. Known are width_px.",
        ),
        ({"fit": "crop"}, "to crop, give sizes."),
    ],
)
def test_the_fault_of_options_in_words(options: dict[str, Any], told: str | None) -> None:
    assert fault_of(options, Options) == told


@pytest.fixture(scope="module")
def every_type() -> list[str]:
    return [job_type.value for job_type in JobType]


async def looked_through(
    folder: Path | None, tmp_path: Path, types: list[str], *, complete: bool = True
) -> list[str]:
    nurseries = [Nursery(job_type, scratch_dir=tmp_path) for job_type in types]
    try:
        for nursery in nurseries:
            await nursery.start()
        return await preset_faults(files.load(folder), nurseries, complete=complete)
    finally:
        for nursery in nurseries:
            await nursery.stop()


async def test_every_shipped_preset_is_understood(tmp_path: Path, every_type: list[str]) -> None:
    assert await looked_through(None, tmp_path, every_type) == []


async def test_the_example_of_the_docs_is_understood(
    folder: Path, write: Write, tmp_path: Path, every_type: list[str]
) -> None:
    page = Path(__file__).parents[2] / "docs/presets.md"
    examples = re.findall(
        r"^```toml\n# data/presets/(\S+)\n(.*?)^```", page.read_text(), re.M | re.S
    )
    assert examples
    for name, text in examples:
        write(name, text)
    assert await looked_through(folder, tmp_path, every_type) == []


def test_the_shipped_presets_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/presets.md").read_text()
    documented = re.findall(r"^\| `([a-z0-9-]+)` \|", page.partition("## One of")[0], re.M)
    assert documented == [preset.name for preset in files.load()]


async def test_what_processors_refuse_is_told_with_the_line(
    folder: Path, write: Write, tmp_path: Path, every_type: list[str]
) -> None:
    mine = write("mine.toml", "version = 1\n\n[any]\nno_such_option = 1\n")
    other = write("other.toml", "version = 1\n[audio]\n[any]\n")
    found = await looked_through(folder, tmp_path, every_type)
    assert len(found) == 2
    assert found[0].startswith(f"{mine}, line 4: [any] `no_such_option` is not known.")
    assert found[1].startswith(f"{other}, line 2: There is no processor audio.")
    assert "any, image, pdf, video" in found[1]


async def test_a_fault_of_default_is_told_once(folder: Path, write: Write, tmp_path: Path) -> None:
    path = write("default.toml", "version = 1\n[any]\nno_such_option = 1\n")
    write("mine.toml", "version = 1\n[any]\n")
    (fault,) = await looked_through(folder, tmp_path, ["ANY"], complete=False)
    assert fault.startswith(f"{path}, line 3")


async def test_tables_of_pools_that_are_off_are_not_judged(
    folder: Path, write: Write, tmp_path: Path
) -> None:
    write("mine.toml", "version = 1\n[image]\nno_such_option = 1\n")
    assert await looked_through(folder, tmp_path, ["ANY"], complete=False) == []


async def test_the_largest_tables_fit_the_message_to_a_nursery(
    folder: Path, write: Write, tmp_path: Path
) -> None:
    for name in ("default.toml", "mine.toml"):
        rows = "\n".join(f"{name[0]}{n} = '{'x' * 980}'" for n in range(16))
        write(name, f"version = 1\n[any]\n{rows}\n")
    (fault,) = await looked_through(folder, tmp_path, ["ANY"], complete=False)
    assert "is not known" in fault
    mine = files.load(folder).get("mine")
    assert isinstance(mine, Preset)
