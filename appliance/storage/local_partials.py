"""Partials in a local directory.

    <root>/partial/<uploadId>       grows by appending
    <root>/partial/boot-id          the boot of the machine in which they were last written

A server that is killed loses nothing of what it has handed to the kernel, so after a mere
restart a partial is as long as its file. After a power cut a file may be longer than what was
synced of it, and its end may be anything: then only what was recorded after a sync counts. The
two are told apart by the kernel's boot id, once, at the start.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.errors import ObjectMissing
from appliance.storage import local_files
from appliance.threads import in_thread

_APPEND = os.O_WRONLY | os.O_NOFOLLOW
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_COPY_BYTES = 64 * 1024 * 1024
BOOT_MARK = "boot-id"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LocalPartials:
    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder

    async def recover(self, recorded: Mapping[str, int]) -> int:
        return await in_thread(self._recover, recorded)

    async def create(self, name: str) -> None:
        await in_thread(self._create, name)

    async def append_at(self, name: str, offset_bytes: int) -> _LocalAppending:
        return _LocalAppending(self._path(name), await in_thread(self._open, name, offset_bytes))

    async def exists(self, name: str) -> bool:
        return self._path(name).exists()

    async def size(self, name: str) -> int:
        with local_files.translated(name):
            return (await in_thread(os.stat, self._path(name))).st_size

    def read(
        self, name: str, *, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        return local_files.read(self._path(name), subject=name, start=start, length=length)

    async def join(self, names: Sequence[str], into: str) -> int:
        return await in_thread(self._join, names, into)

    async def commit(self, name: str, key: str) -> None:
        await in_thread(self._commit, name, key)

    async def delete(self, name: str) -> int:
        return await in_thread(self._delete, name)

    async def names(self) -> Sequence[str]:
        with local_files.translated(self._folder):
            return [name for name in await in_thread(os.listdir, self._folder) if name != BOOT_MARK]

    # --- on threads -------------------------------------------------------------------------

    def _recover(self, recorded: Mapping[str, int]) -> int:
        mark = self._folder / BOOT_MARK
        now = BOOT_ID.read_text("ascii") if BOOT_ID.exists() else ""
        with local_files.translated(self._folder):
            same_boot = bool(now) and mark.exists() and mark.read_text("ascii") == now
            freed = 0
            for path in list(self._folder.iterdir()):
                if path.name == BOOT_MARK:
                    continue
                size_bytes = path.stat().st_size
                if path.name not in recorded:
                    path.unlink()
                    freed += size_bytes
                elif not same_boot and size_bytes > recorded[path.name]:
                    os.truncate(path, recorded[path.name])
                    local_files.sync(path)
                    freed += size_bytes - recorded[path.name]
            mark.write_text(now, "ascii")
            return freed

    def _path(self, name: str) -> Path:
        if not name.isalnum():
            raise ValueError(f"not the name of a partial: {name!r}")
        return self._folder / name

    def _create(self, name: str) -> None:
        with local_files.translated(self._folder):
            os.close(os.open(self._path(name), _CREATE, 0o640))
            local_files.sync(self._folder)

    def _open(self, name: str, offset_bytes: int) -> int:
        with local_files.translated(name):
            descriptor = os.open(self._path(name), _APPEND)
            try:
                size_bytes = os.fstat(descriptor).st_size
                if size_bytes < offset_bytes:
                    raise ObjectMissing(f"{name} has {size_bytes} of {offset_bytes} bytes.")
                if size_bytes > offset_bytes:
                    os.ftruncate(descriptor, offset_bytes)
                os.lseek(descriptor, offset_bytes, os.SEEK_SET)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

    def _join(self, names: Sequence[str], into: str) -> int:
        with local_files.translated(into):
            target = os.open(self._path(into), _APPEND)
            try:
                os.ftruncate(target, 0)
                for name in names:
                    source = os.open(self._path(name), os.O_RDONLY)
                    try:
                        while os.copy_file_range(source, target, _COPY_BYTES):
                            pass
                    finally:
                        os.close(source)
                os.fsync(target)
                return os.fstat(target).st_size
            finally:
                os.close(target)

    def _commit(self, name: str, key: str) -> None:
        path, target = self._path(name), local_files.path_of(self._root, key)
        with local_files.translated(key):
            if path.exists() or not target.exists():  # else an earlier life came this far
                local_files.sync(path)
                local_files.put_in_place(path, target)
            for directory in local_files.directories_of(self._root, target):
                local_files.sync(directory)
            local_files.sync(self._folder)

    def _delete(self, name: str) -> int:
        path = self._path(name)
        with local_files.translated(name):
            try:
                size_bytes = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                return 0
            return size_bytes


class _LocalAppending:
    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    async def write(self, data: bytes | memoryview) -> None:
        with local_files.translated(self._path.parent):
            local_files.write_all(self._descriptor, data)

    async def sync(self) -> None:
        await in_thread(self._sync)

    def _sync(self) -> None:
        with local_files.translated(self._path.parent):
            os.fdatasync(self._descriptor)  # writes the new size too: it is needed to read it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
