"""Errors become problem documents here, and nowhere else (RFC 9457).

A browser that asked for a page gets the same words as a page.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from appliance.errors import (
    ApplianceError,
    BadRequest,
    FileTooLarge,
    MethodNotAllowed,
    NotFound,
    NotSignedIn,
    OffsetMismatch,
    RangeNotSatisfiable,
    TusVersionRefused,
)
from appliance.web import bodies
from appliance.web.representation import encode
from appliance.web.templates import came_from, render_page

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROBLEM_CODE: web.RequestKey[str] = web.RequestKey("problem_code", str)
"""Of the refusal that answers the request, for its log line."""

CLIENT_GONE = 499
"""For the log and the metrics; nginx's number for it."""

RETRY_AFTER_S = 5
"""Where whoever raised the error has not said when to come back."""
COME_BACK = (503, 507)
"""What may be well in a while."""


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApplianceError as error:
        return problem_response(request, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem_response(request, _from_aiohttp(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except asyncio.CancelledError:
        raise
    except ConnectionError:
        # Ours never get here untranslated: it is the client that is gone, and nobody hears this.
        return web.Response(status=CLIENT_GONE)
    except HttpProcessingError as error:
        return problem_response(request, BadRequest(f"{error.message}."))
    except Exception:
        # Top of a request: the trace goes to the log, never to the client.
        log.exception("request_failed", method=request.method, path=logged_path(request))
        return problem_response(request, ApplianceError())


def problem_document(error: ApplianceError) -> dict[str, Any]:
    return {
        "type": error.type,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        **error.extra,
    }


def problem_response(request: web.Request, error: ApplianceError) -> web.StreamResponse:
    request[PROBLEM_CODE] = error.code
    if wants_page(request):
        if isinstance(error, NotSignedIn):
            return web.Response(status=303, headers={"Location": _signin(request)})
        page = render_page(
            request,
            "error.html",
            {"status": error.status, "title": error.title, "detail": error.detail},
            status=error.status,
        )
        _add_retry_after(page, error)
        return page
    response = web.Response(
        body=encode(problem_document(error)),
        status=error.status,
        content_type="application/problem+json",
    )
    if isinstance(error, NotSignedIn):
        response.headers["WWW-Authenticate"] = 'Bearer realm="upload-appliance"'
    if isinstance(error, OffsetMismatch):
        response.headers["Upload-Offset"] = str(error.extra["expected-offset"])
    if isinstance(error, FileTooLarge):
        response.headers["Upload-Limit"] = f"max-size={error.extra['maxUploadBytes']}"
    if isinstance(error, TusVersionRefused):
        response.headers["Tus-Version"] = "1.0.0"
    if isinstance(error, RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.extra['sizeBytes']}"
    _add_retry_after(response, error)
    bodies.leave(request, response)
    return response


def _signin(request: web.Request) -> str:
    """Signing in, and back to the page that was asked for. A form that was sent cannot be sent
    again: back to where it stands, and a word that it did nothing."""
    if request.method in ("GET", "HEAD"):
        return f"/signin?next={quote(request.rel_url.raw_path_qs, safe='/')}"
    unsent = "files" if request.content_type == "multipart/form-data" else "1"
    return f"/signin?next={quote(came_from(request), safe='/')}&unsent={unsent}"


def _add_retry_after(response: web.StreamResponse, error: ApplianceError) -> None:
    if error.retry_after_s is not None or error.status in COME_BACK:
        after_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
        response.headers["Retry-After"] = str(max(1, math.ceil(after_s)))


def logged_path(request: web.Request) -> str:
    """The path without what is a secret in it: the token of an upload link."""
    token = request.match_info.get("token")
    return request.path if token is None else request.path.replace(token, "…")


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks for something to show, rather than a program for data."""
    accept = request.headers.get("Accept", "")
    return "text/html" in accept and not request.path.startswith("/static/")


def _from_aiohttp(error: web.HTTPException) -> ApplianceError:
    if error.status == 404:
        return NotFound("There is nothing at this address.")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(f"This address takes {allowed}.")
    return ApplianceError(error.reason) if error.status >= 500 else BadRequest(error.reason)
