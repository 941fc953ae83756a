"""One object in parts, on S3.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import structlog

from appliance.errors import ApplianceError, ObjectMissing
from appliance.storage.buckets import s3_faults
from appliance.storage.buckets.protocol import Body
from appliance.storage.buckets.requests import TryAgain
from appliance.storage.buckets.s3_answers import parsed
from appliance.storage.spool import Given

if TYPE_CHECKING:
    from appliance.storage.buckets.s3 import S3Bucket

log = structlog.get_logger()

COMPLETE_S = 300.0
COPY_S = 120.0


class S3Multipart:
    in_flight = 3

    def __init__(self, bucket: S3Bucket, key: str, upload_id: str) -> None:
        self._bucket = bucket
        self._key = key
        self._upload_id = upload_id
        self._etags: dict[int, str] = {}
        self._size_bytes = 0

    async def send(self, number: int, part: Body) -> None:
        answer = await self._bucket.ask("PUT", self._key, self._query(number), body=part)
        self._etags[number] = answer.headers.get("ETag", "")
        self._size_bytes += part.size_bytes

    async def copy(self, number: int, key: str, start: int, end: int) -> None:
        headers = {
            "x-amz-copy-source": self._bucket.source(key),
            "x-amz-copy-source-range": f"bytes={start}-{end - 1}",
        }
        answer = await self._bucket.ask(
            "PUT", self._key, self._query(number), headers=headers, within_s=COPY_S
        )
        etag = parsed(answer.body).findtext("{*}ETag")
        if not etag:  # it failed in the middle, after the 200
            raise TryAgain(f"The store could not copy a part ({s3_faults.code_of(answer)[0]}).")
        self._etags[number] = etag
        self._size_bytes += end - start

    async def complete(self) -> None:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for number, etag in sorted(self._etags.items())
        )
        body = Given(f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode())
        try:
            answer = await self._bucket.ask(
                "POST", self._key, {"uploadId": self._upload_id}, body=body, within_s=COMPLETE_S
            )
        except ObjectMissing:
            code = "NoSuchUpload"  # or an attempt before this one has done it
        else:
            code = s3_faults.code_of(answer)[0]  # a 200 may say that it failed after all
        head = await self._bucket.head(self._key)
        if head.size_bytes != self._size_bytes:
            raise TryAgain(
                f"The store has put together {head.size_bytes} of {self._size_bytes} bytes "
                f"({code or 'without a reason'})."
            )

    async def abort(self) -> None:
        try:
            await self._bucket.ask("DELETE", self._key, {"uploadId": self._upload_id})
        except ObjectMissing:
            pass
        except ApplianceError as error:  # cleared away a day later
            log.info("multipart_left", key=self._key, reason=error.detail)

    def _query(self, number: int) -> dict[str, str]:
        return {"partNumber": str(number), "uploadId": self._upload_id}
