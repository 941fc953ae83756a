"""A directory on a local disk as the store.

    <root>/incoming/<random>                        on their way in; emptied at every start
    <root>/partial/<uploadId>                       resumable uploads (`local_partials`)
    <root>/raw/<jobId>/<filename>                   originals
    <root>/processed/<jobId>/<attempt>/<name>       results

What is durable here is told in `local_files`: written to a temporary name in the same file
system, fsynced, renamed; a rename of an unsynced file can leave an empty one under its final
name after a power cut (seen).

Chunks are written straight from the event loop: a page-cache write of 256 KiB takes less than
the hop to a thread (measured: 3,500 uploads/s against 970). Syncing waits for the disk, so it
happens in a thread.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.ids import new_id
from appliance.storage import local_files
from appliance.storage.local_files import READ_BYTES, rename_durably, translated
from appliance.storage.local_partials import LocalPartials
from appliance.storage.protocol import Incoming, Space
from appliance.threads import in_thread

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class LocalStorage:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self.partials = LocalPartials(root, root / "partial")

    @classmethod
    def open(cls, root: Path) -> LocalStorage:
        """Create what is missing, and discard what a previous life left half received.

        The caller makes sure that no other process uses `root` as a store.
        """
        with translated(root):
            for name in ("incoming", "partial", "raw", "processed"):
                (root / name).mkdir(parents=True, exist_ok=True, mode=0o750)
            for leftover in (root / "incoming").iterdir():
                leftover.unlink()
            local_files.sync_directory(root)
        return cls(root)

    async def receive(self) -> Incoming:
        path = self._incoming / new_id()
        with translated(path.parent):
            # On a thread: to create a file waits for the file system's commit under way.
            descriptor = await in_thread(os.open, path, _CREATE, 0o640)
        return _LocalIncoming(self, path, descriptor)

    async def store_file(self, path: Path, key: str) -> None:
        await in_thread(self._adopt, path, key)

    def read(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        return local_files.read(self._path(key), start=start, length=length)

    async def size(self, key: str) -> int:
        with translated(key):
            return (await in_thread(os.stat, self._path(key))).st_size

    async def delete(self, prefix: str) -> int:
        return await in_thread(self._delete, self._path(prefix))

    async def list(self, prefix: str) -> AsyncIterator[str]:
        with translated(prefix):
            names = await in_thread(os.listdir, self._path(prefix))
        for name in names:
            yield name

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    async def space(self) -> Space | None:
        with translated(self._root):
            usage = await in_thread(shutil.disk_usage, self._root)
        # Not the disk's size: what it keeps for root is neither free nor used.
        return Space(free_bytes=usage.free, total_bytes=usage.used + usage.free)

    async def check(self) -> None:
        async with await self.receive() as incoming:
            await incoming.write(b"check")
            key = f"raw/{new_id()}/check"
            await incoming.commit(key)
        await self.delete(key)

    # --- on threads -------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        return local_files.path_of(self._root, key)

    def _adopt(self, path: Path, key: str) -> None:
        with translated(key):
            local_files.sync_file(path)
            try:
                rename_durably(path, self._path(key))
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy(path, key)

    def _copy(self, path: Path, key: str) -> None:
        """For a source on another file system."""
        temporary = self._incoming / new_id()
        try:
            with path.open("rb") as source, temporary.open("xb") as target:
                shutil.copyfileobj(source, target, READ_BYTES)
                target.flush()
                os.fsync(target.fileno())
            rename_durably(temporary, self._path(key))
        finally:
            temporary.unlink(missing_ok=True)

    def _delete(self, path: Path) -> int:
        with translated(path):
            if path.is_dir():
                count = sum(len(files) for _, _, files in os.walk(path))
                shutil.rmtree(path)
            elif path.exists():
                count = 1
                path.unlink()
            else:
                return 0
            # The directory of a job goes with its last file.
            parent = path.parent
            while parent.parent != self._root and parent != self._root:
                try:
                    parent.rmdir()
                except OSError:
                    break
                parent = parent.parent
        return count


class _LocalIncoming:
    def __init__(self, storage: LocalStorage, path: Path, descriptor: int) -> None:
        self._storage = storage
        self._path = path
        self._descriptor: int | None = descriptor
        self._committed = False

    async def write(self, data: bytes | memoryview) -> None:
        assert self._descriptor is not None
        with translated(self._path.parent):
            local_files.write_all(self._descriptor, data)

    async def seal(self) -> None:
        await in_thread(self._seal)

    async def commit(self, key: str) -> None:
        await in_thread(self._commit, key)

    def _seal(self) -> None:
        if self._descriptor is None:
            return
        with translated(self._path.parent):
            os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None

    def _commit(self, key: str) -> None:
        self._seal()
        with translated(key):
            rename_durably(self._path, self._storage._path(key))
        self._committed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if not self._committed:
            await in_thread(self._path.unlink, missing_ok=True)
