"""GET /dashboard/settings: what is in force, where it came from, what was reached."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from appliance.config import InForce
from appliance.web import words
from appliance.web.health import check_parts
from appliance.web.services import services
from appliance.web.templates import render_panels

_SOURCES = {
    "flag": "A flag",
    "environment": "The environment",
    "file": "appliance.toml",
    "default": "Default",
}


async def show_settings(request: web.Request) -> web.StreamResponse:
    """GET /dashboard/settings"""
    shared = services(request)
    parts = await check_parts(shared)
    context = {
        "settings": [_row(setting) for setting in shared.settings],
        "changed": sum(setting.source != "default" for setting in shared.settings),
        "parts": [
            {"name": name, "ok": part["ok"], "detail": words.plain(part["detail"])}
            for name, part in parts.items()
        ],
        "presets": list(shared.presets),
    }
    return render_panels(request, "settings", context)


def _row(setting: InForce) -> dict[str, Any]:
    if setting.secret:
        shown = "set" if setting.is_set else "not set"
    else:
        shown = "unset" if setting.value is None else words.plain(setting.value)
    return {
        "variable": setting.variable,
        "shown": shown,
        "is_value": setting.value is not None,
        "given": setting.source != "default",
        "source": _SOURCES[setting.source],
        "meaning": setting.meaning.replace("`", ""),
    }
