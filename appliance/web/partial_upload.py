"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), on /files and POST /upload.

Source: the text after draft 11; sections named below are its sections. Clients that ship speak
earlier drafts and say which by `Upload-Draft-Interop-Version`, answered with the same number:

    3       draft 01 (iOS 17): `Upload-Incomplete` in place of `Upload-Complete`, and the opposite
    4, 5    drafts 02 and 03: bytes are appended under any content type; progress from 5 on
    6, 7    drafts 04 to 08
    8       drafts 09 and later

Only those who say a version are sent 104 ("Draft Version Identification"): others find the address
of the upload in the answer.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping

from aiohttp import web

from appliance.errors import (
    ApplianceError,
    BadRequest,
    ChecksumMismatch,
    ContentEncodingRefused,
    ContentTypeRefused,
    DigestMismatch,
    EmptyFile,
    LengthMismatch,
    UploadCompleted,
)
from appliance.intake import filenames
from appliance.intake.completion import Appended
from appliance.intake.receiver import Content, Repeatable
from appliance.intake.resumable import Checksum, ResumableUploads
from appliance.uploads import Announced, JobOptions, Resumable
from appliance.web import bodies
from appliance.web.options import job_options
from appliance.web.repeats import repeatable
from appliance.web.representation import job_document, json_response
from appliance.web.services import count_received, resumable_uploads, services, user
from appliance.web.structured_fields import (
    boolean,
    integer,
    preferences,
    write_boolean,
    write_dictionary,
)
from appliance.web.tus import job_headers

CONTENT_TYPE = "application/partial-upload"
OLDEST_INTEROP, NEWEST_INTEROP = 3, 8
_WITH_PROGRESS, _WITH_CONTENT_TYPE = 5, 6
"""The first interop versions that have them."""

EXTRA_HEADERS: web.RequestKey[dict[str, str]] = web.RequestKey("extra_headers", dict)
"""For the answer, whichever it becomes, a refusal included."""

ANNOUNCED: web.RequestKey[bool] = web.RequestKey("announced", bool)
"""A 104 was sent. Then the connection ends with the answer: nginx 1.22 takes the 104 for the answer
and what follows for its body, which it passes on, but only the end of the connection ends it."""


def speaks(request: web.Request) -> bool:
    """Whether a request to create is of this protocol."""
    return _complete(request) is not None


def sends_a_part(request: web.Request) -> bool:
    """Whether more comes after this body."""
    return _complete(request) is False


def abilities(uploads: ResumableUploads) -> dict[str, str]:
    """What OPTIONS tells ("Limits")."""
    return {"Accept-Patch": CONTENT_TYPE, "Upload-Limit": _limits(uploads)}


# --- requests --------------------------------------------------------------------------------


async def create(request: web.Request) -> web.StreamResponse:
    """POST to /files or /upload with `Upload-Complete` ("Upload Creation")."""
    return await _counted(request, _create(request))


async def append(request: web.Request) -> web.StreamResponse:
    """PATCH /files/{uploadId} ("Upload Append")."""
    return await _counted(request, _append(request))


async def head(request: web.Request) -> web.StreamResponse:
    """HEAD /files/{uploadId} ("Offset Retrieval")."""
    request[EXTRA_HEADERS] = _base_headers(request)
    uploads = resumable_uploads(request)
    found = await uploads.look(user(request).owner, request.match_info["upload_id"])
    response = _answer(request, found.upload, status=204)
    response.headers["Upload-Limit"] = _limits(uploads, found.upload, services(request).clock.now())
    response.headers["Cache-Control"] = "no-store"
    if found.job is not None:
        response.headers.update(job_headers(found))
        if found.upload.announced.wants_digest:
            response.headers["Repr-Digest"] = bodies.repr_digest(found.job.sha256)
    return response


async def _counted(
    request: web.Request, handled: Coroutine[None, None, web.StreamResponse]
) -> web.StreamResponse:
    try:
        return await handled
    except ApplianceError as error:
        services(request).metrics.uploads_refused.labels(error.code).inc()
        raise


async def _create(request: web.Request) -> web.StreamResponse:
    uploads, owner = resumable_uploads(request), user(request).owner
    limits = _limits(uploads)
    request[EXTRA_HEADERS] = _base_headers(request) | {"Upload-Limit": limits}
    complete = _complete(request)
    assert complete is not None
    _check_encoding(request)
    length = _length(request, complete)
    if length == 0:
        raise EmptyFile("An upload has at least one byte. Check the file at your side.")
    announced, checksum = _announced(request, complete)
    options = job_options(request.query, services(request))
    again = repeatable(request)
    known = await _known(request, announced, length, options, again)
    if known is not None:
        return known
    upload = await uploads.create(
        owner,
        announced,
        options,
        length_bytes=length,
        ends_by_length=False,
        idempotency_key=again.idempotency_key,
    )
    location = f"/files/{upload.id}"
    request[EXTRA_HEADERS]["Location"] = location
    _send_interim(request, {"Location": location, "Upload-Limit": limits})
    if again.idempotency_key is not None:  # perhaps a repeat of a request that broke off
        found = await uploads.look(owner, upload.id)
        if found.job is not None:
            response = _job_answer(request, found, is_new=False)
            bodies.leave(request, response)
            return response
        upload = found.upload
    if not complete and not request.body_exists:
        return _answer(request, upload, status=201)
    appended = await _receive(
        request, upload.id, upload.offset_bytes, length, complete, checksum, repeats=True
    )
    if appended.job is not None:
        return _job_answer(request, appended)
    return _answer(request, appended.upload, status=201)


async def _known(
    request: web.Request,
    announced: Announced,
    length: int | None,
    options: JobOptions,
    again: Repeatable,
) -> web.Response | None:
    """The answer to `?dedupe=1`, where there is a completed job on what is announced."""
    if not again.dedupe or announced.sha256 is None or length is None:
        return None
    content = Content(filenames.clean(announced.filename), announced.sha256, length)
    taken = await services(request).receiver.known(
        [content], user(request).owner, options, Repeatable(dedupe=True)
    )
    if taken is None:
        return None
    document = job_document(taken.jobs[0], user(request).owner)
    headers = {"Location": document["statusUrl"], **_completeness(request, True)}
    response = json_response(document, status=200, headers=headers)
    bodies.leave(request, response)
    return response


async def _append(request: web.Request) -> web.StreamResponse:
    uploads = resumable_uploads(request)
    request[EXTRA_HEADERS] = _base_headers(request) | {"Upload-Limit": _limits(uploads)}
    interop = _interop(request)
    if request.content_type != CONTENT_TYPE and (interop is None or interop >= _WITH_CONTENT_TYPE):
        raise ContentTypeRefused(f"Bytes of an upload are sent as `Content-Type: {CONTENT_TYPE}`.")
    _check_encoding(request)
    offset, complete = integer(request.headers, "Upload-Offset"), _complete(request)
    if interop == 3 and complete is None:
        complete = True  # draft 01: only what is not the last part says so
    if offset is None or complete is None:
        raise BadRequest(
            "An append has `Upload-Offset`, a number, and `Upload-Complete`, ?0 or ?1."
        )
    digest = bodies.declared_sha256(request.headers.get("Content-Digest"))
    appended = await _receive(
        request,
        request.match_info["upload_id"],
        offset,
        integer(request.headers, "Upload-Length"),
        complete,
        _checksum(digest),
    )
    if appended.job is not None:
        return _job_answer(request, appended)
    return _answer(request, appended.upload, status=204)


async def _receive(
    request: web.Request,
    upload_id: str,
    offset: int,
    length: int | None,
    complete: bool,
    checksum: Checksum | None,
    *,
    repeats: bool = False,
) -> Appended:
    """`repeats`: the body begins with what is there up to `offset`."""
    body, content_bytes = bodies.stream(request), request.content_length
    if repeats and offset:
        body = bodies.from_offset(body, offset)
        content_bytes = None if content_bytes is None else max(0, content_bytes - offset)
        checksum = None  # of what came with one, all was kept or nothing
    interop = _interop(request)

    def tell_progress(durable: int) -> None:
        if interop is not None and interop >= _WITH_PROGRESS:
            _send_interim(request, {"Upload-Offset": str(durable)})

    def tell_complete() -> None:
        """From now on an answer, a refusal too, is about the whole ("Upload Append")."""
        request[EXTRA_HEADERS] |= _completeness(request, True)

    try:
        return await resumable_uploads(request).append(
            user(request).owner,
            upload_id,
            body,
            offset_bytes=offset,
            length_bytes=length,
            close=complete,
            checksum=checksum,
            content_bytes=content_bytes,
            ends_by_length=False,
            on_checkpoint=tell_progress,
            on_full=tell_complete,
        )
    except UploadCompleted as completed:
        if request.body_exists and request.content_length != 0:
            # "Upload Append", Server Behavior: an inconsistent length.
            raise LengthMismatch(completed.detail, **completed.extra) from completed
        raise
    except ChecksumMismatch as mismatch:
        raise DigestMismatch(
            "The body does not have the sha-256 that Content-Digest declares. Nothing of it was "
            "appended; send it again."
        ) from mismatch


# --- answers ---------------------------------------------------------------------------------


def _answer(request: web.Request, upload: Resumable, *, status: int) -> web.Response:
    headers = {"Upload-Offset": str(upload.offset_bytes)}
    headers |= _completeness(request, upload.state == "completed")
    if upload.length_bytes is not None:
        headers["Upload-Length"] = str(upload.length_bytes)
    return web.Response(status=status, headers=headers)


def _job_answer(request: web.Request, appended: Appended, *, is_new: bool = True) -> web.Response:
    """What POST /upload would have answered had it come in one piece."""
    assert appended.job is not None
    document = job_document(appended.job, user(request).owner)
    headers = {
        **_completeness(request, True),
        "Upload-Offset": str(appended.upload.offset_bytes),
        "Location": document["statusUrl"],
        **job_headers(appended),
    }
    if appended.upload.announced.wants_digest or _wants_digest(request):
        headers["Repr-Digest"] = bodies.repr_digest(appended.job.sha256)
    if is_new:
        count_received(request, appended.job)
    return json_response(document, status=202, headers=headers)


def _send_interim(request: web.Request, headers: Mapping[str, str]) -> None:
    """104 (Upload Resumption Supported), ahead of the answer, as 100 (Continue) comes."""
    transport = request.transport
    if transport is None or request.version < (1, 1) or _interop(request) is None:
        return
    lines = [f"{name}: {value}" for name, value in {**_base_headers(request), **headers}.items()]
    head = "\r\n".join(["HTTP/1.1 104 Upload Resumption Supported", *lines, "", ""])
    transport.write(head.encode("ascii"))
    request[ANNOUNCED] = True


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


def _length(request: web.Request, complete: bool) -> int | None:
    """Of the whole, by both ways to tell it ("Length"). Raises LengthMismatch."""
    length = integer(request.headers, "Upload-Length")
    if not complete or request.content_length is None:
        return length
    if length not in (None, request.content_length):
        raise LengthMismatch("Upload-Length and the Content-Length of the whole differ.")
    return request.content_length


def _announced(request: web.Request, complete: bool) -> tuple[Announced, Checksum | None]:
    """What is said of the whole, and what this request's body must have by itself.

    The two are the same where the body is the whole; then a body that breaks off is kept.
    """
    whole = bodies.declared_sha256(request.headers.get("Repr-Digest"))
    content = bodies.declared_sha256(request.headers.get("Content-Digest"))
    if complete:
        if None not in (whole, content) and whole != content:
            raise BadRequest("Repr-Digest and Content-Digest contradict each other.")
        whole, content = whole or content, None
    announced = Announced(
        filename=_filename(request),
        content_type=request.headers.get("Content-Type"),
        sha256=whole,
        wants_digest=_wants_digest(request),
    )
    return announced, _checksum(content)


def _checksum(sha256: str | None) -> Checksum | None:
    return None if sha256 is None else Checksum("sha256", bytes.fromhex(sha256))


def _wants_digest(request: web.Request) -> bool:
    return preferences(request.headers, "Want-Repr-Digest").get("sha-256", 0) > 0


def _check_encoding(request: web.Request) -> None:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ContentEncodingRefused("Send the file as it is, without Content-Encoding.")


def _filename(request: web.Request) -> str | None:
    """From the path or `?filename=`, else from Content-Disposition (RFC 6266)."""
    named = request.match_info.get("filename") or request.query.get("filename")
    if named:
        return named
    return bodies.disposition_filename(request.headers.get("Content-Disposition"))
