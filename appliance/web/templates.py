"""Renders the pages from their templates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jinja2
from aiohttp import web
from yarl import URL

import appliance
from appliance.clock import rfc3339
from appliance.ids import new_id
from appliance.principals import Principal
from appliance.web import assets, words
from appliance.web.services import USER

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(assets.folder("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["static"] = assets.static_url
_environment.filters.update(
    bytes=words.bytes_in_words,
    ago=lambda at: words.ago(at, time.time()),
    ahead=lambda at: words.span(at - time.time()),
    rfc3339=rfc3339,
    duration=words.duration,
    figure=words.figure,
    percent=words.percent,
    plain=words.plain,
    sentence=words.sentence,
    counted=words.count,
    holds=words.holds,
    kinds=words.KINDS.__getitem__,
)


def render(request: web.Request, template: str, context: Mapping[str, Any]) -> str:
    found: Principal | None = request.get(USER)
    return _environment.get_template(template).render(
        page=template.removesuffix(".html"),
        user=found,
        may=frozenset() if found is None else found.permissions,
        version=appliance.__version__,
        here=str(request.rel_url.without_query_params("fragment", "fresh")),
        back=came_from(request),
        now=time.time(),
        once=new_id(),
        **context,
    )


def came_from(request: web.Request) -> str:
    """The page of ours that led here, by its path; else the upload page."""
    try:
        referer = URL(request.headers.get("Referer", ""))
    except ValueError:
        return "/"
    ours = referer.host is not None and referer.authority == request.host
    return referer.raw_path_qs if ours and not referer.raw_path.startswith("//") else "/"


def render_page(
    request: web.Request, template: str, context: Mapping[str, Any], *, status: int = 200
) -> web.Response:
    response = web.Response(
        text=render(request, template, context),
        status=status,
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )
    response.enable_compression()  # where the client takes it; a list of cards shrinks to a tenth
    return response


def render_panels(request: web.Request, name: str, context: Mapping[str, Any]) -> web.Response:
    """The page `name`, or with `?fragment=panels` the part that panels.js refreshes."""
    fragment = request.query.get("fragment") == "panels"
    return render_page(request, f"{name}_panels.html" if fragment else f"{name}.html", context)
