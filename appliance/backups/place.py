"""Where backups lie: a store of its own, a directory or a bucket.

    objects/<ab>/<sha256>       every file once, under the digest of its bytes as they lie here
    snapshots/<time>.jsonl      one backup: what was where (`manifest`); written last, as a whole

So a second backup adds what is new, and a backup is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from appliance.clock import CLOCK_SKEW_S
from appliance.errors import BackupInvalid, ObjectDamaged, ObjectMissing
from appliance.storage.protocol import Storage
from appliance.threads import in_thread

SNAPSHOTS = "snapshots"
OBJECTS = "objects"
_ENDING = ".jsonl"


class Stored(NamedTuple):
    """Bytes in the place, by their digest."""

    sha256: str
    size_bytes: int

    @property
    def key(self) -> str:
        return f"{OBJECTS}/{self.sha256[:2]}/{self.sha256}"


def snapshot_name(now: float) -> str:
    """Names sort by time: `20261125T122027.123Z`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def is_snapshot_name(text: str) -> bool:
    return re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z", text, re.A) is not None


def manifest_key(snapshot: str) -> str:
    return f"{SNAPSHOTS}/{snapshot}{_ENDING}"


def by_age(snapshots: Iterable[str], *, now: float) -> list[str]:
    """Oldest first. Those of the future before all others: a clock that was wrong named them."""
    newest = snapshot_name(now + CLOCK_SKEW_S)
    return sorted(snapshots, key=lambda snapshot: (snapshot <= newest, snapshot))


async def snapshots(place: Storage, *, now: float) -> list[str]:
    """The names, as `by_age`."""
    there = await names(place, SNAPSHOTS)
    found = (name.removesuffix(_ENDING) for name in there if name.endswith(_ENDING))
    return by_age(found, now=now)


async def is_there(place: Storage, snapshot: str) -> bool:
    """Whatever is listed."""
    try:
        await place.size(manifest_key(snapshot))
    except ObjectMissing:
        return False
    return True


async def chosen(place: Storage, wanted: str | None, *, now: float) -> str:
    """The snapshot of that name, or the newest that is listed. Raises BackupInvalid."""
    if wanted is not None and is_snapshot_name(wanted) and await is_there(place, wanted):
        return wanted
    there = await snapshots(place, now=now)
    if not there:
        raise BackupInvalid("There is no backup in this place. `appliance backup` makes one.")
    if wanted is None:
        return there[-1]
    raise BackupInvalid(f"There is no snapshot {wanted}. There are: {', '.join(there[-10:])}.")


async def has(place: Storage, stored: Stored) -> bool:
    try:
        return await place.size(stored.key) == stored.size_bytes
    except ObjectMissing:
        return False


async def names(place: Storage, folder: str) -> list[str]:
    """What lies directly in it; nothing where there is no such folder."""
    try:
        return [name async for name in place.list(folder)]
    except ObjectMissing:
        return []


async def read(
    place: Storage, stored: Stored, counted: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """The bytes; the last piece only once the digest of all is known to be right.

    `counted` is told the size of each. Raises ObjectMissing, ObjectDamaged.
    """
    digest, size, held = hashlib.sha256(), 0, b""
    async with aclosing(place.read(stored.key)) as pieces:
        async for piece in pieces:
            await in_thread(digest.update, piece)
            size += len(piece)
            counted(len(piece))
            if held:
                yield held
            held = piece
    if (digest.hexdigest(), size) != stored:
        raise ObjectDamaged(f"{stored.key} in the backup is not what was put there.")
    yield held


async def fetch(place: Storage, stored: Stored, path: Path, counted: Callable[[int], None]) -> None:
    """Into a new local file, durable when this returns. Raises ObjectMissing, ObjectDamaged."""
    try:
        with path.open("xb") as file:
            async for piece in read(place, stored, counted):
                await in_thread(file.write, piece)
            file.flush()
            await in_thread(os.fsync, file.fileno())
    except BaseException:
        await in_thread(path.unlink, missing_ok=True)
        raise


async def digest_of(path: Path) -> Stored:
    def hashed() -> Stored:
        with path.open("rb") as file:
            return Stored(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)

    return await in_thread(hashed)
