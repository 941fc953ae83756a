"""Master keys of an encrypted store: set, missing, wrong, replaced; killed in the middle of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ConfigurationError, ObjectDamaged, StorageUnavailable
from appliance.storage import keyring
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import forbid_plaintext, is_encrypted, open_keyring
from appliance.storage.local import LocalStorage
from appliance.storage.protocol import Storage

OLD, NEW, OTHER = bytes(32), b"n" * 32, b"o" * 32


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    return LocalStorage.open(tmp_path / "files")


async def opened(local: LocalStorage, *secrets: bytes) -> EncryptedStorage:
    return EncryptedStorage(local, await open_keyring(local, secrets))


async def put(store: Storage, key: str, content: bytes) -> None:
    async with await store.receive(key) as incoming:
        await incoming.write(content)
        await incoming.commit()


async def get(store: Storage, key: str) -> bytes:
    return b"".join([piece async for piece in store.read(key)])


async def test_a_restart_reads_what_was_written(local: LocalStorage) -> None:
    assert not await is_encrypted(local)
    await put(await opened(local, OLD), "raw/A/x", b"secret")
    assert await is_encrypted(local)
    assert await get(await opened(local, OLD), "raw/A/x") == b"secret"


async def test_another_key_is_told_with_the_mend(local: LocalStorage) -> None:
    await put(await opened(local, OLD), "raw/A/x", b"secret")
    with pytest.raises(ConfigurationError, match="encrypted with another key") as told:
        await opened(local, OTHER)
    (old,) = keyring.master_keys([OLD])
    assert old.key_id.hex() in str(told.value.faults)
    assert await get(await opened(local, OLD), "raw/A/x") == b"secret"


async def test_a_new_key_makes_the_old_one_useless(local: LocalStorage) -> None:
    await put(await opened(local, OLD), "raw/A/x", b"of before")
    stored = await get(local, "raw/A/x")

    await put(await opened(local, NEW, OLD), "raw/B/x", b"of after")
    assert await get(local, "raw/A/x") == stored  # its key was wrapped anew, nothing else
    store = await opened(local, NEW)  # the old one is taken out of the file
    assert await get(store, "raw/A/x") == b"of before"
    assert await get(store, "raw/B/x") == b"of after"
    with pytest.raises(ConfigurationError):
        await opened(local, OLD)


async def test_new_files_are_under_a_key_that_the_old_one_never_knew(local: LocalStorage) -> None:
    first = (await open_keyring(local, [OLD])).current.key_id
    second = (await open_keyring(local, [NEW, OLD])).current.key_id
    assert second != first
    assert (await open_keyring(local, [NEW])).current.key_id == second  # at every start from then


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_replacement_that_was_killed_is_done_again(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Between its writes: the old key is wrapped by the new master, a new key is made."""
    await put(await opened(local, OLD), "raw/A/x", b"secret")
    left, really = steps, keyring._put

    async def put_or_die(store: Storage, key: str, content: bytes) -> None:
        nonlocal left
        if not left:
            raise StorageUnavailable("killed")
        left -= 1
        await really(store, key, content)

    with monkeypatch.context() as patch:
        patch.setattr(keyring, "_put", put_or_die)
        with pytest.raises(StorageUnavailable):
            await opened(local, NEW, OLD)
    before = (await open_keyring(local, [OLD])).known
    assert (await open_keyring(local, [NEW, OLD])).current.key_id not in before
    assert await get(await opened(local, NEW), "raw/A/x") == b"secret"


async def test_files_from_before_are_read_until_all_are_encrypted(local: LocalStorage) -> None:
    await put(local, "raw/A/x", b"plain")
    store = await opened(local, OLD)
    assert await get(store, "raw/A/x") == b"plain"
    assert await store.size("raw/A/x") == 5
    assert await store.is_plaintext("raw/A/x")
    await store.encrypt("raw/A/x")
    assert not await store.is_plaintext("raw/A/x")
    assert await get(store, "raw/A/x") == b"plain"
    await put(local, "raw/B/x", b"planted")
    await forbid_plaintext(local)
    store = await opened(local, OLD)
    assert await get(store, "raw/A/x") == b"plain"
    with pytest.raises(ObjectDamaged, match="not a file that this server has encrypted"):
        await get(store, "raw/B/x")


async def test_an_empty_store_never_takes_what_is_not_encrypted(local: LocalStorage) -> None:
    store = await opened(local, OLD)
    await put(local, "raw/B/x", b"planted")
    with pytest.raises(ObjectDamaged):
        await get(store, "raw/B/x")


async def test_a_damaged_key_is_told(local: LocalStorage, tmp_path: Path) -> None:
    await opened(local, OLD)
    (wrap,) = (path for path in (tmp_path / "files/keys").rglob("*") if path.is_file())
    wrap.write_bytes(wrap.read_bytes()[:-1] + b"x")
    with pytest.raises(ConfigurationError, match="is damaged") as told:
        await opened(local, OLD)
    assert "backup" in told.value.faults[0]
