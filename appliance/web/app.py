"""The HTTP application: the routes of `appliance.web.routes` behind four middlewares.

From the outside in: one log line and the metrics of every request; errors to problem documents;
what might be read in two ways; who asks and whether they may. Security headers are added to every
answer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from appliance.principals import Principal
from appliance.web import bodies, partial_upload, rate_limits, resumable
from appliance.web.auth import auth_middleware
from appliance.web.contract import CONTRACT
from appliance.web.framing import LAST, framing_middleware
from appliance.web.in_flight import IN_FLIGHT, InFlight
from appliance.web.job_news import JOB_NEWS, JobNews
from appliance.web.openapi.document import of_this_version
from appliance.web.problems import CLIENT_GONE, PROBLEM_CODE, logged_path, problem_middleware
from appliance.web.routes import ROUTES
from appliance.web.services import NEEDED, SERVICES, USER, Services, services
from appliance.web.shared_panels import SHARED_PANELS, SharedPanels
from appliance.web.used_by_owner import USED_BY_OWNER, UsedByOwner

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# `blob:` is for the small pictures of files that are still in the browser (static/previews.js).
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}
_QUIET = frozenset({"/healthz", "/readyz", "/metrics", "/static/{name}"})
"""Routes whose requests are logged only when they fail."""


def create_app(shared: Services) -> web.Application:
    app = web.Application(
        middlewares=[access_middleware, problem_middleware, framing_middleware, auth_middleware],
        client_max_size=64 * 1024,  # of bodies that are read whole: the sign-in form
    )
    app[SERVICES] = shared
    app[CONTRACT] = of_this_version()
    app[IN_FLIGHT] = InFlight()
    app[JOB_NEWS] = JobNews(shared.database)
    app[SHARED_PANELS] = SharedPanels()
    app[USED_BY_OWNER] = UsedByOwner(shared.database, shared.clock)
    app[NEEDED] = {route.handler: route.permission for route in ROUTES}
    app.on_response_prepare.append(_add_security_headers)
    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(
                route.path, route.handler, allow_head=True, expect_handler=bodies.expect_handler
            )
        else:
            app.router.add_route(
                route.method, route.path, route.handler, expect_handler=bodies.expect_handler
            )
    return app


@web.middleware
async def access_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One canonical line and one observation for every request."""
    began = time.perf_counter()
    status = CLIENT_GONE
    try:
        with request.app[IN_FLIGHT]:
            response = await handler(request)
        status = response.status
        stopping = services(request).stopping.is_set()
        if stopping or request.get(partial_upload.ANNOUNCED) or request.get(LAST):
            response.force_close()
    finally:
        took_s = time.perf_counter() - began
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        metrics = services(request).metrics
        method = request.method if request.method in hdrs.METH_ALL else "other"
        metrics.requests.labels(route, method, str(status)).inc()
        metrics.request_seconds.labels(route).observe(took_s)
        if status >= 400 or route not in _QUIET:
            found: Principal | None = request.get(USER)
            log.info(
                "request",
                method=request.method,
                path=logged_path(request),
                status=status,
                code=request.get(PROBLEM_CODE),
                took_ms=round(took_s * 1000, 1),
                owner=None if found is None else found.owner,
                remote=request.remote,
            )
    return response


async def _add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "upload-appliance"  # instead of the libraries' versions
    for key in (partial_upload.EXTRA_HEADERS, rate_limits.HEADERS):
        for name, value in request.get(key, {}).items():
            response.headers.setdefault(name, value)
    if request.path == "/files" or request.path.startswith("/files/"):
        resumable.add_cors_headers(request, response)
    for name, value in _SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if services(request).public_url.startswith("https:"):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
