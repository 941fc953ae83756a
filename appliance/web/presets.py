"""GET /presets: what may be asked for."""

from __future__ import annotations

from aiohttp import web

from appliance.web.documents import PresetList
from appliance.web.representation import json_response, preset_document
from appliance.web.services import services


async def list_presets(request: web.Request) -> web.StreamResponse:
    """GET /presets: `default` first, the others by name."""
    found = [preset_document(preset) for preset in services(request).presets]
    return json_response(PresetList(presets=found))
