"""What a child left in its output folder, checked before anybody stores it.

The child read hostile bytes: its folder may hold links, pipes, files it never told of, or one
kind of content under the name of another. Nothing here parses media; leading bytes are enough
to keep a browser from being handed something else than it is told. The child is dead by now,
so what was checked stays as it was.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from appliance.errors import OutputRefused
from appliance.processors.protocol import Output
from appliance.workers.outcome import printable

MAX_WIDTH_PX = 65_535
"""JPEG's limit, and above those of WebP (16,383) and of H.264 levels."""

LEADING_BYTES = 32

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_VIDEO_BRANDS = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1")

_LOOKS_LIKE: dict[str, Callable[[bytes], bool]] = {
    "image/webp": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    "image/jpeg": lambda head: head[:3] == b"\xff\xd8\xff",
    "image/png": lambda head: head[:8] == b"\x89PNG\r\n\x1a\n",
    "image/avif": lambda head: head[4:12] in (b"ftypavif", b"ftypavis"),
    "video/mp4": lambda head: head[4:8] == b"ftyp" and head[8:12] in _VIDEO_BRANDS,
    "application/vnd.apple.mpegurl": lambda head: head[:8] == b"#EXTM3U\n",
    "text/vtt": lambda head: head[:6] == b"WEBVTT",
    "text/plain": lambda head: b"\0" not in head,
    "application/json": lambda head: b"\0" not in head,
}
"""The content types a result may have, each with a test of the first `LEADING_BYTES`."""


class Bounds(msgspec.Struct, frozen=True):
    max_files: int = 100
    max_file_bytes: int = 4 * 1024**3
    max_total_bytes: int = 8 * 1024**3


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
    output_dir: Path, reported: Sequence[Output], bounds: Bounds
) -> tuple[CheckedFile, ...]:
    """Check the folder of an ended child against its reports; the files in their order.

    Reads and hashes every file: call it in a thread. Raises OutputRefused when anything is
    not as it must be; no part of such a folder may be kept.
    """
    if len(reported) > bounds.max_files:
        raise OutputRefused(f"The work left {len(reported)} files; at most {bounds.max_files}")
    for output in reported:
        _check_report(output)
    names = {output.name for output in reported}
    if len(names) != len(reported):
        raise OutputRefused("The work reported a file twice")
    try:
        folder_fd = os.open(output_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise OutputRefused(f"The output folder is gone or no folder: {error.strerror}") from error
    try:
        _refuse_leftovers(folder_fd, names)
        checked = []
        rest_bytes = bounds.max_total_bytes
        for output in reported:
            file = _check_file(
                folder_fd, output_dir, output, min(rest_bytes, bounds.max_file_bytes)
            )
            rest_bytes -= file.size_bytes
            checked.append(file)
        return tuple(checked)
    finally:
        os.close(folder_fd)


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


def _refuse_leftovers(folder_fd: int, names: set[str]) -> None:
    with os.scandir(folder_fd) as entries:
        for entry in entries:  # ends at the first stranger, however many there are
            if entry.name not in names:
                raise OutputRefused(
                    f"The work left {printable(entry.name, 100)!r} without reporting it"
                )


def _check_file(folder_fd: int, folder: Path, output: Output, max_bytes: int) -> CheckedFile:
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
        if status.st_size > max_bytes:
            raise OutputRefused(
                f"{output.name} has {status.st_size} bytes; at most {max_bytes} are allowed here"
            )
        head = os.pread(file_fd, LEADING_BYTES, 0)
        if not _LOOKS_LIKE[output.content_type](head):
            raise OutputRefused(f"{output.name} is not of type {output.content_type}")
        with os.fdopen(file_fd, "rb", buffering=0, closefd=False) as file:
            digest = hashlib.file_digest(file, "sha256")
    finally:
        os.close(file_fd)
    return CheckedFile(
        name=output.name,
        path=folder / output.name,
        content_type=output.content_type,
        size_bytes=status.st_size,
        sha256=digest.hexdigest(),
        width_px=output.width_px,
        height_px=output.height_px,
    )
