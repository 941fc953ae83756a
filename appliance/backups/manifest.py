"""The manifest of a backup: lines of JSON, a head, an entry for each file, a foot.

It names every file that the database of that moment names, also one that could not be copied,
with the reason. The foot counts: a manifest that was cut off is known by its missing foot.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Self, TypeVar

import msgspec

from appliance.backups.place import Stored, manifest_key
from appliance.errors import BackupInvalid
from appliance.storage.protocol import Storage
from appliance.threads import in_thread

FORMAT = 1
T = TypeVar("T")


class Head(msgspec.Struct, frozen=True, rename="camel"):
    format: int
    taken_at: float
    version: str
    """Of the appliance that took it."""
    encrypted: bool
    """The files lie here as they lay there: sealed."""


class Entry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    key: str
    """Of the store; `data/…` for a file of the data directory, `database` for the database."""
    sha256: str = ""
    size_bytes: int = 0
    lacking: str = ""
    """Why it is not here: `missing`, `damaged` or `deleted` when the backup was taken."""

    @property
    def stored(self) -> Stored | None:
        return None if self.lacking else Stored(self.sha256, self.size_bytes)


class Foot(msgspec.Struct, frozen=True, rename="camel"):
    entries: int


DATABASE = "database"
DELETED = "deleted"
DATA = "data/"

_head = msgspec.json.Decoder(Head)
_entry = msgspec.json.Decoder(Entry)
_foot = msgspec.json.Decoder(Foot)


class Writer:
    """Writes one into a local file, from which it goes to the place as a whole."""

    def __init__(self, path: Path, head: Head) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("wb")
        self._entries = 0
        self._line(head)

    def add(self, entry: Entry) -> None:
        self._line(entry)
        self._entries += 1

    async def publish(self, place: Storage, snapshot: str) -> None:
        """From now on the backup is there."""
        self._line(Foot(entries=self._entries))
        self._file.close()
        await place.store_file(self._path, manifest_key(snapshot))

    def _line(self, what: msgspec.Struct) -> None:
        self._file.write(msgspec.json.encode(what) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


async def head_of(place: Storage, snapshot: str) -> Head:
    """Raises BackupInvalid."""
    async with aclosing(_lines(place, snapshot)) as lines:
        async for line in lines:
            return _checked_head(line, snapshot)
    raise BackupInvalid(f"The manifest of {snapshot} is empty.")


async def entries_of(place: Storage, snapshot: str) -> AsyncGenerator[Entry, None]:
    """Raises BackupInvalid, at the end at the latest, for one that is damaged."""
    count, last = -1, b""
    async with aclosing(_lines(place, snapshot)) as lines:
        async for line in lines:
            if count == -1:
                _checked_head(line, snapshot)
            elif count > 0:
                yield _decoded(_entry, last, snapshot)
            count, last = count + 1, line
    if count < 1 or _decoded(_foot, last, snapshot).entries != count - 1:
        raise BackupInvalid(f"The manifest of {snapshot} is cut off. Use another snapshot.")


def _checked_head(line: bytes, snapshot: str) -> Head:
    head = _decoded(_head, line, snapshot)
    if head.format != FORMAT:
        raise BackupInvalid(
            f"{snapshot} was written by a newer version ({head.version}). Use that version."
        )
    return head


def _decoded(decoder: msgspec.json.Decoder[T], line: bytes, snapshot: str) -> T:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        raise BackupInvalid(
            f"The manifest of {snapshot} is damaged ({error}). Use another snapshot."
        ) from error


async def _lines(place: Storage, snapshot: str) -> AsyncGenerator[bytes, None]:
    held = b""
    async with aclosing(place.read(manifest_key(snapshot))) as pieces:
        async for piece in pieces:
            *lines, held = await in_thread((held + piece).split, b"\n")
            for line in lines:
                yield line
    if held:
        yield held
