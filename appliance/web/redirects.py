"""Downloads that come from the store itself, by a link of a minute (APPLIANCE_STORAGE_REDIRECT).

Only pictures, films and sound: what a browser might run, or show as a page, keeps our headers. Our
own pages show files of this server only (their Content-Security-Policy), so what they embed is
never sent elsewhere.
"""

from __future__ import annotations

from aiohttp import web

from appliance.jobs import Job, ResultFile
from appliance.web.services import services

EXPIRES_S = 60
_ASKED_FOR_ITSELF = {"document", "none", None}
"""Of `Sec-Fetch-Dest`: a person's own navigation, and clients that are no browsers."""


async def elsewhere(
    request: web.Request, job: Job, file: ResultFile, *, disposition: str
) -> web.Response | None:
    """An answer that sends the client to the store; None: the file is to be sent by us."""
    shared = services(request)
    if (
        not shared.storage_redirect
        or request.method != "GET"
        or "If-Range" in request.headers  # it names our ETag, which the store does not know
        or job.scan.locks_away
        or job.scan.is_awaited
        or not file.content_type.startswith(("image/", "video/", "audio/"))
        or file.content_type == "image/svg+xml"
        or request.headers.get("Sec-Fetch-Dest") not in _ASKED_FOR_ITSELF
    ):
        return None
    url = await shared.storage.presigned(
        file.storage_key,
        expires_s=EXPIRES_S,
        content_type=file.content_type,
        disposition=disposition,
    )
    if url is None:
        return None
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=307, headers=headers)
