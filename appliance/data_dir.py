"""The data directory: one process at a time, and a few things of its own beside the files.

<data>/lock         held while an appliance runs on it
<data>/node-id      the directory's own name, the same at every start
<data>/scratch      of running attempts; emptied at every start
<data>/spool        parts of files on their way to an object store; emptied at every start
<data>/admin.key    see `appliance.admin_key`
<data>/backup       what a backup under way needs for itself
<data>/cold-place   the path of the cold place, once it was used
<data>/restoring    there while a backup is being restored
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.directories import make_directory
from appliance.errors import ConfigurationError
from appliance.ids import new_id

RESTORING = "restoring"


class AlreadyRunning(ConfigurationError):
    """Another process uses the data directory."""


def prepare(data_dir: Path) -> None:
    """Make the directory where it is missing. Raises ConfigurationError."""
    try:
        make_directory(data_dir)
        (data_dir / ".writable").write_bytes(b"")
        (data_dir / ".writable").unlink()
    except OSError as error:
        raise ConfigurationError(
            [
                f"APPLIANCE_DATA_DIR: {data_dir} cannot be written ({error.strerror}). Choose "
                f"another directory, or give it to uid {os.getuid()}."
            ]
        ) from error


def check_restored(data_dir: Path) -> None:
    """Raises ConfigurationError where a restore was begun and has not ended."""
    if (data_dir / RESTORING).exists():
        raise ConfigurationError(
            [
                f"APPLIANCE_DATA_DIR: a backup is being restored into {data_dir}, or was and did "
                "not end. Give `appliance restore` again; it goes on. Or begin with an empty one."
            ]
        )


COLD_MARK = "cold-place"
"""In the data directory the path of the cold place, in the cold place the name of the node."""


def check_cold_place(data_dir: Path, cold: Path) -> None:
    """Raises ConfigurationError where the cold place was used before and looks empty now: a disk
    that is not mounted would be filled at its mount point, and its files told as missing."""
    mark = data_dir / COLD_MARK
    if mark.exists() and mark.read_text("utf-8") == str(cold) and not (cold / COLD_MARK).exists():
        raise ConfigurationError(
            [
                f"APPLIANCE_COLD_STORAGE_URL: {cold} is not the directory that was used before. "
                f"Mount its disk. If it is to begin anew, delete {mark}."
            ]
        )


def mark_cold_place(data_dir: Path, cold: Path) -> None:
    (cold / COLD_MARK).write_text(node_id(data_dir), "ascii")
    (data_dir / COLD_MARK).write_text(str(cold), "utf-8")


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the directory for this process; the kernel lets go when the process ends.

    Raises AlreadyRunning.
    """
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                [
                    f"APPLIANCE_DATA_DIR: another appliance runs on {data_dir}. Stop it, or give "
                    "this one a directory of its own."
                ]
            ) from None
        yield


def node_id(data_dir: Path) -> str:
    path = data_dir / "node-id"
    if not path.exists():
        path.write_text(new_id(), encoding="ascii")
    return path.read_text(encoding="ascii")


def spool(data_dir: Path) -> Path:
    """Where what is on its way to an object store waits."""
    spool_dir = data_dir / "spool"
    spool_dir.mkdir(mode=0o700, exist_ok=True)
    return spool_dir


def empty_spool(data_dir: Path) -> None:
    for leftover in spool(data_dir).iterdir():
        leftover.unlink()


def empty_scratch(data_dir: Path) -> Path:
    scratch = data_dir / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    return scratch
