"""GET /usage: what one has here, and how much one may."""

from __future__ import annotations

from aiohttp import web

from appliance.web.representation import json_response, usage_document
from appliance.web.services import services, user


async def get_usage(request: web.Request) -> web.StreamResponse:
    """GET /usage: of who asks."""
    shared = services(request)
    standing = await shared.admission.standing(user(request).owner)
    return json_response(usage_document(standing, shared.admission.limits))
