"""GET / (the upload page) and the static files of all pages."""

from __future__ import annotations

import mimetypes
import re

from aiohttp import web

from appliance.errors import NotFound
from appliance.intake import filetypes
from appliance.web.jobs import page_of_jobs
from appliance.web.representation import job_document
from appliance.web.services import services
from appliance.web.templates import STATIC_DIR, render_page

RECENT = 24


async def show_upload_page(request: web.Request) -> web.StreamResponse:
    """GET /: with the user's own latest uploads; `?cursor=` for older ones."""
    limits = services(request).receiver.limits
    page, cursor = await page_of_jobs(request, everybody=False)
    context = {
        "limits": {
            "max_upload_bytes": limits.max_upload_bytes,
            "types": filetypes.labels(limits.allowed_types),
            "accept": filetypes.accept_attribute(limits.allowed_types),
        },
        "curl": f'curl -F file=@photo.jpg -H "Authorization: Bearer $KEY" '
        f"{services(request).public_url}/upload",
        "jobs": [job_document(job) for job in page],
        "more_url": f"/?cursor={cursor}" if cursor else None,
    }
    return render_page(request, "upload.html", context)


async def get_static(request: web.Request) -> web.StreamResponse:
    """GET /static/{name}: addresses carry a digest, so browsers keep what they got."""
    name = request.match_info["name"]
    path = STATIC_DIR / name
    if not re.fullmatch(r"[a-z0-9_-]+\.[a-z0-9]+", name) or not path.is_file():
        raise NotFound("There is no such static file.")
    versioned = "v" in request.query
    return web.FileResponse(
        path,
        headers={
            "Content-Type": mimetypes.guess_type(name)[0] or "application/octet-stream",
            # Modules import each other without a digest: those are asked for anew each time.
            "Cache-Control": "public, max-age=31536000, immutable" if versioned else "no-cache",
        },
    )
