"""GET /: the upload page."""

from __future__ import annotations

from aiohttp import web

from appliance.database.ownership import UNLIMITED
from appliance.intake import filetypes
from appliance.jobs import JobType
from appliance.permissions import Permission
from appliance.web import words
from appliance.web.jobs import next_page, page_of_jobs, shown_filters
from appliance.web.representation import job_document
from appliance.web.services import services, user
from appliance.web.several import MOST_JOBS
from appliance.web.share_links import PERIODS
from appliance.web.templates import render_page

RECENT = 24
"""Cards on one page; 105 KB of HTML, a tenth of that on the wire."""


async def show_upload_page(request: web.Request) -> web.StreamResponse:
    """GET /: with the user's own latest uploads, or those that are looked for; `?cursor=` for
    older ones, `?fragment=earlier` for nothing but them.

    Who uploads nothing is sent to where there is something to see.
    """
    asking = user(request)
    if not asking.may(Permission.UPLOAD):
        seen = "/dashboard" if asking.may(Permission.READ_ALL) else "/dashboard/access"
        return web.Response(status=303, headers={"Location": seen})
    limits = services(request).admission.limits
    page, cursor = await page_of_jobs(request, everybody=False, default_limit=RECENT)
    filters = shown_filters(request)
    earlier = {
        "jobs": [job_document(job, asking.owner) for job in page],
        "more_url": next_page(request, cursor),
    }
    if request.query.get("fragment") == "earlier":
        return render_page(request, "earlier.html", earlier)
    standing = await services(request).admission.standing(asking.owner)
    context = {
        **earlier,
        "filters": filters,
        "filtered": any(filters.values()),
        "usage": standing.usage if standing.quota != UNLIMITED else None,
        "quota": standing.quota,
        "limits": {
            "max_upload_bytes": limits.max_upload_bytes,
            "of_types": [
                (words.KINDS[job_type], limits.max_bytes(job_type))
                for job_type in JobType
                if limits.max_bytes(job_type) < limits.max_upload_bytes
            ],
            "types": filetypes.labels(limits.allowed_types),
            "accept": filetypes.accept_attribute(limits.allowed_types),
        },
        "curl": f'curl -F file=@photo.jpg -H "Authorization: Bearer $KEY" '
        f"{services(request).public_url}/upload",
        "presets": list(services(request).presets),
        "periods": PERIODS,
        "most_jobs": MOST_JOBS,
    }
    return render_page(request, "upload.html", context)
