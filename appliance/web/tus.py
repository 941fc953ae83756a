"""tus 1.0.0 on /files: core and the extensions creation, creation-with-upload,
creation-defer-length, expiration, checksum, termination and concatenation.

Not checksum-trailer: aiohttp drops the fields that follow a chunked body, so a request that
announces such a checksum is refused rather than taken unchecked. Not concatenation-unfinished.

Source: https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import suppress
from email.utils import formatdate
from urllib.parse import urlsplit

from aiohttp import web

from appliance.errors import (
    ApplianceError,
    BadRequest,
    ContentEncodingRefused,
    ContentTypeRefused,
    EmptyFile,
    IllegalMove,
    LengthExceeded,
    TusVersionRefused,
    UploadCompleted,
)
from appliance.ids import is_id
from appliance.intake.completion import Appended
from appliance.intake.resumable import Checksum, ResumableUploads
from appliance.permissions import Permission
from appliance.uploads import Announced, Resumable
from appliance.web import bodies
from appliance.web.auth import require
from appliance.web.options import OPTIONS, job_options
from appliance.web.repeats import repeatable
from appliance.web.services import count_received, resumable_uploads, services, user

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"
CHECKSUMS = ("sha1", "sha256", "md5")
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)
"""All of them need a store with partials, and no more."""

MAX_METADATA_BYTES = 16 * 1024
_OURS = {"filename", "name", "filetype", "type"} | OPTIONS


def speaks(request: web.Request) -> bool:
    return "Tus-Resumable" in request.headers


def abilities(uploads: ResumableUploads) -> dict[str, str]:
    """What OPTIONS tells."""
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(uploads.admission.limits.max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
    }


def check_version(request: web.Request) -> None:
    """Raises TusVersionRefused."""
    spoken = request.headers.get("Tus-Resumable")
    if spoken != VERSION:
        raise TusVersionRefused(
            "Send `Tus-Resumable: 1.0.0`." if spoken is None else f"Not {spoken}, but 1.0.0."
        )


# --- requests --------------------------------------------------------------------------------


async def create(request: web.Request) -> web.StreamResponse:
    """POST /files: a new upload; with a body its first bytes; or several joined into one."""
    check_version(request)
    uploads, owner = resumable_uploads(request), user(request).owner
    raw = request.headers.get("Upload-Metadata")
    metadata = _metadata(raw)
    announced = Announced(
        filename=metadata.get("filename") or metadata.get("name"),
        content_type=metadata.get("filetype") or metadata.get("type"),
        sha256=bodies.declared_sha256(request.headers.get("Repr-Digest")),
    )
    options = job_options(_option_fields(metadata), services(request), metadata=_foreign(metadata))
    concat = request.headers.get("Upload-Concat", "").strip()
    if concat.startswith("final"):
        joined = await uploads.join(
            owner,
            _parts(concat),
            announced,
            options,
            tus_metadata=raw,
            tus_concat=concat,
            idempotency_key=repeatable(request).idempotency_key,
        )
        _count(request, joined)
        return _answer(request, joined, status=201, location=True, offset=True)
    if concat not in ("", "partial"):
        raise BadRequest("Upload-Concat is `partial`, or `final;` and the addresses of the parts.")
    length = _length(request)
    if request.headers.get("Upload-Defer-Length") != (None if length is not None else "1"):
        raise BadRequest("Send Upload-Length, or `Upload-Defer-Length: 1` to tell it later.")
    if length == 0 and not concat:
        raise EmptyFile("An upload has at least one byte.")
    with_bytes = request.body_exists and request.headers.get("Content-Length") != "0"
    checksum, key = _checksum(request), repeatable(request).idempotency_key
    if with_bytes:
        _check_body(request)
        if length is not None and (request.content_length or 0) > length:
            raise LengthExceeded(f"The body has more than the {length} bytes of the upload.")
    upload = await uploads.create(
        owner,
        announced,
        options,
        length_bytes=length,
        kind="partial" if concat else "plain",
        tus_metadata=raw,
        tus_concat=concat or None,
        idempotency_key=key,
    )
    created = Appended(upload)
    if key is not None:  # perhaps of an earlier request, which has brought some bytes already
        created = await uploads.look(owner, upload.id, ends_by_length=True)
    come_bytes = created.upload.offset_bytes
    if (with_bytes or length == 0) and come_bytes == 0 and created.upload.state == "open":
        try:
            created = await uploads.append(
                owner,
                upload.id,
                bodies.stream(request),
                offset_bytes=0,
                checksum=checksum,
                content_bytes=request.content_length,
            )
        except (ApplianceError, ConnectionError):
            if key is None:  # the client was not told where it is, and cannot go on with it
                with suppress(ApplianceError):
                    await uploads.terminate(owner, upload.id)
            raise
        _count(request, created)
    response = _answer(request, created, status=201, location=True, offset=with_bytes)
    bodies.leave(request, response)
    return response


def _count(request: web.Request, appended: Appended) -> None:
    """In the metrics, where this request brought the last byte."""
    if appended.job is not None:
        count_received(request, appended.job)


async def head(request: web.Request) -> web.StreamResponse:
    """HEAD /files/{uploadId}: how far it is; a request that still appends to it is ended."""
    check_version(request)
    found = await resumable_uploads(request).look(
        user(request).owner, request.match_info["upload_id"], ends_by_length=True
    )
    response = _answer(request, found, status=200, offset=True)
    response.headers.update(_told_before(found.upload))
    return response


async def append(request: web.Request) -> web.StreamResponse:
    """PATCH /files/{uploadId}"""
    check_version(request)
    _check_body(request)
    offset = request.headers.get("Upload-Offset", "")
    if not re.fullmatch(r"\d{1,18}", offset, re.ASCII):
        raise BadRequest("Upload-Offset is the number of bytes that are there already.")
    appended = await resumable_uploads(request).append(
        user(request).owner,
        request.match_info["upload_id"],
        bodies.stream(request),
        offset_bytes=int(offset),
        length_bytes=_length(request),
        checksum=_checksum(request),
        content_bytes=request.content_length,
    )
    _count(request, appended)
    return _answer(request, appended, status=204, offset=True)


async def terminate(request: web.Request) -> web.StreamResponse:
    """DELETE /files/{uploadId}: "completed and unfinished uploads", so the job too."""
    check_version(request)
    uploads, owner = resumable_uploads(request), user(request).owner
    upload_id = request.match_info["upload_id"]
    try:
        await uploads.terminate(owner, upload_id)
    except UploadCompleted:
        require(request, Permission.MANAGE)
        acts = services(request).acts
        with suppress(IllegalMove):  # it has come to its end already
            await acts.cancel(upload_id, actor=owner, audited=False)
        await acts.delete(upload_id, actor=owner, audited=False)
        await uploads.forget(owner, upload_id)
    return web.Response(status=204)


# --- answers ---------------------------------------------------------------------------------


def _answer(
    request: web.Request,
    appended: Appended,
    *,
    status: int,
    location: bool = False,
    offset: bool = False,
) -> web.Response:
    upload = appended.upload
    headers = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}
    if location:
        headers["Location"] = f"/files/{upload.id}"
    if offset:
        headers["Upload-Offset"] = str(upload.offset_bytes)
    expires_at = _expires_at(request, upload)
    if expires_at is not None:
        headers["Upload-Expires"] = formatdate(expires_at, usegmt=True)
    if appended.job is not None:
        headers |= job_headers(appended)
    return web.Response(status=status, headers=headers)


def _expires_at(request: web.Request, upload: Resumable) -> float | None:
    """A complete part expires too, unless it is joined before."""
    if upload.state == "open":
        return upload.expires_at
    if upload.kind == "partial" and upload.ended_at is not None:
        return upload.ended_at + resumable_uploads(request).admission.limits.upload_expiry_s
    return None


def job_headers(appended: Appended) -> dict[str, str]:
    """Where to find the job that an upload has become."""
    assert appended.job is not None
    return {
        "Upload-Job-Id": appended.job.id,
        "Link": f'</status/{appended.job.id}>; rel="monitor"',
    }


def _told_before(upload: Resumable) -> dict[str, str]:
    """What the client has told of the upload, for HEAD to tell again."""
    headers = {}
    if upload.length_bytes is not None:
        headers["Upload-Length"] = str(upload.length_bytes)
    elif upload.state == "completed":  # by a request of the other protocol, that told no length
        headers["Upload-Length"] = str(upload.offset_bytes)
    else:
        headers["Upload-Defer-Length"] = "1"
    if upload.tus_metadata:
        headers["Upload-Metadata"] = upload.tus_metadata
    if upload.tus_concat:
        headers["Upload-Concat"] = upload.tus_concat
    return headers


# --- header fields ---------------------------------------------------------------------------


def _check_body(request: web.Request) -> None:
    """Whether the body can be taken, by what is said of it."""
    if request.content_type != CONTENT_TYPE:
        raise ContentTypeRefused(f"Bytes of an upload are sent as `Content-Type: {CONTENT_TYPE}`.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ContentEncodingRefused("Send the bytes as they are, without Content-Encoding.")
    if "upload-checksum" in request.headers.get("Trailer", "").lower():
        raise BadRequest("Send Upload-Checksum as a header field; trailers are not read here.")


def _length(request: web.Request) -> int | None:
    text = request.headers.get("Upload-Length")
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise BadRequest("Upload-Length is a number of bytes, 0 or more.")
    return int(text)


def _checksum(request: web.Request) -> Checksum | None:
    text = request.headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in CHECKSUMS:
        raise BadRequest(f"Upload-Checksum takes {', '.join(CHECKSUMS)}; not {algorithm[:20]!r}.")
    try:
        return Checksum(algorithm, base64.b64decode(encoded.strip(), validate=True))
    except (binascii.Error, ValueError):
        raise BadRequest(
            "Upload-Checksum is an algorithm, a space and the digest in base64."
        ) from None


def _metadata(raw: str | None) -> dict[str, str]:
    """Keys and values of `Upload-Metadata`. Raises BadRequest."""
    if not raw:
        return {}
    if len(raw) > MAX_METADATA_BYTES:
        raise BadRequest(f"Upload-Metadata may have up to {MAX_METADATA_BYTES:,} bytes.")
    found: dict[str, str] = {}
    for pair in raw.split(","):
        key, _, encoded = pair.strip().partition(" ")
        if not re.fullmatch(r"[!-+\--~]{1,100}", key, re.ASCII) or key in found:
            raise BadRequest(
                "Upload-Metadata has keys of ASCII without spaces or commas, each once."
            )
        try:
            found[key] = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise BadRequest(
                f"The value of {key!r} in Upload-Metadata is no base64 of UTF-8."
            ) from None
    return found


def _option_fields(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: metadata[name] for name in OPTIONS if name in metadata}


def _foreign(metadata: Mapping[str, str]) -> dict[str, str]:
    """What clients of their own accord say of a file (Uppy: relativePath): the job carries it."""
    return {key: value for key, value in metadata.items() if key not in _OURS}


def _parts(concat: str) -> list[str]:
    kind, _, addresses = concat.partition(";")
    ids = [urlsplit(address).path.rpartition("/")[2] for address in addresses.split()]
    if kind.strip() != "final" or not ids or not all(map(is_id, ids)):
        raise BadRequest(
            "Upload-Concat is `final;` and the addresses of the parts, spaces between."
        )
    return ids
