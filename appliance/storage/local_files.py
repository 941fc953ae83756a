"""Files on a local disk that are to survive a power cut: how they are written, synced and named.

Durable means: fsynced, renamed into place, and every directory that gained a name fsynced. A
failed fsync fails the write and is never repeated: the kernel reports a lost page once
(https://wiki.postgresql.org/wiki/Fsync_Errors).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType

from appliance.errors import (
    ApplianceError,
    ObjectDamaged,
    ObjectMissing,
    StorageFull,
    StorageUnavailable,
)
from appliance.storage.protocol import components
from appliance.threads import in_thread

READ_BYTES = 1024 * 1024

_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None)


def path_of(root: Path, key: str) -> Path:
    """Where an object lies. Raises ValueError for what is no key."""
    return root.joinpath(*components(key))


async def read(
    path: Path,
    *,
    subject: str,
    start: int = 0,
    length: int | None = None,
    size_bytes: int | None = None,
) -> AsyncGenerator[bytes, None]:
    """As `Storage.read`; `subject` is what people are told, rather than where it lies."""
    with translated(subject):
        descriptor = await in_thread(os.open, path, os.O_RDONLY)
    try:
        found_bytes = os.fstat(descriptor).st_size
        if size_bytes is not None and found_bytes != size_bytes:
            raise ObjectDamaged(
                f"{subject} has {found_bytes} bytes on the disk instead of {size_bytes}. Restore "
                "it from a backup."
            )
        left = length
        while left is None or left > 0:
            wanted = READ_BYTES if left is None else min(READ_BYTES, left)
            with translated(subject):
                piece = await in_thread(os.pread, descriptor, wanted, start)
            if not piece:
                break
            yield piece
            start += len(piece)
            left = None if left is None else left - len(piece)
    finally:
        os.close(descriptor)


def write_out(descriptor: int, start: int, length: int) -> None:
    """Let the disk begin with these bytes of a file, so that its sync finds little left to do.

    Promises nothing: what goes wrong here the sync reports. Waits only while the disk's queue is
    full. (sync_file_range(2), which Python has not.)
    """
    _libc.sync_file_range(
        descriptor, ctypes.c_int64(start), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
    )


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # a full disk or a signal cuts a write short
        written += os.write(descriptor, memoryview(data)[written:])


def sync(path: Path) -> None:
    """Make a file's bytes, or a directory's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def directories_of(root: Path, target: Path) -> list[Path]:
    """Those between an object and the store's root, to be synced for its name to be durable.

    All of them, also those that were there before: a life that was killed between making and
    syncing one leaves it there, unsynced. The first below the root is synced when it is made.
    """
    return [directory for directory in target.parents if root in directory.parents]


def put_in_place(source: Path, target: Path) -> None:
    """Rename `source` to `target`, not yet synced."""
    while True:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        try:
            source.replace(target)
            break
        except FileNotFoundError:
            if not source.exists():
                raise
            # Somebody removed the directory, empty until now, under our hands: once more


class translated:  # noqa: N801  a context like those of contextlib, at a third of their price
    """Turns an OSError into the one of our tree that fits."""

    __slots__ = ("_subject",)

    def __init__(self, subject: object) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, OSError):
            raise _translation(exc, self._subject) from exc


def _translation(error: OSError, subject: object) -> ApplianceError:
    if isinstance(error, FileNotFoundError):
        return ObjectMissing(f"{subject} is not in the store.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The disk is full. Free some space, or mount a larger disk.")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StorageUnavailable(
            "The server has too many files open. Raise its limit (`ulimit -n`), or send fewer at "
            "once."
        )
    return StorageUnavailable(f"The disk failed at {subject}: {error.strerror}.")
