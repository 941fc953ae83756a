"""Encrypting what lies in a store from before encryption was set, beside a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator

from appliance.errors import ObjectMissing
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import Keyring, forbid_plaintext
from appliance.storage.protocol import Storage


class Conversion:
    def __init__(self, store: Storage, keyring: Keyring, *, fingerprint: str) -> None:
        """`fingerprint`: of the master key in force."""
        self._store = store
        self._encrypted = EncryptedStorage(store, keyring)
        self.plaintext_allowed = keyring.plaintext_allowed
        self.fingerprint = fingerprint

    async def plaintext(self) -> AsyncIterator[str]:
        """The keys of objects that are not encrypted."""
        for folder in ("raw", "processed"):
            async for key in self._below(folder):
                try:
                    if await self._encrypted.is_plaintext(key):
                        yield key
                except ObjectMissing:
                    continue  # deleted meanwhile

    async def encrypt(self, key: str) -> int:
        """How many objects were: none when it was deleted meanwhile."""
        try:
            await self._encrypted.encrypt(key)
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

    async def _below(self, prefix: str) -> AsyncIterator[str]:
        names = [name async for name in self._store.list(prefix)]
        for name in names:
            key = f"{prefix}/{name}"
            depth = key.count("/")
            if depth == (2 if key.startswith("raw/") else 3):
                yield key
                continue
            try:
                async for below in self._below(key):
                    yield below
            except ObjectMissing:
                continue
