"""The client's side of tus 1.0.0 (https://tus.io/protocols/resumable-upload): core, creation and
creation-defer-length, each request once. When to ask again is decided in `uploads`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from appliance.client.connection import ANSWER_S, Answer, Connection
from appliance.client.failures import MayPass, Refused
from appliance.ids import is_id

VERSION = {"Tus-Resumable": "1.0.0"}
CONTENT_TYPE = "application/offset+octet-stream"
FINISH_S = 600.0
"""Longest wait for the answer to the last byte: a server that was started again meanwhile reads
the whole file once more, to hash it."""
MAX_METADATA_BYTES = 7 * 1024
"""Of the header field, so that servers and what stands before them take it."""


@dataclass(frozen=True)
class Place:
    """Where an upload is: the offset is durable at the server."""

    offset_bytes: int
    job_id: str | None = None
    """What it has become, when all of it was there."""


class UploadForgotten(Refused):
    """The server knows no such upload, or has ended it."""


def encode_metadata(metadata: Mapping[str, str]) -> str:
    """The value of Upload-Metadata."""
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items()
    )


async def create(
    connection: Connection,
    metadata: Mapping[str, str],
    *,
    length_bytes: int | None,
    sha256: bytes | None = None,
) -> str:
    """Begin an upload; its id. Without a length, that is told with the last bytes."""
    headers = {**VERSION, "Upload-Metadata": encode_metadata(metadata)}
    if length_bytes is None:
        headers["Upload-Defer-Length"] = "1"
    else:
        headers["Upload-Length"] = str(length_bytes)
    if sha256 is not None:
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(sha256).decode()}:"
    answer = await connection.request("POST", "/files", headers=headers)
    upload_id = answer.headers.get("Location", "").rpartition("/")[2]
    if answer.status != 201 or not is_id(upload_id):
        raise Refused("What answered takes no resumable uploads.", status=answer.status)
    return upload_id


async def look(connection: Connection, upload_id: str) -> Place:
    """Where it is. Raises UploadForgotten."""
    try:
        answer = await connection.request(
            "HEAD", f"/files/{upload_id}", headers=VERSION, answer_s=FINISH_S
        )
    except Refused as refused:
        if refused.answered in (404, 410):
            raise await _words_for(connection, upload_id, refused) from refused
        raise
    return _place(answer)


async def _words_for(connection: Connection, upload_id: str, refused: Refused) -> Refused:
    """An answer to HEAD has no body, one to PATCH has; this one can append nothing."""
    try:
        await append(connection, upload_id, 0, None, length_bytes=0, body_bytes=0)
    except MayPass:
        pass
    except Refused as told:
        refused = told
    return UploadForgotten(
        refused.detail, status=refused.answered, server_code=refused.server_code, **refused.extra
    )


async def append(
    connection: Connection,
    upload_id: str,
    offset_bytes: int,
    body: AsyncIterator[bytes] | None,
    *,
    body_bytes: int,
    length_bytes: int | None = None,
) -> Place:
    """Send `body` from the offset on; where the upload is then. `length_bytes`, of the whole,
    where it was not told before."""
    headers = {
        **VERSION,
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(body_bytes),
        "Upload-Offset": str(offset_bytes),
    }
    if length_bytes is not None:
        headers["Upload-Length"] = str(length_bytes)
    try:
        answer = await connection.request(
            "PATCH",
            f"/files/{upload_id}",
            headers=headers,
            body=body,
            answer_s=FINISH_S if body_bytes else ANSWER_S,
        )
    except Refused as refused:
        job_id = refused.extra.get("jobId")
        if refused.server_code == "upload_completed" and isinstance(job_id, str):
            return Place(offset_bytes, job_id)
        raise
    return _place(answer)


def _place(answer: Answer) -> Place:
    offset, job_id = answer.headers.get("Upload-Offset", ""), answer.headers.get("Upload-Job-Id")
    if not (offset.isascii() and offset.isdecimal() and len(offset) < 19):
        raise Refused("What answered tells no offset.", status=answer.status)
    if job_id is not None and not is_id(job_id):
        raise Refused("What answered tells no job.", status=answer.status)
    return Place(int(offset), job_id)


async def terminate(connection: Connection, upload_id: str) -> None:
    await connection.request("DELETE", f"/files/{upload_id}", headers=VERSION)
