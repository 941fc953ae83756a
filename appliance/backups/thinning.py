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


async def thin(place: Storage, *, known: Collection[str], keep: int, folder: Path) -> int:
    """Keep that many snapshots; how many files went. Runs under the lock of `taking.alone`.

    `known` are those that were taken here, thinned out or not: a place may not list the newest
    yet, whose files would go, and may list some that are gone. Raises BackupInvalid where a
    manifest cannot be read: then nobody knows what it needs, and nothing is deleted.
    """
    listed = await places.snapshots(place)
    kept: list[str] = []
    for snapshot in sorted({*listed, *known}, reverse=True):
        if len(kept) < keep and await places.is_there(place, snapshot):
            kept.append(snapshot)
    old = [snapshot for snapshot in listed if len(kept) == keep and snapshot < kept[-1]]
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
