"""What a child may leave in its output folder, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from appliance.errors import OutputRefused
from appliance.processors.protocol import Output
from appliance.workers import outputs
from appliance.workers.outputs import Bounds, CheckedFile, check_outputs, read_output
from tests import media
from tests.records import a_result


def picture(format: str, width: int = 320, height: int = 200) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, format)
    return out.getvalue()


WEBP = picture("WEBP")
BOUNDS = Bounds(max_files=3, max_file_bytes=1000, max_total_bytes=1500, max_pixels=100_000)
ROOMY = Bounds(max_pixels=100_000)

CONTENT = {
    "image/webp": WEBP,
    "image/jpeg": picture("JPEG"),
    "image/png": picture("PNG"),
    "image/avif": picture("AVIF"),
    "video/mp4": media.mp4(1, 320, 180),
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
        check_outputs(tmp_path, [Output("file", claimed)], ROOMY)
    else:
        with pytest.raises(OutputRefused, match="is not of type"):
            check_outputs(tmp_path, [Output("file", claimed)], ROOMY)


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


@pytest.mark.parametrize("reported", [(320, 199), (200, 320), (1, 1)])
@pytest.mark.parametrize("content_type", [one for one in CONTENT if one.startswith("image/")])
def test_a_picture_has_the_size_that_was_reported(
    tmp_path: Path, content_type: str, reported: tuple[int, int]
) -> None:
    (tmp_path / "a").write_bytes(CONTENT[content_type])
    output = Output("a", content_type, *reported)
    with pytest.raises(OutputRefused, match="320 × 200 px, and was reported"):
        check_outputs(tmp_path, [output], ROOMY)
    with pytest.raises(OutputRefused, match="320 × 200 px, and was reported"):
        read_output(tmp_path, output, ROOMY)


def test_a_size_that_was_not_reported_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(WEBP)
    (file,) = check(tmp_path, Output("a", "image/webp"))
    assert (file.width_px, file.height_px) == (320, 200)


@pytest.mark.parametrize("reported", [(320, 180), (180, 320), (319, 180)])
def test_a_video_may_be_turned_when_it_is_shown(tmp_path: Path, reported: tuple[int, int]) -> None:
    (tmp_path / "a.mp4").write_bytes(CONTENT["video/mp4"])
    (file,) = check_outputs(tmp_path, [Output("a.mp4", "video/mp4", *reported)], ROOMY)
    assert (file.width_px, file.height_px) == reported
    with pytest.raises(OutputRefused, match="320 × 180 px, and was reported"):
        check_outputs(tmp_path, [Output("a.mp4", "video/mp4", 1280, 720)], ROOMY)


@pytest.mark.parametrize("reported", [(None, None), (400, 400)])
def test_the_pixels_of_a_picture_are_bounded(
    tmp_path: Path, reported: tuple[int | None, int | None]
) -> None:
    (tmp_path / "a").write_bytes(picture("PNG", 400, 400))
    with pytest.raises(OutputRefused, match=r"400 × 400 px; at most 100,000"):
        check(tmp_path, Output("a", "image/png", *reported))


def test_a_bomb_for_the_browser_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(media.png_header_bomb())
    with pytest.raises(OutputRefused, match="50000 × 50000 px"):
        check_outputs(tmp_path, [Output("a", "image/png")], Bounds())


def test_a_picture_without_a_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(WEBP[:14])
    with pytest.raises(OutputRefused, match=r"a: No WebP"):
        check(tmp_path, Output("a", "image/webp"))


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
    with pytest.raises(OutputRefused, match=r"a\.txt"):
        read_output(folder, Output("a.txt", "text/plain"), ROOMY)


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


# --- while the child goes on ---------------------------------------------------------------


def test_what_is_read_early_is_what_was_checked(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(WEBP)
    read = read_output(tmp_path, Output("a.webp", "image/webp", 320, 200), ROOMY)
    assert read is not None
    file, data = read
    assert data == WEBP
    assert (file.sha256, file.size_bytes) == (hashlib.sha256(WEBP).hexdigest(), len(WEBP))


def test_a_swap_while_it_is_checked_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.webp").write_bytes(WEBP)
    check_content = outputs._check_content

    def swapping(*arguments: Any) -> Any:
        (tmp_path / "a.webp").write_bytes(b"another")
        return check_content(*arguments)

    monkeypatch.setattr(outputs, "_check_content", swapping)
    read = read_output(tmp_path, Output("a.webp", "image/webp", 320, 200), ROOMY)
    assert read is not None
    file, data = read
    assert data == WEBP
    assert (file.sha256, file.size_bytes) == (hashlib.sha256(WEBP).hexdigest(), len(WEBP))


def test_large_files_wait_for_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "EARLY_BYTES", 10)
    (tmp_path / "a.txt").write_bytes(b"x" * 10)
    assert read_output(tmp_path, Output("a.txt", "text/plain"), ROOMY) is not None
    (tmp_path / "a.txt").write_bytes(b"x" * 11)
    assert read_output(tmp_path, Output("a.txt", "text/plain"), ROOMY) is None


def test_sizes_are_bounded_early_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 600)
    taken = [msgspec.structs.replace(a_result("J", 1), size_bytes=1000)]
    with pytest.raises(OutputRefused, match="600 bytes; at most 500"):
        read_output(tmp_path, Output("a.txt", "text/plain"), BOUNDS, taken=taken)


def test_what_was_taken_early_counts_at_the_end_and_is_not_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "thumbnail.webp").write_bytes(b"changed since")
    (tmp_path / "a.txt").write_bytes(b"x" * 600)
    reported = [Output("thumbnail.webp", "image/webp"), Output("a.txt", "text/plain")]
    taken = a_result("J", 1)
    (file,) = check_outputs(tmp_path, reported, BOUNDS, taken=[taken])
    assert file.name == "a.txt"
    large = msgspec.structs.replace(taken, size_bytes=1000)
    with pytest.raises(OutputRefused, match="600 bytes; at most 500"):
        check_outputs(tmp_path, reported, BOUNDS, taken=[large])
