"""Encrypting what lies in a store from before encryption was set, beside a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from appliance.errors import ObjectMissing
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import Keyring, forbid_plaintext
from appliance.storage.protocol import Storage


class Found(NamedTuple):
    """An object that is not encrypted."""

    place: EncryptedStorage
    key: str


class Conversion:
    def __init__(
        self, store: Storage, keyring: Keyring, *, places: Sequence[Storage], fingerprint: str
    ) -> None:
        """`places`: the stores that `store` is made of, in the order in which files are moved
        through them, so that none is missed. `fingerprint`: of the master key in force."""
        self._store = store
        self._encrypted = EncryptedStorage(store, keyring)
        self._places = [EncryptedStorage(place, keyring) for place in places]
        self.plaintext_allowed = keyring.plaintext_allowed
        self.fingerprint = fingerprint

    async def plaintext(self) -> AsyncIterator[Found]:
        """One that lies in two places, because its move was broken off, counts twice."""
        for place in self._places:
            for folder in ("raw", "processed"):
                async for key in _below(place, folder):
                    try:
                        if await place.is_plaintext(key):
                            yield Found(place, key)
                    except ObjectMissing:
                        continue  # deleted, or moved on, meanwhile

    async def encrypt(self, found: Found) -> int:
        """Where it lies. How many objects were: none when it was deleted meanwhile."""
        try:
            await found.place.encrypt(found.key)
        except ObjectMissing:
            return 0
        return 1

    async def conclude(self) -> int:
        """Refuse plaintext from now on, unless unfinished uploads are such: how many are."""
        partials = self._encrypted.partials
        unfinished = 0 if partials is None else await partials.count_plaintext()
        if not unfinished:
            await forbid_plaintext(self._store)
        return unfinished


async def _below(place: Storage, prefix: str) -> AsyncIterator[str]:
    try:
        names = [name async for name in place.list(prefix)]
    except ObjectMissing:
        return
    for name in names:
        key = f"{prefix}/{name}"
        if key.count("/") == (2 if key.startswith("raw/") else 3):
            yield key
            continue
        async for below in _below(place, key):
            yield below
