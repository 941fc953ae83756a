"""Every route: method, path, handler, and who may use it. There is no route beside this table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from appliance.web import (
    assets,
    audit,
    audit_page,
    auth,
    dashboard,
    dead_letters,
    dead_letters_page,
    events,
    files,
    health,
    job_acts,
    job_page,
    jobs,
    pages,
    pauses,
    presets,
    redrives,
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
    Route("OPTIONS", "/upload", uploads.options, Access.PUBLIC),
    Route("OPTIONS", "/upload/{filename}", uploads.put_options, Access.PUBLIC),
    Route("OPTIONS", "/files", resumable.options, Access.PUBLIC),
    Route("POST", "/files", resumable.create, Access.SIGNED_IN),
    Route("OPTIONS", _FILE, resumable.options_of_upload, Access.PUBLIC),
    Route("HEAD", _FILE, resumable.head, Access.SIGNED_IN),
    Route("PATCH", _FILE, resumable.append, Access.SIGNED_IN),
    Route("DELETE", _FILE, resumable.terminate, Access.SIGNED_IN),
    Route("POST", _FILE, resumable.post, Access.SIGNED_IN),
    Route("GET", "/status/{job_id}", status.get_status, Access.SIGNED_IN),
    Route("GET", "/jobs", jobs.list_jobs, Access.SIGNED_IN),
    Route("GET", _JOB, jobs.get_job, Access.SIGNED_IN),
    Route("GET", f"{_JOB}/events", events.get_job_events, Access.SIGNED_IN),
    Route("GET", f"{_JOB}/files/{{name}}", files.get_file, Access.SIGNED_IN),
    Route("POST", f"{_JOB}/cancel", job_acts.cancel_job, Access.SIGNED_IN),
    Route("POST", f"{_JOB}/retry", job_acts.retry_job, Access.SIGNED_IN),
    Route("POST", f"{_JOB}/process", job_acts.process_job, Access.SIGNED_IN),
    Route("POST", f"{_JOB}/release", job_acts.release_job, Access.ADMIN),
    Route("DELETE", _JOB, job_acts.delete_job, Access.SIGNED_IN),
    Route("POST", f"{_JOB}/delete", job_acts.delete_job_by_form, Access.SIGNED_IN),
    Route("GET", "/presets", presets.list_presets, Access.SIGNED_IN),
    Route("GET", "/events", events.get_events, Access.SIGNED_IN),
    Route("GET", "/dead-letters", dead_letters.list_dead_letters, Access.ADMIN),
    Route("GET", "/dead-letters/groups", dead_letters.list_groups, Access.ADMIN),
    Route("POST", "/dead-letters/retry", dead_letters.retry_dead_letters, Access.ADMIN),
    Route("POST", "/dead-letters/discard", dead_letters.discard_dead_letters, Access.ADMIN),
    Route("GET", "/dead-letters/{job_id}", dead_letters.get_dead_letter, Access.ADMIN),
    Route("GET", "/redrives", redrives.list_redrives, Access.ADMIN),
    Route("GET", "/redrives/{redrive_id}", redrives.get_redrive, Access.ADMIN),
    Route("GET", "/pauses", pauses.list_pauses, Access.SIGNED_IN),
    Route("POST", "/pauses", pauses.begin_pause, Access.ADMIN),
    Route("POST", "/pauses/end", pauses.end_pause, Access.ADMIN),
    Route("PUT", "/pauses/{kind}/{name}", pauses.put_pause, Access.ADMIN),
    Route("DELETE", "/pauses/{kind}/{name}", pauses.delete_pause, Access.ADMIN),
    Route("GET", "/audit", audit.list_acts, Access.ADMIN),
    Route("GET", "/healthz", health.get_healthz, Access.PUBLIC),
    Route("GET", "/readyz", health.get_readyz, Access.PUBLIC),
    Route("GET", "/metrics", health.get_metrics, Access.ADMIN),
    Route("GET", "/", pages.show_upload_page, Access.SIGNED_IN),
    Route("GET", "/dashboard", dashboard.show_dashboard, Access.ADMIN),
    Route("GET", "/dashboard/dead-letters", dead_letters_page.show_dead_letters, Access.ADMIN),
    Route("GET", "/dashboard/dead-letters/{job_id}", job_page.show_job, Access.ADMIN),
    Route("GET", "/dashboard/audit", audit_page.show_audit, Access.ADMIN),
    Route("GET", "/signin", auth.show_signin, Access.PUBLIC),
    Route("POST", "/signin", auth.sign_in, Access.PUBLIC),
    Route("POST", "/signout", auth.sign_out, Access.SIGNED_IN),
    Route("GET", "/static/{name}", assets.get_static, Access.PUBLIC),
)
