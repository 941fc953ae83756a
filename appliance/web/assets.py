"""The static files of the pages, kept in memory: there are few, and they are small.

Templates name a file by an address with its digest in it, so that browsers may keep it for
ever. Modules import each other without one, and are revalidated by their ETag.
"""

from __future__ import annotations

import functools
import gzip
import mimetypes
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

import appliance
from appliance.errors import NotFound

_PACKAGE = Path(appliance.__file__).parent


def folder(name: str) -> Path:
    """`static` or `templates`: in a wheel within the package, in the source tree beside it."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


class _Asset(NamedTuple):
    body: bytes
    gzipped: bytes
    content_type: str
    digest: str


@functools.cache
def _assets() -> dict[str, _Asset]:
    return {path.name: _read(path) for path in folder("static").iterdir() if path.is_file()}


def _read(path: Path) -> _Asset:
    body = path.read_bytes()
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if content_type.startswith("text/") or content_type == "image/svg+xml":
        content_type += "; charset=utf-8"
    return _Asset(
        body=body,
        gzipped=gzip.compress(body),
        content_type=content_type,
        digest=sha256(body).hexdigest()[:12],
    )


def static_url(name: str) -> str:
    """The address of a static file. Raises KeyError, when a template names one in vain."""
    return f"/static/{name}?v={_assets()[name].digest}"


async def get_static(request: web.Request) -> web.StreamResponse:
    """GET /static/{name}"""
    asset = _assets().get(request.match_info["name"])
    if asset is None:
        raise NotFound("There is no such static file.")
    headers = {
        "Content-Type": asset.content_type,
        "Cache-Control": "public, max-age=31536000, immutable"
        if request.query.get("v") == asset.digest
        else "no-cache",
        "ETag": f'W/"{asset.digest}"',  # weak: one for both encodings
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=asset.body, headers=headers)
    return web.Response(body=asset.gzipped, headers={**headers, "Content-Encoding": "gzip"})
