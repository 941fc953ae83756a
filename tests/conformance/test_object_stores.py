"""What holds of object stores beyond what every store must do."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import obstore
import pytest
from obstore.store import S3Store
from yarl import URL

from appliance.errors import ObjectDamaged, StorageUnavailable
from appliance.jobs import ResultFile
from appliance.storage.buckets import s3
from appliance.storage.buckets.s3 import S3Bucket
from appliance.storage.buckets.s3_multipart import S3Multipart
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import open_keyring
from appliance.storage.object_store import ObjectStorage
from appliance.storage.spool import Given
from appliance.storage.verified import read_verified
from tests import buckets
from tests.conformance.test_partials import append
from tests.conformance.test_storage import get, names, put

MIB = 1024**2
NOISE = random.Random(7).randbytes(19 * MIB + 5)
SHA256 = hashlib.sha256(NOISE).hexdigest()
KEY = "raw/01JD/file.bin"
FILE_NAMES = [
    "Überraschung.txt",  # NFC
    "U\u0308berraschung.txt",  # NFD: another file
    "a b+c%2Fd%.txt",
    "trailing.. ",
    "猫🐈‍⬛.png",
    "<&'\">;=?#@:,!*()[]{}|\\^`~$.txt",
    "\u202egpj.txt",
    "tab\tand\u0085line.txt",
]


@pytest.fixture(params=["swift", "moto", "gcs"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStorage]:
    opened = await buckets.opened(request.param, tmp_path, prefix=tmp_path.name)
    yield opened
    await opened.close()


on_s3 = pytest.mark.parametrize("store", ["swift", "moto"], indirect=True)
on_swift = pytest.mark.parametrize("store", ["swift"], indirect=True)


async def test_every_legal_name_survives(store: ObjectStorage) -> None:
    for name in FILE_NAMES:
        await put(store, f"raw/01JD/{name}", name.encode())
    assert await names(store, "raw/01JD") == set(FILE_NAMES)
    for name in FILE_NAMES:
        assert await get(store, f"raw/01JD/{name}") == name.encode()
    assert await store.delete(f"raw/01JD/{FILE_NAMES[1]}") == 1
    assert await store.delete("raw/01JD") == len(FILE_NAMES) - 1
    assert await names(store, "raw") == set()


async def test_large_files_go_in_parts(store: ObjectStorage, tmp_path: Path) -> None:
    pieces = [NOISE[at : at + MIB] for at in range(0, len(NOISE), MIB)]
    await put(store, KEY, *pieces)
    assert await get(store, KEY) == NOISE
    assert await get(store, KEY, start=8 * MIB - 3, length=7) == NOISE[8 * MIB - 3 :][:7]
    (tmp_path / "result").write_bytes(NOISE[: 16 * MIB])  # parts of the same size only
    await store.store_file(tmp_path / "result", "processed/01JD/1/x")
    assert await get(store, "processed/01JD/1/x") == NOISE[: 16 * MIB]
    assert not list((tmp_path / "spool").iterdir())


@on_swift
async def test_another_client_reads_what_we_write(store: ObjectStorage, tmp_path: Path) -> None:
    key = f"raw/01JD/{FILE_NAMES[4]}"
    await put(store, key, NOISE)
    keys = buckets.environ("swift")
    other = S3Store(
        buckets.BUCKET,
        endpoint=buckets.endpoint("swift"),
        access_key_id=keys["AWS_ACCESS_KEY_ID"],
        secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )
    found = await obstore.get_async(other, f"{buckets.RUN}/{tmp_path.name}/{key}")
    assert bytes(await found.bytes_async()) == NOISE


@pytest.mark.parametrize(
    "lengths", [[19 * MIB], [6, 6], [9 * MIB, 1, 5 * MIB, 4 * MIB, 3], [MIB, 17 * MIB, 0, 7]]
)
@pytest.mark.parametrize("store", ["swift", "gcs"], indirect=True)
async def test_parts_are_joined_within_the_store(store: ObjectStorage, lengths: list[int]) -> None:
    parts, at = [], 0
    for number, length in enumerate(lengths):
        parts.append(f"PART{number}")
        await store.partials.create(parts[-1])
        await append(store.partials, 0, NOISE[at : at + length], name=parts[-1])
        at += length
    await store.partials.create("ALL")
    assert await store.partials.join(parts, "ALL") == at
    await store.partials.commit("ALL", KEY)
    assert await get(store, KEY) == NOISE[:at]
    assert set(await store.partials.names()) == set(parts)


@on_swift  # moto says of all that they were begun in 2010
async def test_parts_that_were_never_ended_are_cleared_away(store: ObjectStorage) -> None:
    bucket = store._bucket
    async with await store.receive(KEY) as incoming:
        await incoming.write(NOISE)
    assert await bucket.abort_old(-60) == 0  # whoever leaves takes them along
    await (await bucket.begin(KEY)).send(1, Given(bytes(5 * MIB)))  # whoever is killed does not
    assert await store.tidy() == 0
    assert await bucket.abort_old(-60) == 1
    assert await bucket.abort_old(-60) == 0
    assert await names(store, "raw") == set()


async def test_what_was_changed_behind_our_back_is_not_given_out(store: ObjectStorage) -> None:
    file = ResultFile("file.bin", "image/png", len(NOISE), SHA256, KEY)
    await put(store, KEY, NOISE)
    assert b"".join([piece async for piece in read_verified(store, file)]) == NOISE
    other = NOISE[:-1] + b"?"
    await put(store, KEY, other)
    pieces, found = read_verified(store, file), b""
    try:
        async for piece in pieces:
            found += piece
    except ObjectDamaged as error:
        assert "another file" in error.detail  # noqa: PT017  what came before it counts
    assert len(found) < len(NOISE)
    await put(store, KEY, b"short")
    with pytest.raises(ObjectDamaged, match="5 bytes"):
        await get(store, KEY, start=2, size_bytes=len(NOISE))


@on_s3
async def test_presigned_links_give_the_file_to_anybody(store: ObjectStorage) -> None:
    key = f"raw/01JD/{FILE_NAMES[0]}"
    await put(store, key, b"picture")
    disposition = "attachment; filename*=UTF-8''%C3%9Cber.png"
    url = await store.presigned(
        key, expires_s=60, content_type="image/png", disposition=disposition
    )
    assert url is not None
    async with aiohttp.ClientSession() as session:
        async with session.get(URL(url, encoded=True)) as answer:
            assert (answer.status, await answer.read()) == (200, b"picture")
            assert answer.headers["Content-Disposition"] == disposition
            assert answer.content_type == "image/png"
        forged = url.replace("appliance/", "other/", 1)
        async with session.get(URL(forged, encoded=True)) as answer:
            assert answer.status in (403, 404)


@on_swift  # moto looks at no date
async def test_presigned_links_end(store: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(store, KEY, b"picture")
    statuses = []
    for signed_ago_s in (50, 70):
        monkeypatch.setattr(store._bucket.clock, "skew_s", -signed_ago_s)
        url = await store.presigned(
            KEY, expires_s=60, content_type="image/png", disposition="inline"
        )
        assert url is not None
        async with aiohttp.request("GET", URL(url, encoded=True)) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 403]


@pytest.fixture
async def classes(tmp_path: Path) -> AsyncIterator[ObjectStorage]:
    opened = await buckets.opened("moto", tmp_path, prefix=tmp_path.name, cold_class="STANDARD_IA")
    yield opened
    await opened.close()


async def class_of(store: ObjectStorage, key: str = KEY) -> str | None:
    """None: the usual one."""
    assert isinstance(store._bucket, S3Bucket)
    return (await store._bucket._first_byte(key)).headers.get("x-amz-storage-class")


async def test_the_cold_place_is_a_storage_class(classes: ObjectStorage) -> None:
    assert classes.has_cold_place
    await put(classes, KEY, b"old")
    for _ in range(2):
        await classes.make_cold(KEY)
        assert await class_of(classes) == "STANDARD_IA"
        assert await get(classes, KEY) == b"old"


async def test_what_is_encrypted_later_stays_in_its_class(classes: ObjectStorage) -> None:
    encrypted = EncryptedStorage(classes, await open_keyring(classes, [bytes(32)]))
    other = "raw/01JE/file.bin"
    for key in (KEY, other):
        await put(classes, key, b"of before")
    await classes.make_cold(KEY)
    for key in (KEY, other):
        await encrypted.encrypt(key)
        assert not await encrypted.is_plaintext(key)
        assert await get(encrypted, key) == b"of before"
    assert [await class_of(classes, key) for key in (KEY, other)] == ["STANDARD_IA", None]


async def test_what_is_too_large_for_one_copy_is_made_cold_in_parts(
    classes: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 copies up to 5 GiB at once; here it is 18 MiB of 19."""
    monkeypatch.setattr(s3, "MOST_COPIED_BYTES", 18 * MIB)
    monkeypatch.setattr(s3, "COPIED_PART_BYTES", 6 * MIB)
    copied = []
    copy = S3Multipart.copy

    async def counting(self: S3Multipart, number: int, key: str, start: int, end: int) -> None:
        copied.append(end - start)
        await copy(self, number, key, start, end)
        if breaks and number == 3:
            raise StorageUnavailable("The store answers 503.")

    monkeypatch.setattr(S3Multipart, "copy", counting)
    await put(classes, KEY, NOISE)
    breaks = True
    with pytest.raises(StorageUnavailable):
        await classes.make_cold(KEY)
    assert await class_of(classes) is None
    assert await classes._bucket.abort_old(-60) == 0
    breaks = False
    for _ in range(2):
        await classes.make_cold(KEY)
    assert copied[3:] == [6 * MIB, 6 * MIB, 6 * MIB, MIB + 5], "once"
    assert await class_of(classes) == "STANDARD_IA"
    assert await get(classes, KEY) == NOISE


async def test_a_store_without_classes_has_no_cold_place(store: ObjectStorage) -> None:
    assert not store.has_cold_place


async def test_a_reader_who_leaves_early_leaves_nothing_behind(store: ObjectStorage) -> None:
    await put(store, KEY, NOISE)
    async with aclosing(store.read(KEY)) as pieces:
        assert NOISE.startswith(await anext(pieces))
    assert await get(store, KEY, length=3) == NOISE[:3]
