"""What a child left in its output folder, checked before anybody stores it.

The child read hostile bytes: its folder may hold links, pipes, files it never told of, or one
kind of content under the name of another. Nothing here parses media: leading bytes keep a browser
from being handed something else than it is told, and the header's size (`picture_headers`) one
that would take all its memory.

`check_outputs` is for a child that is dead, so that what was checked stays as it was.
`read_output` is for one that lives and may change a file under our hands: what it returns are the
very bytes that were checked.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from appliance.errors import OutputRefused
from appliance.jobs import ResultFile
from appliance.processors.protocol import Output
from appliance.workers.outcome import printable
from appliance.workers.picture_headers import NoSize, ReadAt, Size, size_of
from appliance.workers.reports import MAX_OUTPUTS

MAX_WIDTH_PX = 65_535
"""JPEG's limit, and above those of WebP (16,383) and of H.264 levels."""

LEADING_BYTES = 32

EARLY_BYTES = 8 * 1024**2
"""Of a file that is taken while its child goes on: it is held in memory as a whole. Pictures and
texts have less; what is larger is ready about when the work is."""

ROUNDING_PX = 2
"""By which the size of a video may differ: a track's header says it as shown, where a pixel need
not be square."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_VIDEO_BRANDS = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1")

_LOOKS_LIKE: dict[str, Callable[[bytes], bool]] = {
    "image/webp": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    "image/jpeg": lambda head: head[:3] == b"\xff\xd8\xff",
    "image/png": lambda head: head[:8] == b"\x89PNG\r\n\x1a\n",
    "image/avif": lambda head: head[4:12] in (b"ftypavif", b"ftypavis"),
    "image/gif": lambda head: head[:6] in (b"GIF87a", b"GIF89a"),
    "video/mp4": lambda head: head[4:8] == b"ftyp" and head[8:12] in _VIDEO_BRANDS,
    "application/vnd.apple.mpegurl": lambda head: head[:8] == b"#EXTM3U\n",
    "audio/mpeg": lambda head: head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"),
    "audio/mp4": lambda head: head[4:8] == b"ftyp" and head[8:12] in (b"M4A ", b"M4B "),
    "audio/ogg": lambda head: head[:4] == b"OggS",
    "audio/wav": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE",
    "audio/flac": lambda head: head[:4] == b"fLaC",
    "application/pdf": lambda head: head[:5] == b"%PDF-",
    "text/vtt": lambda head: head[:6] == b"WEBVTT",
    "text/plain": lambda head: b"\0" not in head,
    "text/csv": lambda head: b"\0" not in head,
    "application/json": lambda head: b"\0" not in head,
}
"""The content types a result may have, each with a test of the first `LEADING_BYTES`. Nothing that
a browser would run from our address: no HTML, no SVG, no XML."""


class Bounds(msgspec.Struct, frozen=True):
    max_files: int = MAX_OUTPUTS
    max_file_bytes: int = 4 * 1024**3
    max_total_bytes: int = 8 * 1024**3
    max_pixels: int = 16_383 * 16_383
    """Of a picture, or of one of a video: as many as one that is sent may have."""


class CheckedFile(msgspec.Struct, frozen=True):
    """A result that may be stored."""

    name: str
    path: Path
    content_type: str
    size_bytes: int
    sha256: str
    """Hexadecimal."""
    width_px: int | None
    height_px: int | None


def check_outputs(
    output_dir: Path,
    reported: Sequence[Output],
    bounds: Bounds,
    *,
    taken: Collection[ResultFile] = (),
) -> tuple[CheckedFile, ...]:
    """Check the folder of an ended child against its reports: the files that are still to be
    stored, in the order of the reports. Those in `taken` have been stored before.

    Reads and hashes every file: call it in a thread. Raises OutputRefused when anything is
    not as it must be; no part of such a folder may be kept.
    """
    check_reports(reported, bounds)
    stored = {file.name for file in taken}
    with _opened_folder(output_dir) as folder_fd:
        _refuse_leftovers(folder_fd, {output.name for output in reported})
        checked = []
        rest_bytes = bounds.max_total_bytes - sum(file.size_bytes for file in taken)
        for output in reported:
            if output.name in stored:
                continue
            with _opened_file(folder_fd, output) as file_fd:
                size_bytes = os.fstat(file_fd).st_size
                _check_size(output, size_bytes, rest_bytes, bounds)
                size = _check_content(output, _reading(file_fd), bounds)
                with os.fdopen(file_fd, "rb", buffering=0, closefd=False) as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            rest_bytes -= size_bytes
            checked.append(_checked(output_dir, output, size_bytes, sha256, size))
        return tuple(checked)


def read_output(
    output_dir: Path, output: Output, bounds: Bounds, *, taken: Collection[ResultFile] = ()
) -> tuple[CheckedFile, bytes] | None:
    """One file of a child that still runs, and its bytes as they were checked; None when it has
    more than EARLY_BYTES, which wait for the end.

    Call it in a thread, after `check_reports`. Raises OutputRefused.
    """
    with (
        _opened_folder(output_dir) as folder_fd,
        _opened_file(folder_fd, output) as file_fd,
        os.fdopen(file_fd, "rb", closefd=False) as file,
    ):
        data = file.read(EARLY_BYTES + 1)
    if len(data) > EARLY_BYTES:
        return None
    rest_bytes = bounds.max_total_bytes - sum(file.size_bytes for file in taken)
    _check_size(output, len(data), rest_bytes, bounds)
    size = _check_content(output, lambda start, length: data[start : start + length], bounds)
    sha256 = hashlib.sha256(data).hexdigest()
    return _checked(output_dir, output, len(data), sha256, size), data


def check_reports(reported: Sequence[Output], bounds: Bounds) -> None:
    """Check what was said of the files, all of it so far. Raises OutputRefused."""
    if len(reported) > bounds.max_files:
        raise OutputRefused(f"The work left {len(reported)} files; at most {bounds.max_files}")
    for output in reported:
        _check_report(output)
    if len({output.name for output in reported}) != len(reported):
        raise OutputRefused("The work reported a file twice")


def _check_report(output: Output) -> None:
    if not _NAME.fullmatch(output.name):
        raise OutputRefused(f"A result may not be named {printable(output.name, 100)!r}")
    if output.content_type not in _LOOKS_LIKE:
        raise OutputRefused(f"A result may not be of type {printable(output.content_type, 100)!r}")
    if (output.width_px is None) != (output.height_px is None):
        raise OutputRefused(f"{output.name}: width without height, or height without width")
    for size_px in (output.width_px, output.height_px):
        if size_px is not None and not 1 <= size_px <= MAX_WIDTH_PX:
            raise OutputRefused(f"{output.name}: {size_px} px is no size of a picture")


@contextmanager
def _opened_folder(output_dir: Path) -> Iterator[int]:
    try:
        folder_fd = os.open(output_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise OutputRefused(f"The output folder is gone or no folder: {error.strerror}") from error
    try:
        yield folder_fd
    finally:
        os.close(folder_fd)


def _refuse_leftovers(folder_fd: int, names: set[str]) -> None:
    with os.scandir(folder_fd) as entries:
        for entry in entries:  # ends at the first stranger, however many there are
            if entry.name not in names:
                raise OutputRefused(
                    f"The work left {printable(entry.name, 100)!r} without reporting it"
                )


@contextmanager
def _opened_file(folder_fd: int, output: Output) -> Iterator[int]:
    try:
        # O_NONBLOCK: to open a FIFO would wait for its writer.
        file_fd = os.open(
            output.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder_fd
        )
    except OSError as error:
        raise OutputRefused(f"{output.name}: {error.strerror}") from error
    try:
        status = os.fstat(file_fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise OutputRefused(f"{output.name} is no plain file, or has a second name")
        yield file_fd
    finally:
        os.close(file_fd)


def _reading(file_fd: int) -> ReadAt:
    return lambda start, length: os.pread(file_fd, length, start)


def _check_size(output: Output, size_bytes: int, rest_bytes: int, bounds: Bounds) -> None:
    max_bytes = min(rest_bytes, bounds.max_file_bytes)
    if size_bytes > max_bytes:
        raise OutputRefused(
            f"{output.name} has {size_bytes} bytes; at most {max_bytes} are allowed here"
        )


def _check_content(output: Output, read_at: ReadAt, bounds: Bounds) -> Size | None:
    """Its size in pixels, where it has one."""
    if not _LOOKS_LIKE[output.content_type](read_at(0, LEADING_BYTES)):
        raise OutputRefused(f"{output.name} is not of type {output.content_type}")
    try:
        size = size_of(output.content_type, read_at)
    except NoSize as error:
        raise OutputRefused(f"{output.name}: {error}") from error
    if size is None:
        return None
    if size.width_px * size.height_px > bounds.max_pixels or max(size) > MAX_WIDTH_PX:
        raise OutputRefused(
            f"{output.name} has {size.width_px} × {size.height_px} px; at most "
            f"{bounds.max_pixels:,} in all are allowed"
        )
    if output.width_px is not None and not _is_as_reported(output, size):
        raise OutputRefused(
            f"{output.name} has {size.width_px} × {size.height_px} px, and was reported with "
            f"{output.width_px} × {output.height_px}"
        )
    return size


def _is_as_reported(output: Output, size: Size) -> bool:
    reported = (output.width_px or 0, output.height_px or 0)
    if not output.content_type.startswith("video/"):
        return reported == size
    # A track may be turned when it is shown.
    differences = zip(sorted(reported), sorted(size), strict=True)
    return all(abs(one - other) <= ROUNDING_PX for one, other in differences)


def _checked(
    folder: Path, output: Output, size_bytes: int, sha256: str, size: Size | None
) -> CheckedFile:
    width_px, height_px = output.width_px, output.height_px
    if width_px is None and size is not None:
        width_px, height_px = size
    return CheckedFile(
        name=output.name,
        path=folder / output.name,
        content_type=output.content_type,
        size_bytes=size_bytes,
        sha256=sha256,
        width_px=width_px,
        height_px=height_px,
    )
