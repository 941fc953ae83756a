"""One object in parts, on Google Cloud Storage: a resumable upload, whose parts come in order.

Source: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.errors import ApplianceError
from appliance.storage.buckets.protocol import Body
from appliance.storage.buckets.requests import TryAgain
from appliance.threads import in_thread

if TYPE_CHECKING:
    from hashlib import _Hash

    from appliance.storage.buckets.gcs import GcsBucket

UNIT_BYTES = 256 * 1024
"""All parts but the last are multiples of that."""
MORE_COMES = 308
COMPLETE_S = 120.0


class GcsMultipart:
    in_flight = 1

    def __init__(self, bucket: GcsBucket, session_url: str) -> None:
        self._bucket = bucket
        self._url = session_url
        self._size_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._object: dict[str, Any] | None = None

    async def send(self, number: int, part: Body) -> None:
        first, self._size_bytes = self._size_bytes, self._size_bytes + part.size_bytes
        is_last = part.size_bytes % UNIT_BYTES != 0
        await md5_of(part, self._md5)
        total = self._size_bytes if is_last else "*"
        headers = {"Content-Range": f"bytes {first}-{self._size_bytes - 1}/{total}"}
        answer = await self._bucket.ask(
            "PUT", self._url, headers=headers, body=part, expects=MORE_COMES
        )
        if is_last:
            self._object = msgspec.json.decode(answer.body, type=dict[str, Any])
        elif answer.headers.get("Range") != f"bytes=0-{self._size_bytes - 1}":
            raise TryAgain("The store has not taken all of a part.")

    async def copy(self, number: int, key: str, start: int, end: int) -> None:
        raise NotImplementedError

    async def complete(self) -> None:
        if self._object is None:
            headers = {"Content-Range": f"bytes */{self._size_bytes}"}
            answer = await self._bucket.ask("PUT", self._url, headers=headers, within_s=COMPLETE_S)
            self._object = msgspec.json.decode(answer.body, type=dict[str, Any])
        check_md5(self._object, self._md5.digest())

    async def abort(self) -> None:
        try:
            await self._bucket.ask("DELETE", self._url, repeat=False, expects=499)
        except ApplianceError:
            return  # forgotten there after a week


async def md5_of(body: Body, digest: _Hash | None = None) -> bytes:
    digest = digest or hashlib.md5(usedforsecurity=False)
    async for piece in body.pieces():
        await in_thread(digest.update, piece)
    return digest.digest()


def check_md5(found: Mapping[str, Any], md5: bytes) -> None:
    """Whether what arrived is what was sent."""
    if found.get("md5Hash") != base64.b64encode(md5).decode():
        raise TryAgain("A file did not arrive in the store as it was sent.")
