"""A bucket of Google Cloud Storage, by its JSON API.

What arrived is compared with the MD5 that the answer to an upload holds. Who we are is found by
Google's own rules: GOOGLE_APPLICATION_CREDENTIALS, else the machine's service account. An endpoint
that is set is an emulator, and is told nothing.
Source: https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from gcloud.aio.auth import Token
from yarl import URL

from appliance.clock import Clock
from appliance.errors import ApplianceError, StorageRefused
from appliance.storage.buckets import gcs_faults
from appliance.storage.buckets.deletion import delete_each
from appliance.storage.buckets.gcs_links import link_signer
from appliance.storage.buckets.gcs_multipart import GcsMultipart, check_md5, md5_of
from appliance.storage.buckets.gcs_rules import GcsRules
from appliance.storage.buckets.protocol import Body, Entry, Head, Opened
from appliance.storage.buckets.requests import (
    Answer,
    Request,
    Requests,
    TryAgain,
    pieces_of,
)
from appliance.storage.buckets.signature import encoded_path
from appliance.storage.spool import Given
from appliance.store_urls import BucketUrl

LINK_HOST = "storage.googleapis.com"
ORIGIN = f"https://{LINK_HOST}"
SCOPES = ["https://www.googleapis.com/auth/devstorage.full_control"]
"""That of the account's roles which is about storage; less does not let it see lifecycle rules."""
ANY_TYPE = "application/octet-stream"
TOKEN_S = 10.0
PING_S = 3.0
SLOW_ANSWER_S = 120.0
MOST_COMPOSED = 32
"""Objects by one request. Source: https://cloud.google.com/storage/docs/composite-objects"""


class GcsBucket:
    least_part_bytes = 256 * 1024
    copies_parts = False
    composes = True
    least_cold_bytes = 0

    def __init__(self, url: BucketUrl, *, clock: Clock) -> None:
        self.name = str(url)
        self._prefix = f"{url.prefix}/" if url.prefix else ""
        self._cold_class = url.cold_class
        self.has_cold_class = url.cold_class is not None
        self.own_rules = GcsRules(self, self._prefix, url.cold_class)
        self._origin = url.endpoint or ORIGIN
        self._bucket = url.bucket
        self._path = f"/b/{quote(url.bucket, safe='')}"
        self._objects = f"{self._path}/o"
        self._token = None if url.endpoint else Token(scopes=SCOPES)
        self._links = None if self._token is None else link_signer(self._token.service_data)
        self._requests = Requests(self.name, fault=self._fault, ca_file=None, clock=clock)
        self.pulse = self._requests.pulse
        self.clock = self._requests.clock

    # --- objects ------------------------------------------------------------------------------

    async def put(self, key: str, body: Body) -> None:
        query = {"uploadType": "media", "name": self._prefix + key}
        answer = await self.ask("POST", self.upload_url(query), body=body)
        check_md5(_parsed(answer), await md5_of(body))

    async def begin(self, key: str, *, cold: bool = False) -> GcsMultipart:
        query = {"uploadType": "resumable", "name": self._prefix + key}
        answer = await self.ask("POST", self.upload_url(query))
        return GcsMultipart(self, answer.headers["Location"])

    async def compose(self, keys: Sequence[str], key: str, *, size_bytes: int) -> None:
        """So many at a time as it takes, then the next ones to what has come of them."""
        left, made, found = list(keys), list[str](), {"size": "0"}
        while left:
            room = MOST_COMPOSED - len(made)
            sources = [{"name": self._prefix + name} for name in (*made, *left[:room])]
            order = {"sourceObjects": sources, "destination": {"contentType": ANY_TYPE}}
            body = Given(msgspec.json.encode(order))
            url = self._url(key, then="/compose")
            found = _parsed(await self.ask("POST", url, body=body, within_s=SLOW_ANSWER_S))
            left, made = left[room:], [key]
        if int(found["size"]) != size_bytes:
            raise TryAgain(f"The store has put together {found['size']} of {size_bytes} bytes.")

    @asynccontextmanager
    async def get(
        self, key: str, *, start: int, length: int | None, etag: str | None
    ) -> AsyncIterator[Opened]:
        query = {"alt": "media"} | ({} if etag is None else {"ifGenerationMatch": etag})
        headers = {}
        if start or length is not None:
            end = "" if length is None else start + length - 1
            headers["Range"] = f"bytes={start}-{end}"

        async def make() -> Request:
            return await self._request("GET", self._url(key, query), headers=headers)

        async with self._requests.opened(make) as response:
            yield _GcsOpened(response)

    async def head(self, key: str) -> Head:
        found = _parsed(await self.ask("GET", self._url(key)))
        return Head(int(found["size"]), str(found.get("generation", "")))

    async def delete(self, keys: Sequence[str]) -> None:
        await delete_each(lambda key: self.ask("DELETE", self._url(key)), keys)

    async def make_cold(self, key: str) -> None:
        if await self.is_cold(key):
            return
        body = Given(msgspec.json.encode({"storageClass": self._cold_class}))
        target = f"/rewriteTo{self._objects}/{quote(self._prefix + key, safe='')}"
        query: dict[str, str] = {}
        while True:
            url = self._url(key, query, then=target)
            answer = _parsed(await self.ask("POST", url, body=body, within_s=SLOW_ANSWER_S))
            if answer.get("done", True):
                return
            query = {"rewriteToken": answer["rewriteToken"]}

    async def is_cold(self, key: str) -> bool:
        found = _parsed(await self.ask("GET", self._url(key)))
        return found.get("storageClass") == self._cold_class

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        if self._links is None:
            return None
        query = {
            "response-content-type": content_type,
            "response-content-disposition": disposition,
        }
        path = encoded_path(f"/{self._bucket}/{self._prefix}{key}")
        signed = self._links.query(
            LINK_HOST, path, query, expires_s=expires_s, now=self.clock.now()
        )
        return f"https://{LINK_HOST}{path}?{signed}"

    # --- listings -----------------------------------------------------------------------------

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        async for page in self._pages(prefix):
            for item in page.get("items", ()):
                yield Entry(item["name"].removeprefix(self._prefix), int(item["size"]))

    async def names(self, prefix: str) -> AsyncIterator[str]:
        async for page in self._pages(prefix, delimiter="/"):
            found = [*page.get("prefixes", ()), *(item["name"] for item in page.get("items", ()))]
            for name in found:
                if below := name.removeprefix(self._prefix + prefix):
                    yield below.removesuffix("/")

    async def _pages(self, prefix: str, **more: str) -> AsyncIterator[dict[str, Any]]:
        query = {"prefix": self._prefix + prefix, **more}
        while True:
            page = _parsed(await self.ask("GET", self._url(None, query)))
            yield page
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]

    async def abort_old(self, age_s: float) -> int:
        return 0  # what was never ended is forgotten there after a week

    async def ping(self) -> None:
        query = {"prefix": self._prefix, "maxResults": "1"}
        await self.ask("GET", self._url(None, query), within_s=PING_S, repeat=False)

    async def close(self) -> None:
        await self._requests.close()
        if self._token is not None:
            await self._token.close()

    # --- requests -----------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        within_s: float | None = None,
        repeat: bool = True,
        expects: int = 200,
    ) -> Answer:
        """For its multiparts too."""

        async def make() -> Request:
            return await self._request(
                method, url, headers=headers or {}, body=body, within_s=within_s, expects=expects
            )

        return await self._requests.ask(make, repeat=repeat)

    async def _request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        within_s: float | None = None,
        expects: int = 200,
    ) -> Request:
        whole = {"Content-Type": ANY_TYPE, **headers}
        if "/rewriteTo/" in url or url.endswith("/compose") or method == "PATCH":
            whole["Content-Type"] = "application/json"
        if self._token is not None:
            whole["Authorization"] = f"Bearer {await self._bearer(self._token)}"
        return Request(method, URL(url, encoded=True), whole, body, within_s, expects)

    async def _bearer(self, token: Token) -> str:
        try:
            async with asyncio.timeout(TOKEN_S):
                return await token.get() or ""
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TryAgain(
                f"{self.name}: Google gives us no token ({error or 'no answer'}). Set "
                "GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account."
            ) from error

    def _url(
        self, key: str | None, query: Mapping[str, str] | None = None, *, then: str = ""
    ) -> str:
        name = "" if key is None else f"/{quote(self._prefix + key, safe='')}"
        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return f"{self._origin}/storage/v1{self._objects}{name}{then}{asked}"

    def bucket_url(self, query: Mapping[str, str]) -> str:
        return f"{self._origin}/storage/v1{self._path}?{urlencode(query)}"

    def upload_url(self, query: Mapping[str, str]) -> str:
        asked = urlencode(query, quote_via=quote, safe="")
        return f"{self._origin}/upload/storage/v1{self._objects}?{asked}"

    def _fault(self, request: Request, answer: Answer) -> ApplianceError:
        return gcs_faults.fault(self.name, request, answer)


class _GcsOpened:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        size = total if total.isdigit() else response.headers.get("Content-Length", "0")
        self.head = Head(int(size), response.headers.get("X-Goog-Generation", ""))

    def pieces(self) -> AsyncIterator[bytes]:
        return pieces_of(self._response)


def _parsed(answer: Answer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise StorageRefused("The store answered something that is no JSON.") from error
