"""A store that lists late: without what was just written, and with what was just deleted.

Nothing is lost by it, nothing stays for ever, and nothing is told that is not so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.backups import place as places
from appliance.backups.manifest import Entry, Head, Writer
from appliance.backups.thinning import thin
from appliance.errors import BackupInvalid, ObjectMissing
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import open_keyring
from appliance.storage.object_store import ObjectStorage
from tests import buckets
from tests.conformance.test_partials import append
from tests.conformance.test_partials import get as get_partial
from tests.conformance.test_storage import KEY, get, names, put
from tests.lagging_bucket import LaggingBucket, lagging

SECRET = bytes(32)
MIB = 1024**2


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStorage]:
    opened = await buckets.opened("swift", tmp_path, prefix=tmp_path.name)
    yield opened
    await opened.close()


@pytest.fixture
async def listings(store: ObjectStorage) -> LaggingBucket:
    bucket = lagging(store)
    await bucket.lag()
    return bucket


async def test_an_object_that_is_not_listed_yet_is_deleted(
    store: ObjectStorage, listings: LaggingBucket
) -> None:
    await put(store, KEY, b"just written")
    assert await names(store, "raw") == set()
    await store.delete(KEY)
    with pytest.raises(ObjectMissing):
        await store.size(KEY)


async def test_one_that_is_still_listed_is_deleted_again(
    store: ObjectStorage, listings: LaggingBucket
) -> None:
    await put(store, KEY, b"old")
    await listings.lag()
    for _ in range(2):
        await store.delete("raw/01JD")
    assert await names(store, "raw/01JD")
    with pytest.raises(ObjectMissing):
        await get(store, KEY)


async def test_no_piece_of_a_partial_is_left(store: ObjectStorage, listings: LaggingBucket) -> None:
    for name in ("PART", "ALL"):
        await store.partials.create(name)
    await append(store.partials, 0, bytes(9 * MIB), name="PART")
    await store.partials.join(["PART"], "ALL")
    await store.partials.delete("ALL")
    assert await get_partial(store.partials, "PART") == bytes(9 * MIB), "they were only lent"
    assert await store.partials.delete("PART") == 9 * MIB
    listings.catch_up()
    assert [entry async for entry in listings.entries("partial/")] == []


async def test_keys_that_are_not_listed_yet_open_what_they_sealed(
    store: ObjectStorage, listings: LaggingBucket
) -> None:
    await put(EncryptedStorage(store, await open_keyring(store, [SECRET])), KEY, b"sealed")
    restarted = EncryptedStorage(store, await open_keyring(store, [SECRET]))
    assert await get(restarted, KEY) == b"sealed"


async def back_up(place: ObjectStorage, folder: Path, snapshot: str, content: bytes) -> None:
    path = folder / "file"
    path.write_bytes(content)
    stored = await places.digest_of(path)
    await put(place, stored.key, content)
    head = Head(format=1, taken_at=0.0, version="1", encrypted=False)
    with Writer(folder / "manifest", head) as writer:
        writer.add(Entry(key="raw/01JD/a", sha256=stored.sha256, size_bytes=stored.size_bytes))
        await writer.publish(place, snapshot)


async def there(place: ObjectStorage, folder: Path, content: bytes) -> bool:
    (folder / "file").write_bytes(content)
    return await places.has(place, await places.digest_of(folder / "file"))


NOW = 1_800_000_000.0
SNAPSHOTS = [places.snapshot_name(1_700_000_000.0 + day * 86_400) for day in range(5)]


async def test_the_files_of_a_backup_that_is_not_listed_yet_are_kept(
    store: ObjectStorage, listings: LaggingBucket, tmp_path: Path
) -> None:
    first, second, third, fourth, gone = SNAPSHOTS  # the last one by somebody's hand
    for snapshot in (first, second, third):
        await back_up(store, tmp_path, snapshot, snapshot.encode())
    await listings.lag()
    await back_up(store, tmp_path, fourth, b"only in the newest")
    await listings.hear_of("objects/")  # sooner than of its manifest
    known = {first, fourth, gone}
    await thin(store, taken=fourth, known=known, keep=2, now=NOW, folder=tmp_path)
    assert await there(store, tmp_path, b"only in the newest")
    assert await there(store, tmp_path, third.encode())
    assert not await there(store, tmp_path, first.encode())
    assert not await there(store, tmp_path, second.encode())

    # Now the deleted ones are listed still, and more are to be kept.
    assert await places.snapshots(store, now=NOW) == [first, second, third]
    assert await thin(store, taken=fourth, known={fourth}, keep=4, now=NOW, folder=tmp_path) == 0
    listings.catch_up()
    assert await places.snapshots(store, now=NOW) == [third, fourth]


async def test_a_backup_that_is_not_listed_yet_is_found_by_its_name(
    store: ObjectStorage, listings: LaggingBucket, tmp_path: Path
) -> None:
    *_, newest, later = SNAPSHOTS
    await back_up(store, tmp_path, newest, b"file")
    assert await places.chosen(store, newest, now=NOW) == newest
    await listings.lag()
    for wanted in (later, "../../secret"):
        with pytest.raises(BackupInvalid, match="There is no snapshot"):
            await places.chosen(store, wanted, now=NOW)
