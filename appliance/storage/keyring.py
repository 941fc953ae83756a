"""The keys of an encrypted store, wrapped by the master key and kept in the store itself.

    keys/<wrapping key>/<master key>     one wrapping key, wrapped by one master key
    keys/plaintext-allowed               files from before encryption are there, and may be read

The master key wraps wrapping keys, these wrap the data key of every object. So a new master key
means a few small new objects, however many files there are, and on every kind of store: nothing
has to be changed in place. The ids in the names are times (wrapping keys) or digests (master
keys); they tell nothing of the keys.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from appliance.errors import ConfigurationError, ObjectDamaged, ObjectMissing
from appliance.storage.protocol import Storage
from appliance.storage.sealed import (
    HEADER_BYTES,
    ID_BYTES,
    KEY_BYTES,
    MAGIC,
    Seal,
    Wrapping,
)

log = structlog.get_logger()

FOLDER = "keys"
PLAINTEXT_ALLOWED = "plaintext-allowed"
PLAINTEXT = f"{FOLDER}/{PLAINTEXT_ALLOWED}"
"""The key of an object that is there while files from before encryption may be read."""
_WRAPPING = b"wrapping key"
_DATA = b"data key"
SETTING = "APPLIANCE_ENCRYPTION_KEY"


def master_keys(secrets: Sequence[bytes]) -> list[Wrapping]:
    """The first one is in force; the others still open what was wrapped by them."""
    return [
        Wrapping(secret, hashlib.sha256(b"appliance master key" + secret).digest()[:ID_BYTES])
        for secret in secrets
    ]


@dataclass(frozen=True)
class Keyring:
    """Use `open_keyring`."""

    store: Storage
    masters: Sequence[Wrapping]
    current: Wrapping
    """Wraps the data keys of new objects."""
    known: dict[bytes, Wrapping]
    plaintext_allowed: bool

    def new_object(self, subject: str) -> tuple[Seal, bytes]:
        """With a data key of its own; the second value is the header that it begins with."""
        data_key = os.urandom(KEY_BYTES)
        wrapped = self.current.wrap(data_key, purpose=_DATA)
        return Seal(data_key, subject), MAGIC + self.current.key_id + wrapped

    async def opened(self, header: bytes, subject: str) -> Seal:
        """For the object that begins with `header`. Raises ObjectDamaged."""
        key_id = header[len(MAGIC) : len(MAGIC) + ID_BYTES]
        wrapping = None
        if len(header) == HEADER_BYTES and header.startswith(MAGIC):
            wrapping = self.known.get(key_id) or await self._found(key_id)
        if wrapping is None:
            raise ObjectDamaged(
                f"{subject} is not a file that this server has encrypted. Restore it from a backup."
            )
        return Seal(wrapping.unwrap(header[len(MAGIC) + ID_BYTES :], purpose=_DATA), subject)

    async def _found(self, key_id: bytes) -> Wrapping | None:
        """One that the store did not list when it was opened: some tell late what is new."""
        for master in self.masters:
            try:
                key = await _unwrapped_by(self.store, key_id, master)
            except ObjectMissing:
                continue
            wrapping = self.known[key_id] = Wrapping(key, key_id)
            return wrapping
        return None


async def is_encrypted(store: Storage) -> bool:
    return bool(await _names(store, FOLDER))


async def objects(store: Storage) -> list[str]:
    """The keys under which the wrapped keys lie."""
    found = [
        f"{FOLDER}/{name}" for name in await _names(store, FOLDER) if name == PLAINTEXT_ALLOWED
    ]
    for key_id in set(await _names(store, FOLDER)) - {PLAINTEXT_ALLOWED}:
        found += [f"{FOLDER}/{key_id}/{name}" for name in await _names(store, f"{FOLDER}/{key_id}")]
    return found


async def open_keyring(store: Storage, secrets: Sequence[bytes]) -> Keyring:
    """The keys of `store`; makes the first one where it has none.

    What was wrapped by an old master key is wrapped by the one in force, and new files get a
    wrapping key that the old one never knew. Raises ConfigurationError.
    """
    masters = master_keys(secrets)
    ids = set(await _names(store, FOLDER)) - {PLAINTEXT_ALLOWED}
    known: dict[bytes, Wrapping] = {}
    current: Wrapping | None = None
    for key_id in sorted(ids):
        wrapping, wrapped_by = await _unwrapped(store, bytes.fromhex(key_id), masters)
        known[wrapping.key_id] = wrapping
        if wrapped_by == {masters[0].key_id}:
            current = wrapping
    if current is None:
        if not ids and await _has_files(store):
            await _put(store, PLAINTEXT, b"Files from before encryption.\n")
        current = await _new_wrapping_key(store, masters[0])
        known[current.key_id] = current
    await _forget_old_wraps(store, masters, sorted(ids))
    allowed = PLAINTEXT_ALLOWED in await _names(store, FOLDER)
    return Keyring(store, masters, current, known, plaintext_allowed=allowed)


async def forbid_plaintext(store: Storage) -> None:
    """From the next start on, what is not encrypted is refused."""
    await store.delete(PLAINTEXT)


async def _unwrapped(
    store: Storage, key_id: bytes, masters: Sequence[Wrapping]
) -> tuple[Wrapping, set[bytes]]:
    """A wrapping key, and by which master keys it is wrapped."""
    folder = f"{FOLDER}/{key_id.hex()}"
    wrapped_by = {bytes.fromhex(name) for name in await _names(store, folder)}
    for master in masters:
        if master.key_id in wrapped_by:
            try:
                key = await _unwrapped_by(store, key_id, master)
            except ObjectDamaged as error:
                raise ConfigurationError(
                    [f"{folder} in the store is damaged. Restore it from a backup of the store."]
                ) from error
            if master is not masters[0]:
                await _wrap(store, key, key_id, masters[0])
            return Wrapping(key, key_id), wrapped_by
    raise ConfigurationError(
        [
            f"{SETTING}: the files are encrypted with another key (its fingerprint is "
            f"{', '.join(sorted(one.hex() for one in wrapped_by))}; of what is set, "
            f"{', '.join(one.key_id.hex() for one in masters)}). Set that key, or put it as a "
            f"further line into {SETTING}_FILE."
        ]
    )


async def _unwrapped_by(store: Storage, key_id: bytes, master: Wrapping) -> bytes:
    """Raises ObjectMissing where that master key has not wrapped it, ObjectDamaged."""
    name = f"{FOLDER}/{key_id.hex()}/{master.key_id.hex()}"
    wrapped = b"".join([piece async for piece in store.read(name)])
    return master.unwrap(wrapped, purpose=_WRAPPING + key_id)


async def _new_wrapping_key(store: Storage, master: Wrapping) -> Wrapping:
    # Ids sort by time: the newest key is the one in force.
    key_id = (time.time_ns() // 1_000_000).to_bytes(ID_BYTES - 2) + os.urandom(2)
    key = os.urandom(KEY_BYTES)
    await _wrap(store, key, key_id, master)
    return Wrapping(key, key_id)


async def _wrap(store: Storage, key: bytes, key_id: bytes, master: Wrapping) -> None:
    wrapped = master.wrap(key, purpose=_WRAPPING + key_id)
    await _put(store, f"{FOLDER}/{key_id.hex()}/{master.key_id.hex()}", wrapped)


async def _forget_old_wraps(
    store: Storage, masters: Sequence[Wrapping], key_ids: Sequence[str]
) -> None:
    """All are wrapped by the key in force now: the old ones open nothing any more."""
    for key_id in key_ids:
        for name in await _names(store, f"{FOLDER}/{key_id}"):
            if name != masters[0].key_id.hex():
                await store.delete(f"{FOLDER}/{key_id}/{name}")
                log.info("encryption_key_replaced", old=name, new=masters[0].key_id.hex())


async def _has_files(store: Storage) -> bool:
    return bool(await _names(store, "raw") or await _names(store, "processed"))


async def _names(store: Storage, prefix: str) -> list[str]:
    try:
        return [name async for name in store.list(prefix)]
    except ObjectMissing:
        return []


async def _put(store: Storage, key: str, content: bytes) -> None:
    async with await store.receive(key) as incoming:
        await incoming.write(content)
        await incoming.commit()
