"""/files and /files/{uploadId}: uploads over several requests, in two protocols on one resource.

A request speaks tus 1.0.0 (`appliance.web.tus`) when it says so with `Tus-Resumable`, or has what
only tus has; else the IETF's draft (`appliance.web.partial_upload`). An upload that was begun in
one may be finished in the other: below both is `appliance.intake.resumable`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs, web

from appliance.errors import ApplianceError, Forbidden, ShuttingDown
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
    "Link, Location, RateLimit, RateLimit-Policy, Retry-After, Tus-Checksum-Algorithm, "
    "Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat, "
    "Upload-Defer-Length, Upload-Expires, Upload-Job-Id, Upload-Length, Upload-Limit, "
    "Upload-Metadata, Upload-Offset"
)


async def options(request: web.Request) -> web.StreamResponse:
    """OPTIONS /files: what both protocols can do here; a browser's preflight."""
    return _options(request, "POST, OPTIONS")


async def options_of_upload(request: web.Request) -> web.StreamResponse:
    """OPTIONS /files/{uploadId}"""
    return _options(request, "HEAD, PATCH, DELETE, POST, OPTIONS")


def _options(request: web.Request, methods: str) -> web.StreamResponse:
    uploads = services(request).uploads
    headers = {"Allow": methods}
    if uploads is not None:
        headers |= tus.abilities(uploads) | partial_upload.abilities(uploads)
    if hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
        headers |= {
            "Access-Control-Allow-Methods": CORS_METHODS,
            "Access-Control-Allow-Headers": CORS_HEADERS,
            "Access-Control-Max-Age": "86400",
        }
    return web.Response(status=204, headers=headers)


# --- one handler for each route, by the method that is meant ---------------------------------


async def create(request: web.Request) -> web.StreamResponse:
    """POST /files"""
    await services(request).rate_limits.take_upload(request, user(request).owner)
    return await _as_meant(request, _OF_ALL)


async def head(request: web.Request) -> web.StreamResponse:
    """HEAD /files/{uploadId}"""
    return await _as_meant(request, _OF_ONE)


async def append(request: web.Request) -> web.StreamResponse:
    """PATCH /files/{uploadId}"""
    return await _as_meant(request, _OF_ONE)


async def terminate(request: web.Request) -> web.StreamResponse:
    """DELETE /files/{uploadId}"""
    return await _as_meant(request, _OF_ONE)


async def post(request: web.Request) -> web.StreamResponse:
    """POST /files/{uploadId}, for clients that can send neither PATCH nor DELETE."""
    return await _as_meant(request, _OF_ONE)


async def _as_meant(request: web.Request, handlers: Mapping[str, Handler]) -> web.StreamResponse:
    """`X-HTTP-Method-Override` goes before the method (tus 1.0.0, section of that name)."""
    method = request.headers.get("X-HTTP-Method-Override", request.method).upper()
    if method not in handlers:
        raise web.HTTPMethodNotAllowed(method, handlers)
    if request.method == "HEAD" and method != "HEAD" and user(request).session_id is not None:
        raise Forbidden("With a session's cookie, HEAD changes nothing.")
    if method in ("POST", "PATCH") and services(request).stopping.is_set():
        raise ShuttingDown("The server is stopping. Go on with the upload in a moment.")
    return await handlers[method](request)


# --- by the protocol that is spoken ----------------------------------------------------------


async def _create(request: web.Request) -> web.StreamResponse:
    if partial_upload.speaks(request):
        return await partial_upload.create(request)
    return await _refusals_counted(request, tus.create)


async def _refusals_counted(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApplianceError as error:
        services(request).metrics.uploads_refused.labels(error.code).inc()
        raise


async def _head(request: web.Request) -> web.StreamResponse:
    if tus.speaks(request):
        return await tus.head(request)
    return await partial_upload.head(request)


async def _append(request: web.Request) -> web.StreamResponse:
    if tus.speaks(request) or request.content_type == tus.CONTENT_TYPE:
        return await _refusals_counted(request, tus.append)
    return await partial_upload.append(request)


async def _terminate(request: web.Request) -> web.StreamResponse:
    if tus.speaks(request):
        return await tus.terminate(request)
    upload_id = request.match_info["upload_id"]
    await resumable_uploads(request).terminate(user(request).owner, upload_id)
    return web.Response(status=204)


_OF_ALL: Mapping[str, Handler] = {"POST": _create, "OPTIONS": options}
_OF_ONE: Mapping[str, Handler] = {
    "HEAD": _head,
    "PATCH": _append,
    "DELETE": _terminate,
    "OPTIONS": options_of_upload,
}


def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Any page may upload with a key of its own: without cookies there is nothing to abuse."""
    if "Origin" in request.headers:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        response.headers.setdefault("Access-Control-Expose-Headers", CORS_EXPOSED)
    response.headers.setdefault("Tus-Resumable", tus.VERSION)
