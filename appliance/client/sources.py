"""What is to be uploaded: the files that somebody named, and the bytes of one of them."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from appliance.client.failures import SourceChanged, SourceUnfit

PIECE_BYTES = 512 * 1024
STDIN = "-"

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    shown: str
    """As people call it: how it was given, or how it was found."""
    name: str
    """For the server."""
    path: Path | None
    """None: standard input."""
    relative_path: str | None = None
    """Of a file out of a folder, from that folder's name on, with `/`."""
    is_stream: bool = False
    """Its bytes come once: standard input, a pipe."""


def find(given: Sequence[str], *, name: str | None = None) -> tuple[list[Source], list[str]]:
    """The files that are meant, each once, in the order of the names; and what is wrong with the
    names. A folder means all files below it; links to folders in there are not followed."""
    found: dict[str, Source] = {}
    faults: list[str] = []
    for argument in given:
        sources = list(_of(argument, faults))
        for source in sources:
            # A stream may be given under two names and is still one; a file is one by its path.
            key = STDIN if source.path is None else os.path.realpath(source.path)
            found.setdefault(key, source)
    if name is not None:
        if len(found) != 1 or any(source.relative_path for source in found.values()):
            faults.append("--name names one file, and there are several.")
        else:
            key, source = found.popitem()
            found[key] = Source(source.shown, name, source.path, None, source.is_stream)
    elif any(source.path is None for source in found.values()):
        faults.append("Standard input has no name; give it one: --name NAME.")
    return list(found.values()), faults


def _of(argument: str, faults: list[str]) -> Iterator[Source]:
    if argument == STDIN:
        yield Source("standard input", STDIN, None, is_stream=True)
        return
    matches = [argument]
    if not os.path.lexists(argument) and glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207  as shells do it
    if not matches:
        faults.append(f"{argument}: nothing matches.")
    for match in matches:
        path = Path(match)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            faults.append(f"{match}: {_reason(error)}")
            continue
        if stat.S_ISDIR(mode):
            before = len(faults)
            inside = list(_inside(path, faults))
            if not inside and len(faults) == before:
                faults.append(f"{match}: there is no file in this folder.")
            yield from inside
        elif stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            yield Source(match, _text(path.name), path, is_stream=not stat.S_ISREG(mode))
        else:
            faults.append(f"{match}: is no file.")


def _inside(folder: Path, faults: list[str]) -> Iterator[Source]:
    top = _text(folder.resolve().name)

    def fail(error: OSError) -> None:
        faults.append(f"{error.filename}: {_reason(error)}")

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        for file in sorted(files):
            path = Path(parent) / file
            if path.is_symlink() and not path.exists():
                faults.append(f"{path}: is a link to nothing.")
            elif path.is_file():  # sockets, pipes and devices are none
                inner = _text(str(path.relative_to(folder)))
                yield Source(str(path), _text(file), path, f"{top}/{inner}" if top else inner)


def _text(name: str) -> str:
    """A name of a file system, which may be any bytes, as text that can be sent."""
    return os.fsencode(name).decode("utf-8", "replace")


def _reason(error: OSError) -> str:
    return f"{(error.strerror or 'cannot be read').lower()}."


class SourceFile:
    """An open file, that has to stay as it is now; hashed once, from front to end, as it is read.

    Its methods block, and raise SourceUnfit and SourceChanged.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceUnfit(f"It cannot be opened: {_reason(error)}") from error
        seen = os.fstat(self._descriptor)
        self.size_bytes = seen.st_size
        self.mtime_ns = seen.st_mtime_ns
        self._digest = hashlib.sha256()
        self._hashed_bytes = 0

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self, offset_bytes: int) -> bytes:
        """A piece; what is returned is of the file as it was when it was opened."""
        wanted = min(PIECE_BYTES, self.size_bytes - offset_bytes)
        try:
            piece = os.pread(self._descriptor, wanted, offset_bytes)
            seen = os.fstat(self._descriptor)
        except OSError as error:
            raise SourceUnfit(f"It cannot be read: {_reason(error)}") from error
        # Looked at after the piece was read: who has the last one unchanged, has all of them so.
        if (seen.st_size, seen.st_mtime_ns) != (self.size_bytes, self.mtime_ns) or not piece:
            raise SourceChanged(
                "It changed while it was sent. Nothing of it is kept; send it again when it is "
                "at rest."
            )
        if offset_bytes <= self._hashed_bytes < offset_bytes + len(piece):
            self._digest.update(piece[self._hashed_bytes - offset_bytes :])
            self._hashed_bytes = offset_bytes + len(piece)
        return piece

    async def hash_until(self, offset_bytes: int) -> None:
        while self._hashed_bytes < offset_bytes:
            await asyncio.to_thread(self.read, self._hashed_bytes)

    async def sha256(self) -> bytes:
        """Of the whole; what was not read yet is read."""
        await self.hash_until(self.size_bytes)
        return self._digest.digest()


class SourceStream:
    """Standard input (`path` None) or a pipe. Its methods raise SourceUnfit."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._descriptor = 0

    async def __aenter__(self) -> Self:
        if self._path is not None:
            path = self._path
            self._descriptor = await _unwaited(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._path is not None and exc is None:  # else a thread may still read from it
            os.close(self._descriptor)

    async def read(self, size_bytes: int) -> bytes:
        """So many, less only at the end."""
        return await _unwaited(lambda: self._read(size_bytes))

    def _read(self, size_bytes: int) -> bytes:
        content = bytearray()
        while len(content) < size_bytes:
            piece = os.read(self._descriptor, min(PIECE_BYTES, size_bytes - len(content)))
            if not piece:
                break
            content += piece
        return bytes(content)


async def _unwaited(call: Callable[[], T]) -> T:
    """`call` in a thread that nobody waits for at the end: a pipe may block for ever."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, failure: OSError | None) -> None:
        if outcome.done():
            return
        if failure is not None:
            outcome.set_exception(SourceUnfit(f"It cannot be read: {_reason(failure)}"))
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = call()
        except OSError as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True).start()
    return await outcome
