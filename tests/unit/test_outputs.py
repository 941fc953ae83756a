"""What a child may leave in its output folder, and what is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import OutputRefused
from appliance.processors.protocol import Output
from appliance.workers.outputs import Bounds, CheckedFile, check_outputs

WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(32)
BOUNDS = Bounds(max_files=3, max_file_bytes=1000, max_total_bytes=1500)

CONTENT = {
    "image/webp": WEBP,
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(32),
    "image/png": b"\x89PNG\r\n\x1a\n" + bytes(32),
    "image/avif": b"\x00\x00\x00\x20ftypavif" + bytes(32),
    "video/mp4": b"\x00\x00\x00\x20ftypisom" + bytes(32),
    "text/plain": b"some words",
    "text/vtt": b"WEBVTT\n",
    "application/json": b"{}",
    "image/gif": b"GIF89a" + bytes(32),
    "video/webm": b"\x1a\x45\xdf\xa3" + bytes(32),
    "audio/mpeg": b"\xff\xfb\x90" + bytes(32),
    "audio/mp4": b"\x00\x00\x00\x20ftypM4A " + bytes(32),
    "audio/ogg": b"OggS" + bytes(32),
    "audio/wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(32),
    "audio/flac": b"fLaC" + bytes(32),
    "application/pdf": b"%PDF-1.7\n" + bytes(32),
    "text/csv": b"word,count\n",
}


def check(folder: Path, *outputs: Output) -> tuple[CheckedFile, ...]:
    return check_outputs(folder, outputs, BOUNDS)


def test_files_come_back_in_the_order_of_their_reports(tmp_path: Path) -> None:
    (tmp_path / "web.webp").write_bytes(WEBP)
    (tmp_path / "text.txt").write_bytes(b"words")
    text, web = check(
        tmp_path,
        Output("text.txt", "text/plain"),
        Output("web.webp", "image/webp", width_px=320, height_px=200),
    )
    assert web == CheckedFile(
        name="web.webp",
        path=tmp_path / "web.webp",
        content_type="image/webp",
        size_bytes=len(WEBP),
        sha256=hashlib.sha256(WEBP).hexdigest(),
        width_px=320,
        height_px=200,
    )
    assert text.name == "text.txt"
    assert text.size_bytes == 5


def test_nothing_is_a_good_result_too(tmp_path: Path) -> None:
    assert check(tmp_path) == ()


def test_a_text_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "text.txt").touch()
    assert check(tmp_path, Output("text.txt", "text/plain"))[0].size_bytes == 0


@pytest.mark.parametrize("content_type", CONTENT)
@pytest.mark.parametrize("claimed", CONTENT)
def test_leading_bytes_agree_with_the_type(tmp_path: Path, content_type: str, claimed: str) -> None:
    (tmp_path / "file").write_bytes(CONTENT[content_type])
    plain = {"text/plain", "text/csv", "application/json"}
    text = plain | {"text/vtt"}
    if claimed == content_type or (claimed in plain and content_type in text):
        check(tmp_path, Output("file", claimed))
    else:
        with pytest.raises(OutputRefused, match="is not of type"):
            check(tmp_path, Output("file", claimed))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "../a",
        "a/b",
        "/etc/passwd",
        "A.webp",
        "é",
        "a b",
        "a\n",
        "a" * 101,
    ],
)
def test_hostile_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputRefused, match="may not be named"):
        check(tmp_path, Output(name, "text/plain"))


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "", "IMAGE/WEBP"])
def test_types_that_a_browser_would_run_are_refused(tmp_path: Path, content_type: str) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(OutputRefused, match="may not be of type"):
        check(tmp_path, Output("a", content_type))


@pytest.mark.parametrize(
    ("width_px", "height_px"), [(0, 1), (1, -1), (70_000, 1), (1, None), (None, 1)]
)
def test_sizes_that_no_picture_has_are_refused(
    tmp_path: Path, width_px: int | None, height_px: int | None
) -> None:
    (tmp_path / "a.webp").write_bytes(WEBP)
    with pytest.raises(OutputRefused, match=r"a\.webp"):
        check(tmp_path, Output("a.webp", "image/webp", width_px=width_px, height_px=height_px))


def make_symlink(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def make_hard_link(path: Path) -> None:
    other = path.parent.parent / "other"
    other.write_bytes(b"words")
    path.hardlink_to(other)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_symlink, make_hard_link, make_fifo, Path.mkdir])
def test_only_plain_files_are_kept(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    make(folder / "a.txt")
    with pytest.raises(OutputRefused, match=r"a\.txt"):
        check(folder, Output("a.txt", "text/plain"))


def test_a_folder_that_became_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OutputRefused):
        check(tmp_path / "link")


def test_leftovers_are_refused_by_a_name_that_forges_no_line(tmp_path: Path) -> None:
    (tmp_path / "x\n\x1b[2J").touch()
    with pytest.raises(OutputRefused, match=r"x\\\\n\\\\x1b") as caught:
        check(tmp_path)
    assert caught.value.detail.isprintable()


def test_a_report_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="No such file"):
        check(tmp_path, Output("a.txt", "text/plain"))


def test_a_file_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    output = Output("a.txt", "text/plain")
    with pytest.raises(OutputRefused, match="twice"):
        check(tmp_path, output, output)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [([1, 1, 1, 1], "4 files"), ([1001], "1001 bytes"), ([800, 800], "at most 700")],
)
def test_number_and_sizes_are_bounded(tmp_path: Path, sizes: list[int], message: str) -> None:
    outputs = [Output(f"{number}.txt", "text/plain") for number in range(len(sizes))]
    for output, size in zip(outputs, sizes, strict=True):
        (tmp_path / output.name).write_bytes(b"x" * size)
    with pytest.raises(OutputRefused, match=message):
        check(tmp_path, *outputs)
