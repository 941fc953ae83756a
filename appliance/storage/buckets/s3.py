"""A bucket that speaks S3: AWS, and whatever is compatible.

Every body is signed with its digest, so the server itself refuses one that was damaged on the way;
that holds wherever signatures are checked. Of what the protocol has, the least is used: what
servers differ in (checksums in trailers, conditional writes) is left alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import aiohttp
from yarl import URL

from appliance.clock import Clock, rfc3339
from appliance.errors import ApplianceError, StorageRefused
from appliance.storage.buckets import s3_faults
from appliance.storage.buckets.deletion import delete_each
from appliance.storage.buckets.protocol import Body, Entry, Head, Opened
from appliance.storage.buckets.requests import (
    Answer,
    OutOfRange,
    Request,
    Requests,
    pieces_of,
)
from appliance.storage.buckets.s3_answers import Element, parsed
from appliance.storage.buckets.s3_credentials import CredentialSource
from appliance.storage.buckets.s3_multipart import S3Multipart
from appliance.storage.buckets.s3_rules import S3Rules
from appliance.storage.buckets.signature import EMPTY_SHA256, Signer, encoded_path, encoded_query
from appliance.store_urls import BucketUrl

DEFAULT_REGION = "us-east-1"
LEAST_PART_BYTES = 5 * 1024**2
MOST_COPIED_BYTES = 5 * 1024**3
"""By one request. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
COPIED_PART_BYTES = 1024**3
PING_S = 3.0
SLOW_ANSWER_S = 120.0
"""Of what the server works on before it answers: to copy, and to put parts together."""


class S3Bucket:
    least_part_bytes = LEAST_PART_BYTES
    copies_parts = True
    composes = False
    least_cold_bytes = 128 * 1024
    """Standard-IA and Glacier Instant Retrieval charge smaller ones as this, and rules leave them.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html"""

    def __init__(
        self, url: BucketUrl, credentials: CredentialSource, *, region: str, clock: Clock
    ) -> None:
        """Raises ConfigurationError."""
        self.name = str(url)
        self._bucket = url.bucket
        self._prefix = f"{url.prefix}/" if url.prefix else ""
        self._region = region
        self._credentials = credentials
        self._cold_class = url.cold_class
        self.has_cold_class = url.cold_class is not None
        self.own_rules = S3Rules(self, self._prefix, url.cold_class)
        endpoint = urlsplit(url.endpoint or f"https://s3.{region}.amazonaws.com")
        host = endpoint.netloc if url.path_style else f"{url.bucket}.{endpoint.netloc}"
        self._origin, self._host = f"{endpoint.scheme}://{host}", host
        self._root = f"/{url.bucket}" if url.path_style else ""
        self._requests = Requests(
            f"{self.name} at {host}", fault=self._fault, ca_file=url.ca_file, clock=clock
        )
        self.pulse = self._requests.pulse
        self.clock = self._requests.clock

    # --- objects ------------------------------------------------------------------------------

    async def put(self, key: str, body: Body) -> None:
        await self.ask("PUT", key, body=body)

    async def begin(self, key: str, *, cold: bool = False) -> S3Multipart:
        headers = {"x-amz-storage-class": self._cold_class} if cold and self._cold_class else {}
        answer = await self.ask("POST", key, {"uploads": ""}, headers=headers)
        upload_id = parsed(answer.body).findtext("{*}UploadId", "")
        return S3Multipart(self, key, upload_id)

    async def compose(self, keys: Sequence[str], key: str, *, size_bytes: int) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def get(
        self, key: str, *, start: int, length: int | None, etag: str | None
    ) -> AsyncIterator[Opened]:
        headers = {}
        if start or length is not None:
            end = "" if length is None else start + length - 1
            headers["range"] = f"bytes={start}-{end}"
        if etag is not None:
            headers["if-match"] = etag

        async def make() -> Request:
            return await self._request("GET", self.path(key), headers=headers)

        async with self._requests.opened(make) as response:
            yield _S3Opened(response)

    async def head(self, key: str) -> Head:
        try:
            return _head((await self._first_byte(key)).headers)
        except OutOfRange:
            return Head(0, "")

    async def _first_byte(self, key: str) -> Answer:
        """Rather than HEAD, whose faults have no body that tells them, and which Swift answers
        with one where HTTP has none."""
        return await self.ask("GET", key, headers={"range": "bytes=0-0"})

    async def delete(self, keys: Sequence[str]) -> None:
        await delete_each(lambda key: self.ask("DELETE", key), keys)

    async def make_cold(self, key: str) -> None:
        answer = await self._first_byte(key)
        if self._is_cold(answer):
            return
        head = _head(answer.headers)
        assert self._cold_class is not None
        if head.size_bytes <= MOST_COPIED_BYTES:
            headers = {
                "x-amz-copy-source": self.source(key),
                "x-amz-storage-class": self._cold_class,
                "x-amz-metadata-directive": "COPY",
            }
            _check_copied(await self.ask("PUT", key, headers=headers, within_s=SLOW_ANSWER_S))
            return
        multipart = await self.begin(key, cold=True)
        try:
            starts = range(0, head.size_bytes, COPIED_PART_BYTES)
            for number, start in enumerate(starts, start=1):
                end = min(start + COPIED_PART_BYTES, head.size_bytes)
                await multipart.copy(number, key, start, end)
            await multipart.complete()
        except BaseException:
            await multipart.abort()
            raise

    async def is_cold(self, key: str) -> bool:
        return self._is_cold(await self._first_byte(key))

    def _is_cold(self, answer: Answer) -> bool:
        return answer.headers.get("x-amz-storage-class") == self._cold_class

    async def presigned(
        self, key: str, *, expires_s: int, content_type: str, disposition: str
    ) -> str | None:
        query = {
            "response-content-type": content_type,
            "response-content-disposition": disposition,
        }
        path, now = self.path(key), self.clock.now()
        signer = Signer(await self._credentials.current(now), self._region)
        signed = signer.presigned_query(self._host, path, query, expires_s=expires_s, now=now)
        return f"{self._origin}{path}?{signed}"

    # --- listings -----------------------------------------------------------------------------

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        async for page in self._pages(prefix):
            for found in page.iterfind("{*}Contents"):
                key = unquote(found.findtext("{*}Key", ""))
                yield Entry(key.removeprefix(self._prefix), int(found.findtext("{*}Size", "0")))

    async def names(self, prefix: str) -> AsyncIterator[str]:
        async for page in self._pages(prefix, delimiter="/"):
            for path in ("{*}Contents/{*}Key", "{*}CommonPrefixes/{*}Prefix"):
                for found in page.iterfind(path):
                    name = unquote(found.text or "").removeprefix(self._prefix + prefix)
                    if name:
                        yield name.removesuffix("/")

    async def _pages(self, prefix: str, **more: str) -> AsyncIterator[Element]:
        # Encoded, since XML cannot hold every character that a key may have.
        query = {"list-type": "2", "prefix": self._prefix + prefix, "encoding-type": "url", **more}
        while True:
            page = parsed((await self.ask("GET", None, query)).body)
            yield page
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return
            query["continuation-token"] = token

    async def abort_old(self, age_s: float) -> int:
        before = rfc3339(self.clock.now() - age_s)
        query = {"uploads": "", "prefix": self._prefix, "encoding-type": "url"}
        aborted = 0
        while True:
            page = parsed((await self.ask("GET", None, query)).body)
            for upload in page.iterfind("{*}Upload"):
                begun = upload.findtext("{*}Initiated", "")
                if begun[:19] < before[:19]:
                    key = unquote(upload.findtext("{*}Key", "")).removeprefix(self._prefix)
                    upload_id = upload.findtext("{*}UploadId", "")
                    await S3Multipart(self, key, upload_id).abort()
                    aborted += 1
            if page.findtext("{*}IsTruncated") != "true":
                return aborted
            query["key-marker"] = unquote(page.findtext("{*}NextKeyMarker", ""))
            query["upload-id-marker"] = page.findtext("{*}NextUploadIdMarker", "")

    async def ping(self) -> None:
        query = {"list-type": "2", "prefix": self._prefix, "max-keys": "1"}
        await self.ask("GET", None, query, within_s=PING_S, repeat=False)

    async def close(self) -> None:
        await self._requests.close()

    # --- requests -----------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        within_s: float | None = None,
        repeat: bool = True,
    ) -> Answer:
        """One request on an object, or on the bucket. For its multiparts too."""
        path = f"{self._root}/" if key is None else self.path(key)

        async def make() -> Request:
            return await self._request(
                method, path, query or {}, headers=headers or {}, body=body, within_s=within_s
            )

        return await self._requests.ask(make, repeat=repeat)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        within_s: float | None = None,
    ) -> Request:
        query, now = query or {}, self.clock.now()
        signer = Signer(await self._credentials.current(now), self._region)
        signed = signer.headers(
            method,
            self._host,
            path,
            query,
            headers,
            sha256=await body.sha256() if body else EMPTY_SHA256,
            now=now,
        )
        url = f"{self._origin}{path}" + (f"?{encoded_query(query)}" if query else "")
        return Request(method, URL(url, encoded=True), signed, body, within_s)

    def path(self, key: str) -> str:
        return encoded_path(f"{self._root}/{self._prefix}{key}")

    def source(self, key: str) -> str:
        """As a copy names it."""
        return encoded_path(f"/{self._bucket}/{self._prefix}{key}")

    def _fault(self, request: Request, answer: Answer) -> ApplianceError:
        return s3_faults.fault(f"{self.name} at {self._host}", request, answer)


class _S3Opened:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.head = _head(response.headers)

    def pieces(self) -> AsyncIterator[bytes]:
        return pieces_of(self._response)


def _head(headers: Mapping[str, str]) -> Head:
    total = headers.get("Content-Range", "").rpartition("/")[2]
    size = total if total.isdigit() else headers.get("Content-Length", "0")
    return Head(int(size), headers.get("ETag", ""))


def _check_copied(answer: Answer) -> None:
    """A copy that fails in the middle is answered 200, with the fault as its body."""
    if not parsed(answer.body).tag.endswith("CopyObjectResult"):
        raise StorageRefused(f"The store could not copy a file ({s3_faults.code_of(answer)[0]}).")
