"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), on /files and POST /upload.

Clients that ship speak interop versions of earlier drafts and say so in
`Upload-Draft-Interop-Version`, which is answered with the same number: 3 (iOS 17: the field was
called `Upload-Incomplete` and said the opposite) to 8. The text of the RFC to be has none.

Sections named below are those of the draft.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from appliance.errors import BadRequest, ContentTypeRefused, LengthMismatch, UploadCompleted
from appliance.intake.resumable import Appended, Checksum, ResumableUploads
from appliance.uploads import Announced, Resumable
from appliance.web import bodies
from appliance.web.options import job_options
from appliance.web.representation import job_document, json_response
from appliance.web.services import resumable_uploads, services, user
from appliance.web.structured_fields import boolean, integer, write_boolean, write_dictionary
from appliance.web.tus import job_headers

CONTENT_TYPE = "application/partial-upload"
OLDEST_INTEROP, NEWEST_INTEROP = 3, 8

EXTRA_HEADERS: web.RequestKey[dict[str, str]] = web.RequestKey("extra_headers", dict)
"""For the answer, whichever it becomes, a refusal included."""


def speaks(request: web.Request) -> bool:
    """Whether a request to create is of this protocol."""
    return _complete(request) is not None


def abilities(uploads: ResumableUploads) -> dict[str, str]:
    """What OPTIONS tells ("Limits")."""
    return {"Accept-Patch": CONTENT_TYPE, "Upload-Limit": _limits(uploads)}


# --- requests --------------------------------------------------------------------------------


async def create(request: web.Request) -> web.StreamResponse:
    """POST to /files or /upload with `Upload-Complete` ("Upload Creation")."""
    uploads, owner = resumable_uploads(request), user(request).owner
    complete = _complete(request)
    assert complete is not None
    request[EXTRA_HEADERS] = _base_headers(request) | {"Upload-Limit": _limits(uploads)}
    length = integer(request.headers, "Upload-Length")
    if complete and request.content_length is not None:
        if length not in (None, request.content_length):
            raise LengthMismatch("Upload-Length and Content-Length of the whole differ.")
        length = request.content_length
    announced = Announced(
        filename=_filename(request),
        content_type=request.headers.get("Content-Type"),
        sha256=bodies.declared_sha256(request.headers.get("Repr-Digest")),
    )
    upload = await uploads.create(
        owner,
        announced,
        job_options(request.query),
        length_bytes=length,
        ends_by_length=False,
    )
    request[EXTRA_HEADERS]["Location"] = f"/files/{upload.id}"
    _send_interim(request, {"Location": f"/files/{upload.id}", "Upload-Limit": _limits(uploads)})
    appended = await _receive(request, uploads, owner, upload.id, 0, length, complete)
    if appended.job is not None:
        return _job_answer(request, appended)
    return _answer(request, appended.upload, status=201)


async def head(request: web.Request) -> web.StreamResponse:
    """HEAD /files/{uploadId} ("Offset Retrieval"); what tus wants is told along."""
    uploads = resumable_uploads(request)
    found = await uploads.look(user(request).owner, request.match_info["upload_id"])
    request[EXTRA_HEADERS] = _base_headers(request)
    response = _answer(request, found.upload, status=204)
    response.headers["Upload-Limit"] = _limits(uploads, found.upload, services(request).clock.now())
    response.headers["Cache-Control"] = "no-store"
    if found.job is not None:
        response.headers.update(job_headers(found))
    return response


async def append(request: web.Request) -> web.StreamResponse:
    """PATCH /files/{uploadId} ("Upload Append")."""
    uploads, owner = resumable_uploads(request), user(request).owner
    request[EXTRA_HEADERS] = _base_headers(request) | {"Upload-Limit": _limits(uploads)}
    interop = _interop(request)
    if request.content_type != CONTENT_TYPE and (interop is None or interop > 4):
        raise ContentTypeRefused(f"Bytes of an upload are sent as `Content-Type: {CONTENT_TYPE}`.")
    offset, complete = integer(request.headers, "Upload-Offset"), _complete(request)
    if offset is None or complete is None:
        raise BadRequest(
            "An append has `Upload-Offset`, a number, and `Upload-Complete`, ?0 or ?1."
        )
    length = integer(request.headers, "Upload-Length")
    appended = await _receive(
        request, uploads, owner, request.match_info["upload_id"], offset, length, complete
    )
    if appended.job is not None:
        return _job_answer(request, appended)
    return _answer(request, appended.upload, status=204)


async def _receive(
    request: web.Request,
    uploads: ResumableUploads,
    owner: str,
    upload_id: str,
    offset: int,
    length: int | None,
    complete: bool,
) -> Appended:
    digest = bodies.declared_sha256(request.headers.get("Content-Digest"))
    try:
        return await uploads.append(
            owner,
            upload_id,
            bodies.stream(request),
            offset_bytes=offset,
            length_bytes=length,
            close=complete,
            checksum=None if digest is None else Checksum("sha256", bytes.fromhex(digest)),
            content_bytes=request.content_length,
            ends_by_length=False,
            on_checkpoint=lambda durable: _send_interim(request, {"Upload-Offset": str(durable)}),
        )
    except UploadCompleted as completed:
        if request.content_length or request.content_length is None:
            raise LengthMismatch(
                completed.detail
            ) from completed  # "Upload Append", Server Behavior
        raise


# --- answers ---------------------------------------------------------------------------------


def _answer(request: web.Request, upload: Resumable, *, status: int) -> web.Response:
    headers = {"Upload-Offset": str(upload.offset_bytes)}
    headers |= _completeness(request, upload.state == "completed")
    if upload.length_bytes is not None:
        headers["Upload-Length"] = str(upload.length_bytes)
    return web.Response(status=status, headers=headers)


def _job_answer(request: web.Request, appended: Appended) -> web.Response:
    """What POST /upload would have answered had it come in one piece."""
    assert appended.job is not None
    document = job_document(appended.job)
    headers = {
        **_completeness(request, True),
        "Upload-Offset": str(appended.upload.offset_bytes),
        "Location": document["statusUrl"],
        **job_headers(appended),
    }
    if "sha-256" in request.headers.get("Want-Repr-Digest", ""):
        headers["Repr-Digest"] = bodies.repr_digest(appended.job.sha256)
    return json_response(document, status=202, headers=headers)


def _send_interim(request: web.Request, headers: Mapping[str, str]) -> None:
    """104 (Upload Resumption Supported), ahead of the answer, as 100 (Continue) comes."""
    transport = request.transport
    if transport is None or request.version < (1, 1):
        return
    lines = [f"{name}: {value}" for name, value in {**_base_headers(request), **headers}.items()]
    head = "\r\n".join(["HTTP/1.1 104 Upload Resumption Supported", *lines, "", ""])
    transport.write(head.encode("ascii"))


def _limits(uploads: ResumableUploads, upload: Resumable | None = None, now: float = 0.0) -> str:
    limits = uploads.admission.limits
    members = {"max-size": limits.max_upload_bytes, "min-size": 1}
    if upload is None:
        members["max-age"] = int(limits.upload_expiry_s)
    elif upload.state == "open":
        members["max-age"] = max(0, int(upload.expires_at - now))
    return write_dictionary(members)


# --- header fields ---------------------------------------------------------------------------


def _interop(request: web.Request) -> int | None:
    number = integer(request.headers, "Upload-Draft-Interop-Version")
    return number if number is not None and OLDEST_INTEROP <= number <= NEWEST_INTEROP else None


def _base_headers(request: web.Request) -> dict[str, str]:
    interop = _interop(request)
    return {} if interop is None else {"Upload-Draft-Interop-Version": str(interop)}


def _complete(request: web.Request) -> bool | None:
    if _interop(request) == 3:
        incomplete = boolean(request.headers, "Upload-Incomplete")
        return None if incomplete is None else not incomplete
    return boolean(request.headers, "Upload-Complete")


def _completeness(request: web.Request, complete: bool) -> dict[str, str]:
    if _interop(request) == 3:
        return {"Upload-Incomplete": write_boolean(not complete)}
    return {"Upload-Complete": write_boolean(complete)}


def _filename(request: web.Request) -> str | None:
    """From `?filename=`, else from Content-Disposition (RFC 6266)."""
    if request.query.get("filename"):
        return request.query["filename"]
    return bodies.disposition_filename(request.headers.get("Content-Disposition"))
