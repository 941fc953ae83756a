"""POST /jobs/{jobId}/pin and /unpin: what must not be deleted, by nobody and by no age."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from appliance.web import forms
from appliance.web.representation import pin_document
from appliance.web.services import services, user

LONGEST_REASON = 500


class Pinning(msgspec.Struct, forbid_unknown_fields=True):
    """Why it must be kept, for those who meet the pin."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_REASON)]


async def pin_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/pin"""
    asked = await forms.read(request)
    pin = await services(request).acts.pin(
        request.match_info["job_id"],
        reason=asked.to(Pinning).reason,
        actor=user(request).owner,
    )
    return forms.answer(request, asked, pin_document(pin))


async def unpin_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/unpin"""
    asked = await forms.read_next(request)
    await services(request).acts.unpin(request.match_info["job_id"], actor=user(request).owner)
    return forms.answer(request, asked, None)
