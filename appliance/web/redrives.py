"""GET /redrives and GET /redrives/{redriveId}: how it goes with what is tried again."""

from __future__ import annotations

from aiohttp import web

from appliance.database import redrives
from appliance.errors import NotFound
from appliance.ids import is_id
from appliance.web import filters, queries
from appliance.web.documents import RedriveList
from appliance.web.representation import json_response, redrive_document
from appliance.web.services import services

RECENT = 20


async def list_redrives(request: web.Request) -> web.StreamResponse:
    """GET /redrives?limit=: newest first."""
    limit = queries.limit(request, RECENT)
    found = await services(request).database.read(redrives.latest(limit=limit))
    return json_response(RedriveList(redrives=[redrive_document(one) for one in found]))


async def get_redrive(request: web.Request) -> web.StreamResponse:
    """GET /redrives/{redriveId}"""
    redrive_id = request.match_info["redrive_id"]
    found = None
    if is_id(redrive_id):
        found = await services(request).database.read(redrives.get(redrive_id))
    if found is None:
        raise NotFound(
            f"There is no redrive {filters.shown(redrive_id)}. They are kept for 30 days after "
            "their end."
        )
    return json_response(redrive_document(found))
