"""Every route: method, path, handler, and who may use it. There is no route beside this table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from appliance.web import (
    assets,
    auth,
    dashboard,
    events,
    files,
    health,
    jobs,
    pages,
    resumable,
    status,
    uploads,
)
from appliance.web.services import Access


class Route(NamedTuple):
    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    access: Access


_JOB = "/jobs/{job_id}"
_FILE = "/files/{upload_id}"

ROUTES: tuple[Route, ...] = (
    Route("POST", "/upload", uploads.post_upload, Access.SIGNED_IN),
    Route("PUT", "/upload/{filename}", uploads.put_upload, Access.SIGNED_IN),
    Route("OPTIONS", "/files", resumable.options, Access.PUBLIC),
    Route("POST", "/files", resumable.create, Access.SIGNED_IN),
    Route("OPTIONS", _FILE, resumable.options, Access.PUBLIC),
    Route("HEAD", _FILE, resumable.head, Access.SIGNED_IN),
    Route("PATCH", _FILE, resumable.append, Access.SIGNED_IN),
    Route("DELETE", _FILE, resumable.terminate, Access.SIGNED_IN),
    Route("POST", _FILE, resumable.override, Access.SIGNED_IN),
    Route("GET", "/status/{job_id}", status.get_status, Access.SIGNED_IN),
    Route("GET", "/jobs", jobs.list_jobs, Access.SIGNED_IN),
    Route("GET", _JOB, jobs.get_job, Access.SIGNED_IN),
    Route("GET", f"{_JOB}/events", events.get_job_events, Access.SIGNED_IN),
    Route("GET", f"{_JOB}/files/{{name}}", files.get_file, Access.SIGNED_IN),
    Route("GET", "/events", events.get_events, Access.SIGNED_IN),
    Route("GET", "/healthz", health.get_healthz, Access.PUBLIC),
    Route("GET", "/readyz", health.get_readyz, Access.PUBLIC),
    Route("GET", "/metrics", health.get_metrics, Access.ADMIN),
    Route("GET", "/", pages.show_upload_page, Access.SIGNED_IN),
    Route("GET", "/dashboard", dashboard.show_dashboard, Access.ADMIN),
    Route("GET", "/signin", auth.show_signin, Access.PUBLIC),
    Route("POST", "/signin", auth.sign_in, Access.PUBLIC),
    Route("POST", "/signout", auth.sign_out, Access.SIGNED_IN),
    Route("GET", "/static/{name}", assets.get_static, Access.PUBLIC),
)
