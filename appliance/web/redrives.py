"""Redrives: how it goes with what is tried again, and stopping it."""

from __future__ import annotations

from aiohttp import web

from appliance.database import redrives
from appliance.errors import NotFound
from appliance.ids import is_id
from appliance.web import filters, forms, queries
from appliance.web.documents import RedriveList
from appliance.web.representation import json_response, redrive_document
from appliance.web.services import services, user

RECENT = 20


async def list_redrives(request: web.Request) -> web.StreamResponse:
    """GET /redrives?limit=&cursor=: newest first."""
    limit, cursor = queries.limit(request, RECENT), queries.id_cursor(request)
    found = await services(request).database.read(redrives.latest(limit=limit + 1, before=cursor))
    page = found[:limit]
    return json_response(
        RedriveList(
            redrives=[redrive_document(redrive) for redrive in page],
            nextCursor=page[-1].id if len(found) > limit else None,
        )
    )


async def get_redrive(request: web.Request) -> web.StreamResponse:
    """GET /redrives/{redriveId}"""
    redrive_id = _redrive_id(request)
    found = await services(request).database.read(redrives.get(redrive_id))
    if found is None:
        raise _no_such(redrive_id)
    return json_response(redrive_document(found))


async def stop_redrive(request: web.Request) -> web.StreamResponse:
    """POST /redrives/{redriveId}/stop"""
    asked = await forms.read_next(request)
    redrive = await services(request).acts.stop_redrive(
        _redrive_id(request), actor=user(request).owner
    )
    return forms.answer(request, asked, redrive_document(redrive))


def _redrive_id(request: web.Request) -> str:
    redrive_id = request.match_info["redrive_id"]
    if not is_id(redrive_id):
        raise _no_such(redrive_id)
    return redrive_id


def _no_such(redrive_id: str) -> NotFound:
    return NotFound(
        f"There is no redrive {filters.shown(redrive_id)}. They are kept for 30 days after their "
        "end."
    )
