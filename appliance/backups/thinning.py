"""Keeping the newest backups: older manifests go, then the files that no manifest names any more.

In this order: what is stopped in between leaves files too many, never too few.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from appliance.backups import place as places
from appliance.backups.index import Index
from appliance.backups.manifest import entries_of
from appliance.storage.protocol import Storage


async def thin(
    place: Storage, *, taken: str, known: Collection[str], keep: int, now: float, folder: Path
) -> int:
    """Keep that many snapshots; how many files went. Runs under the lock of `taking.alone`.

    `taken` is the one that was taken just now, and stays whatever the clock has done. `known` are
    those that were taken here, thinned out or not: a place may not list the newest yet, whose
    files would go, and may list some that are gone. Raises BackupInvalid where a manifest cannot
    be read: then nobody knows what it needs, and nothing is deleted.
    """
    listed = await places.snapshots(place, now=now)
    others = places.by_age({*listed, *known} - {taken}, now=now)
    kept, old = [taken], []
    for snapshot in reversed(others):
        if len(kept) == keep:
            old += [snapshot] if snapshot in listed else []
        elif await places.is_there(place, snapshot):
            kept.append(snapshot)
    if not old:
        return 0
    with Index(folder / "named") as named:
        for snapshot in kept:
            async for entry in entries_of(place, snapshot):
                if entry.stored is not None:
                    named.add(entry.sha256)
        for snapshot in old:
            await place.delete(places.manifest_key(snapshot))
        deleted = 0
        for prefix in await places.names(place, places.OBJECTS):
            for sha256 in await places.names(place, f"{places.OBJECTS}/{prefix}"):
                if sha256 not in named:
                    deleted += await place.delete(f"{places.OBJECTS}/{prefix}/{sha256}")
    return deleted
