"""/files and /files/{uploadId}: uploads over several requests, in two protocols on one resource.

A request speaks tus 1.0.0 (`appliance.web.tus`) when it says so with `Tus-Resumable`, or has what
only tus has; else the IETF's draft (`appliance.web.partial_upload`). An upload that was begun in
one may be finished in the other: below both is `appliance.intake.resumable`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs, web

from appliance.errors import MethodNotAllowed
from appliance.web import partial_upload, tus
from appliance.web.services import resumable_uploads, services, user

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CORS_METHODS = "POST, HEAD, PATCH, DELETE, OPTIONS, GET"
CORS_HEADERS = (
    "Authorization, Content-Type, Content-Disposition, Content-Digest, Idempotency-Key, "
    "Repr-Digest, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, "
    "Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, "
    "Upload-Offset, X-HTTP-Method-Override, X-Requested-With, X-Request-ID"
)
CORS_EXPOSED = (
    "Link, Location, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, "
    "Tus-Version, Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Expires, "
    "Upload-Job-Id, Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset"
)


async def options(request: web.Request) -> web.StreamResponse:
    """OPTIONS /files, /files/{uploadId}: what both protocols can do here; a browser's preflight."""
    uploads = services(request).uploads
    headers = {"Allow": CORS_METHODS}
    if uploads is not None:
        headers |= tus.abilities(uploads) | partial_upload.abilities(uploads)
    if hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
        headers |= {
            "Access-Control-Allow-Methods": CORS_METHODS,
            "Access-Control-Allow-Headers": CORS_HEADERS,
            "Access-Control-Max-Age": "86400",
        }
    return web.Response(status=204, headers=headers)


async def create(request: web.Request) -> web.StreamResponse:
    """POST /files"""
    if partial_upload.speaks(request):
        return await partial_upload.create(request)
    return await tus.create(request)


async def head(request: web.Request) -> web.StreamResponse:
    """HEAD /files/{uploadId}: the two protocols' heads in one, so that either client is served."""
    if tus.speaks(request):
        return await tus.head(request)
    return await partial_upload.head(request)


async def append(request: web.Request) -> web.StreamResponse:
    """PATCH /files/{uploadId}"""
    if tus.speaks(request) or request.content_type == tus.CONTENT_TYPE:
        return await tus.append(request)
    return await partial_upload.append(request)


async def terminate(request: web.Request) -> web.StreamResponse:
    """DELETE /files/{uploadId}"""
    if tus.speaks(request):
        tus.check_version(request)
    upload_id = request.match_info["upload_id"]
    await resumable_uploads(request).terminate(user(request).owner, upload_id)
    return web.Response(status=204)


_OVERRIDABLE: Mapping[str, Handler] = {"PATCH": append, "DELETE": terminate, "HEAD": head}


async def override(request: web.Request) -> web.StreamResponse:
    """POST /files/{uploadId} with `X-HTTP-Method-Override`, for clients that can do no better
    (tus 1.0.0, "X-HTTP-Method-Override")."""
    method = request.headers.get("X-HTTP-Method-Override", "").upper()
    if method not in _OVERRIDABLE:
        raise MethodNotAllowed(
            "This address takes HEAD, PATCH and DELETE, also by POST with X-HTTP-Method-Override."
        )
    return await _OVERRIDABLE[method](request)


def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Any page may upload with a key of its own: without cookies there is nothing to abuse."""
    if "Origin" in request.headers:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        response.headers.setdefault("Access-Control-Expose-Headers", CORS_EXPOSED)
    response.headers.setdefault("Tus-Resumable", tus.VERSION)
