"""Every route: method, path, handler, and the permission it needs. There is no route beside this
table, and what a permission is and who has it is in `appliance.permissions`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from appliance.permissions import Permission
from appliance.web import (
    access,
    access_page,
    archives,
    assets,
    audit,
    audit_page,
    contract,
    dashboard,
    dead_letters,
    dead_letters_page,
    deliveries,
    events,
    files,
    guests,
    health,
    job_acts,
    job_page,
    jobs,
    metrics_page,
    oidc,
    pages,
    pauses,
    people,
    presets,
    redrives,
    resumable,
    settings_page,
    share_links,
    signin,
    status,
    upload_links,
    uploads,
    usage,
    webhooks,
    webhooks_page,
    workers_page,
)


class Route(NamedTuple):
    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    permission: Permission | None
    """None: everybody, signed in or not. Whose a job or an upload is comes on top."""


PUBLIC = None
_JOB = "/jobs/{job_id}"
_FILE = "/files/{upload_id}"
_LINK = "/upload-links/{link_id}"
_LETTERS = "/dashboard/dead-letters"
_DELIVERY = "/webhooks/deliveries/{delivery_id}"
_WEBHOOK = "/webhooks/{webhook_id}"

ROUTES: tuple[Route, ...] = (
    Route("POST", "/upload", uploads.post_upload, Permission.UPLOAD),
    Route("PUT", "/upload/{filename}", uploads.put_upload, Permission.UPLOAD),
    Route("OPTIONS", "/upload", uploads.options, PUBLIC),
    Route("OPTIONS", "/upload/{filename}", uploads.put_options, PUBLIC),
    Route("OPTIONS", "/files", resumable.options, PUBLIC),
    Route("POST", "/files", resumable.create, Permission.UPLOAD),
    Route("OPTIONS", _FILE, resumable.options_of_upload, PUBLIC),
    Route("HEAD", _FILE, resumable.head, Permission.UPLOAD),
    Route("PATCH", _FILE, resumable.append, Permission.UPLOAD),
    Route("DELETE", _FILE, resumable.terminate, Permission.UPLOAD),
    Route("POST", _FILE, resumable.post, Permission.UPLOAD),
    Route("GET", "/status/{job_id}", status.get_status, Permission.READ),
    Route("GET", "/jobs", jobs.list_jobs, Permission.READ),
    Route("GET", _JOB, jobs.get_job, Permission.READ),
    Route("GET", f"{_JOB}/events", events.get_job_events, Permission.READ),
    Route("GET", f"{_JOB}/files/{{name}}", files.get_file, Permission.READ),
    Route("GET", f"{_JOB}/archive", archives.get_job_archive, Permission.READ),
    Route("GET", "/archive", archives.get_archive, Permission.READ),
    Route("POST", f"{_JOB}/cancel", job_acts.cancel_job, Permission.MANAGE),
    Route("POST", f"{_JOB}/retry", job_acts.retry_job, Permission.MANAGE),
    Route("POST", f"{_JOB}/process", job_acts.process_job, Permission.MANAGE),
    Route("POST", f"{_JOB}/release", job_acts.release_job, Permission.ADMINISTER),
    Route("DELETE", _JOB, job_acts.delete_job, Permission.MANAGE),
    Route("POST", f"{_JOB}/delete", job_acts.delete_job_by_form, Permission.MANAGE),
    Route("POST", f"{_JOB}/links", share_links.create_link, Permission.MANAGE),
    Route("DELETE", f"{_JOB}/links", share_links.end_links, Permission.MANAGE),
    Route("GET", "/s/{job_id}/{name}", share_links.get_shared, PUBLIC),
    Route("GET", "/upload-links", upload_links.list_links, Permission.MANAGE),
    Route("POST", "/upload-links", upload_links.create_link, Permission.MANAGE),
    Route("GET", _LINK, upload_links.get_link, Permission.MANAGE),
    Route("DELETE", _LINK, upload_links.revoke_link, Permission.MANAGE),
    Route(
        "POST",
        "/upload-links/{link_id}/revoke",
        upload_links.revoke_link_by_form,
        Permission.MANAGE,
    ),
    Route("GET", "/u/{token}", guests.show_guest_page, PUBLIC),
    Route("POST", "/u/{token}", guests.receive, PUBLIC),
    Route("GET", "/links", upload_links.show_links, Permission.MANAGE),
    Route("GET", "/presets", presets.list_presets, Permission.SELF),
    Route("GET", "/usage", usage.get_usage, Permission.SELF),
    Route("GET", "/events", events.get_events, Permission.READ),
    Route("GET", "/dead-letters", dead_letters.list_dead_letters, Permission.READ_ALL),
    Route("GET", "/dead-letters/groups", dead_letters.list_groups, Permission.READ_ALL),
    Route("POST", "/dead-letters/retry", dead_letters.retry_dead_letters, Permission.OPERATE),
    Route("POST", "/dead-letters/discard", dead_letters.discard_dead_letters, Permission.OPERATE),
    Route("GET", "/dead-letters/{job_id}", dead_letters.get_dead_letter, Permission.READ_ALL),
    Route("GET", "/redrives", redrives.list_redrives, Permission.READ_ALL),
    Route("GET", "/redrives/{redrive_id}", redrives.get_redrive, Permission.READ_ALL),
    Route("POST", "/redrives/{redrive_id}/stop", redrives.stop_redrive, Permission.OPERATE),
    Route("GET", "/pauses", pauses.list_pauses, Permission.READ),
    Route("POST", "/pauses", pauses.begin_pause, Permission.OPERATE),
    Route("POST", "/pauses/end", pauses.end_pause, Permission.OPERATE),
    Route("PUT", "/pauses/{kind}/{name}", pauses.put_pause, Permission.OPERATE),
    Route("DELETE", "/pauses/{kind}/{name}", pauses.delete_pause, Permission.OPERATE),
    Route("GET", "/audit", audit.list_acts, Permission.ADMINISTER),
    Route("GET", "/keys", access.list_keys, Permission.ADMINISTER),
    Route("POST", "/keys", access.create_key, Permission.ADMINISTER),
    Route("DELETE", "/keys/{key_id}", access.revoke_key, Permission.ADMINISTER),
    Route("POST", "/keys/{key_id}/revoke", access.revoke_key_by_form, Permission.ADMINISTER),
    Route("GET", "/people", people.list_people, Permission.ADMINISTER),
    Route("POST", "/people/{person_id}/block", people.block, Permission.ADMINISTER),
    Route("POST", "/people/{person_id}/unblock", people.unblock, Permission.ADMINISTER),
    Route("GET", "/sessions", access.list_sessions, Permission.SELF),
    Route("DELETE", "/sessions/{session_id}", access.end_session, Permission.SELF),
    Route("POST", "/sessions/{session_id}/end", access.end_session_by_form, Permission.SELF),
    Route("GET", "/webhooks", webhooks.list_webhooks, Permission.READ),
    Route("POST", "/webhooks", webhooks.create_webhook, Permission.MANAGE),
    Route("POST", "/webhooks/callback-secret", webhooks.rotate_callback_secret, Permission.MANAGE),
    Route("GET", "/webhooks/deliveries", deliveries.list_deliveries, Permission.READ),
    Route("POST", "/webhooks/deliveries/replay", deliveries.replay_failed, Permission.MANAGE),
    Route("GET", _DELIVERY, deliveries.get_delivery, Permission.READ),
    Route("POST", f"{_DELIVERY}/replay", deliveries.replay_delivery, Permission.MANAGE),
    Route("GET", _WEBHOOK, webhooks.get_webhook, Permission.READ),
    Route("PATCH", _WEBHOOK, webhooks.change_webhook, Permission.MANAGE),
    Route("DELETE", _WEBHOOK, webhooks.delete_webhook, Permission.MANAGE),
    Route("POST", f"{_WEBHOOK}/change", webhooks.change_webhook_by_form, Permission.MANAGE),
    Route("POST", f"{_WEBHOOK}/delete", webhooks.delete_webhook_by_form, Permission.MANAGE),
    Route("POST", f"{_WEBHOOK}/rotate", webhooks.rotate_secret, Permission.MANAGE),
    Route("POST", f"{_WEBHOOK}/test", webhooks.test_webhook, Permission.MANAGE),
    Route(
        "GET",
        f"{_WEBHOOK}/deliveries",
        deliveries.list_deliveries_of_webhook,
        Permission.READ,
    ),
    Route("GET", "/healthz", health.get_healthz, PUBLIC),
    Route("GET", "/readyz", health.get_readyz, PUBLIC),
    Route("GET", "/metrics", health.get_metrics, Permission.READ_ALL),
    Route("GET", "/metrics/history", metrics_page.get_history, Permission.READ_ALL),
    Route("GET", "/openapi.json", contract.get_openapi, PUBLIC),
    Route("GET", "/docs", contract.show_docs, PUBLIC),
    Route("GET", "/", pages.show_upload_page, Permission.SELF),
    Route("GET", "/dashboard", dashboard.show_dashboard, Permission.READ_ALL),
    Route("GET", "/dashboard/metrics", metrics_page.show_metrics, Permission.READ_ALL),
    Route("GET", _LETTERS, dead_letters_page.show_dead_letters, Permission.READ_ALL),
    Route("GET", "/dashboard/jobs/{job_id}", job_page.show_job, Permission.READ_ALL),
    Route("GET", "/uploads/{job_id}", job_page.show_own_job, Permission.READ),
    Route("GET", "/dashboard/audit", audit_page.show_audit, Permission.ADMINISTER),
    Route("GET", "/dashboard/workers", workers_page.show_workers, Permission.READ_ALL),
    Route("GET", "/dashboard/settings", settings_page.show_settings, Permission.ADMINISTER),
    Route("GET", "/dashboard/access", access_page.show_access, Permission.SELF),
    Route("GET", "/dashboard/webhooks", webhooks_page.show_webhooks, Permission.READ),
    Route("GET", "/signin", signin.show_signin, PUBLIC),
    Route("POST", "/signin", signin.sign_in, PUBLIC),
    Route("GET", "/signin/oidc", oidc.begin, PUBLIC),
    Route("GET", "/signin/oidc/callback", oidc.finish, PUBLIC),
    Route("POST", "/signin/oidc/logout", oidc.signed_out_there, PUBLIC),
    Route("POST", "/signout", signin.sign_out, Permission.SELF),
    Route("GET", "/static/{name}", assets.get_static, PUBLIC),
)
