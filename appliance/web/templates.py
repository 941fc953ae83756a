"""The pages' templates and static files, from the source tree or from the installed wheel."""

from __future__ import annotations

import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

import appliance
from appliance.clock import rfc3339
from appliance.web import words
from appliance.web.services import USER, User

_PACKAGE = Path(appliance.__file__).parent


def _folder(name: str) -> Path:
    """In a wheel the folders lie within the package, in the source tree beside it."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


STATIC_DIR = _folder("static")
TEMPLATES_DIR = _folder("templates")

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES_DIR),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_digests: dict[str, str] = {}


def static_url(name: str) -> str:
    """The address of a static file, with its digest, so that browsers may keep it for ever."""
    if name not in _digests:
        _digests[name] = sha256((STATIC_DIR / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={_digests[name]}"


_environment.globals["static"] = static_url
_environment.filters.update(
    bytes=words.bytes_in_words,
    ago=lambda at: words.ago(at, time.time()),
    rfc3339=rfc3339,
    duration=words.duration,
)


def render(request: web.Request, template: str, context: Mapping[str, Any]) -> str:
    found: User | None = request.get(USER)
    return _environment.get_template(template).render(
        page=template.removesuffix(".html"),
        user=None
        if found is None
        else {"name": found.key.name, "role": found.key.role, "owner": found.owner},
        version=appliance.__version__,
        now=time.time(),
        **context,
    )


def render_page(
    request: web.Request, template: str, context: Mapping[str, Any], *, status: int = 200
) -> web.Response:
    return web.Response(
        text=render(request, template, context),
        status=status,
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )
