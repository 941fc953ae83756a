"""A job's files to a folder: whole and with the right digest, or not at all.

What a server says is believed as little as what a stranger says: names are made harmless, and
addresses are ours. The bytes come into `NAME.XXXXXXXX.part` (the beginning of the digest that is
wanted), which a later call goes on with, and get their name when all of them are right.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from appliance.client.connection import Connection
from appliance.client.failures import Altered, MayPass, Refused, TargetUnfit
from appliance.client.patience import Patience
from appliance.client.watching import Watcher

ORIGINAL = "original"
MAX_NAME_BYTES = 200
READ_BYTES = 1 << 20


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """A file as the job lists it."""

    name: str
    size_bytes: int
    sha256: str


class Listing(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str
    filename: str
    size_bytes: int
    sha256: str
    files: list[Listed]


@dataclass(frozen=True)
class Wanted:
    path: str
    """At the server."""
    name: str
    """In the folder: one component, harmless."""
    size_bytes: int
    sha256: str


def choose(
    document: Any, names: Sequence[str], *, results: bool, original: bool
) -> tuple[list[Wanted], list[str]]:
    """What is to be fetched of a job, and those of `names` that it does not have.

    With `results` all of them, with `original` that too. Raises Refused.
    """
    try:
        job = msgspec.convert(document, Listing)
    except msgspec.ValidationError as error:
        raise Refused(f"The server answered something that is no job ({error}).", status=200) from (
            error
        )
    listed = {file.name: file for file in job.files}
    missing = [name for name in names if name not in listed and name != ORIGINAL]
    chosen = [file for file in job.files if results or file.name in names]
    base = f"/jobs/{quote(job.job_id, safe='')}/files/"
    wanted: dict[str, Wanted] = {}
    for file in chosen:
        name = _free(harmless(file.name), wanted)
        wanted[name] = Wanted(base + quote(file.name, safe=""), name, file.size_bytes, file.sha256)
    if original or ORIGINAL in names:
        name = _free(harmless(job.filename), wanted)
        wanted[name] = Wanted(base + ORIGINAL, name, job.size_bytes, job.sha256)
    for want in wanted.values():
        if not re.fullmatch("[0-9a-f]{64}", want.sha256) or want.size_bytes < 0:
            raise Refused("The server answered a file without a digest.", status=200)
    return list(wanted.values()), missing


def harmless(name: str) -> str:
    """`name` as one component of a path: not hidden, nothing that a terminal or a file system
    understands in its own way."""
    text = "".join(
        "_" if character in '/\\:*?"<>|' or unicodedata.category(character)[0] == "C" else character
        for character in name
    )
    text = text.strip(". ") or "unnamed"
    stem, dot, extension = text.rpartition(".")
    if dot and len(extension) <= 12:
        room = MAX_NAME_BYTES - len(f".{extension}".encode())
        return stem.encode()[:room].decode("utf-8", "ignore") + f".{extension}"
    return text.encode()[:MAX_NAME_BYTES].decode("utf-8", "ignore")


def _free(name: str, taken: dict[str, Wanted]) -> str:
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{stem}-{number}{dot}{extension}"
    return free


async def fetch(
    connection: Connection,
    wanted: Wanted,
    folder: Path,
    *,
    overwrite: bool,
    patience: Patience,
    watcher: Watcher,
) -> bool:
    """Get one file; False: it was there already, the very same.

    Raises Refused, MayPass when the patience is over, TargetUnfit and Altered.
    """
    target = folder / wanted.name
    if not overwrite and await asyncio.to_thread(os.path.lexists, target):
        if await asyncio.to_thread(_is_same, target, wanted):
            return False
        raise TargetUnfit(
            "There is another file of this name already. Give --force to replace it, or another "
            "folder with -o."
        )
    with _Part(folder, wanted) as part:
        await asyncio.to_thread(part.hash_what_is_there)
        began_bytes = part.size_bytes
        watcher.moved(part.size_bytes)
        while part.size_bytes < wanted.size_bytes:
            before_bytes = part.size_bytes
            try:
                await _continue(connection, wanted, part, watcher)
            except MayPass as failure:
                if part.size_bytes > before_bytes:
                    patience.renew()
                watcher.waits(failure.brief)
                await patience.wait(failure)
                continue
            if not part.is_right and began_bytes:
                # What an earlier call left was not the beginning of this. Once more, all of it.
                part.clear()
                began_bytes = 0
        if not part.is_right:
            part.remove()
            raise Altered(
                "What came does not have the SHA-256 that the job tells. It is not kept; fetch it "
                "again."
            )
        await asyncio.to_thread(part.become, target, overwrite=overwrite)
    return True


async def _continue(connection: Connection, wanted: Wanted, part: _Part, watcher: Watcher) -> None:
    headers = {}
    if part.size_bytes:
        headers = {"Range": f"bytes={part.size_bytes}-", "If-Range": f'"{wanted.sha256}"'}
    async with connection.fetch(wanted.path, headers=headers) as (status, pieces):
        if status == 200:
            part.clear()
        async for piece in pieces:
            if part.size_bytes + len(piece) > wanted.size_bytes:
                part.clear()
                raise Altered("More came than the job tells. It is not kept.")
            await asyncio.to_thread(part.write, piece)
            watcher.moved(part.size_bytes)


def _is_same(path: Path, wanted: Wanted) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:  # noqa: PTH123
        if os.fstat(descriptor).st_size != wanted.size_bytes:
            return False
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256


class _Part:
    """What is there of a file. Blocks; raises TargetUnfit."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self._path = folder / f"{wanted.name}.{wanted.sha256[:8]}.part"
        self._wanted = wanted
        self.clear_digest()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._descriptor = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise TargetUnfit(f"It cannot be written in {folder}: {error.strerror}.") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise TargetUnfit("Another command is fetching it right now.") from error

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.size_bytes:
            self.remove()
        os.close(self._descriptor)

    def clear_digest(self) -> None:
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    def hash_what_is_there(self) -> None:
        while piece := os.pread(self._descriptor, READ_BYTES, self.size_bytes):
            self._digest.update(piece)
            self.size_bytes += len(piece)
        if self.size_bytes > self._wanted.size_bytes or (
            self.size_bytes == self._wanted.size_bytes and not self.is_right
        ):
            self.clear()

    @property
    def is_right(self) -> bool:
        return self._digest.hexdigest() == self._wanted.sha256

    def clear(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self.clear_digest()

    def write(self, piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[
                    os.pwrite(self._descriptor, view, self.size_bytes + len(piece) - len(view)) :
                ]
        except OSError as error:
            raise TargetUnfit(f"It cannot be written: {error.strerror}.") from error
        self._digest.update(piece)
        self.size_bytes += len(piece)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def become(self, target: Path, *, overwrite: bool) -> None:
        """Durable, and under its name, which nobody else's file loses by it."""
        try:
            os.fsync(self._descriptor)
            if overwrite:
                self._path.replace(target)
                return
            try:
                os.link(self._path, target)
            except FileExistsError as error:
                raise TargetUnfit(
                    "A file of this name has come meanwhile. Give --force to replace it."
                ) from error
            except OSError:  # a file system without links
                if os.path.lexists(target):
                    raise TargetUnfit("A file of this name has come meanwhile.") from None
                self._path.replace(target)
            else:
                with contextlib.suppress(OSError):
                    self._path.unlink()
        except OSError as error:
            raise TargetUnfit(f"It cannot be put there: {error.strerror}.") from error
