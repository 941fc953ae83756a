"""The upload page as an app on a phone: GET /manifest.webmanifest, and POST /share, to which a
phone sends what somebody shares with the app from another one (W3C Web Share Target).

There is no service worker: browsers install a page without one, and one that kept answers would
keep private ones (decision 33).
"""

from __future__ import annotations

from aiohttp import web

from appliance.errors import NoFile
from appliance.web.assets import static_url
from appliance.web.representation import encode
from appliance.web.services import services
from appliance.web.uploads import receive_form

SURFACE, PAPER = "#ffffff", "#f8f8f6"
"""As in `base.css`. A manifest knows one theme; the page's `theme-color` tells the dark one."""


async def get_manifest(request: web.Request) -> web.StreamResponse:
    """GET /manifest.webmanifest: fetched without a cookie, so there is nothing of anybody in it."""
    document = {
        "id": "/",
        "name": "Upload Appliance",
        "short_name": "Upload",
        "description": "Upload files, and see what was made of them.",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "theme_color": SURFACE,
        "background_color": PAPER,
        "icons": [
            _icon("icon-192.png", 192),
            _icon("icon-512.png", 512),
            _icon("icon-maskable-512.png", 512, purpose="maskable"),
        ],
        "share_target": {
            "action": "/share",
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {
                "files": [
                    {
                        "name": "file",
                        "accept": list(services(request).admission.limits.allowed_types),
                    }
                ]
            },
        },
    }
    return web.Response(
        body=encode(document),
        content_type="application/manifest+json",
        charset="utf-8",
        headers={"Cache-Control": "no-cache"},
    )


def _icon(name: str, edge_px: int, *, purpose: str = "any") -> dict[str, str]:
    return {
        "src": static_url(name),
        "type": "image/png",
        "sizes": f"{edge_px}x{edge_px}",
        "purpose": purpose,
    }


async def take_shared(request: web.Request) -> web.StreamResponse:
    """POST /share: what the manifest's `share_target` makes of it, a form with parts `file`.

    On to the upload page, where the jobs are the latest. What comes from nobody who is signed in
    cannot be kept; the sign-in page says so.
    """
    if request.content_type != "multipart/form-data":
        raise NoFile("Only files can be shared with this app. A text can be pasted into a file.")
    return await receive_form(request)
