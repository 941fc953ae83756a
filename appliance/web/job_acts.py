"""What people do to one job: POST /jobs/{jobId}/cancel, /retry, /process and /release, and DELETE.

Its owner may. To the job of somebody else an operator may do what can be taken back, and an admin
all; that is audited, and so is who tries it and may not.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from appliance.errors import NotFound, NotPermitted
from appliance.ids import is_id
from appliance.intake.reruns import Rerun
from appliance.jobs import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from appliance.permissions import Permission, missing
from appliance.web import forms, refusals
from appliance.web.options import preset_name
from appliance.web.repeats import idempotency_key
from appliance.web.representation import job_document
from appliance.web.services import services, user
from appliance.web.status import read_status


async def cancel_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/cancel"""
    asked = await forms.read_next(request)
    audited = await _is_anothers(request, Permission.OPERATE)
    job = await services(request).acts.cancel(
        request.match_info["job_id"], actor=user(request).owner, audited=audited
    )
    return forms.answer(request, asked, job_document(job, user(request).owner))


async def retry_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/retry"""
    asked = await forms.read_next(request)
    audited = await _is_anothers(request, Permission.OPERATE)
    job = await services(request).acts.retry(
        request.match_info["job_id"], actor=user(request).owner, audited=audited
    )
    return forms.answer(request, asked, job_document(job, user(request).owner))


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be made of the file now."""

    preset: str
    priority: Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_PRIORITY)] = DEFAULT_PRIORITY
    once: forms.Once = None


async def process_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/process: a new job on the same original, with a preset."""
    is_anothers = await _is_anothers(request, Permission.OPERATE)
    asked = await forms.read(request)
    wanted = asked.to(Wanted)
    rerun = Rerun(
        job_id=request.match_info["job_id"],
        preset=preset_name(wanted.preset, services(request).presets),
        priority=wanted.priority,
        actor=user(request).owner,
        audited=is_anothers,
        # The same form with another preset is another wish.
        idempotency_key=f"{wanted.once} {wanted.preset}"
        if wanted.once
        else idempotency_key(request),
    )
    job = await services(request).reruns.begin(rerun)
    document = job_document(job, user(request).owner)
    response = forms.answer(request, asked, document, status=202)
    if response.status == 202:
        response.headers["Location"] = document["statusUrl"]
    return response


async def release_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/release"""
    asked = await forms.read_next(request)
    job = await services(request).acts.release(
        request.match_info["job_id"], actor=user(request).owner
    )
    return forms.answer(request, asked, job_document(job, user(request).owner))


async def delete_job(request: web.Request) -> web.StreamResponse:
    """DELETE /jobs/{jobId}"""
    return await _delete(request)


async def delete_job_by_form(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/delete: forms know no DELETE."""
    return await _delete(request)


async def _delete(request: web.Request) -> web.StreamResponse:
    asked = await forms.read_next(request)
    audited = await _is_anothers(request, Permission.ADMINISTER)
    await services(request).acts.delete(
        request.match_info["job_id"], actor=user(request).owner, audited=audited
    )
    return forms.answer(request, asked, None)


async def _is_anothers(request: web.Request, needed: Permission) -> bool:
    """Whether the job is somebody else's; then this takes the permission `needed`.

    Raises NotFound when this user must not know of the job, NotPermitted when he may only see it.
    """
    job_id, asking = request.match_info["job_id"], user(request)
    found = await read_status(services(request), job_id) if is_id(job_id) else None
    if found is not None and (found.owner == asking.owner or asking.may(needed)):
        return found.owner != asking.owner
    if found is not None and asking.may(Permission.READ_ALL):
        raise NotPermitted(missing(needed, asking.role), needed)
    await refusals.record(request, needed)
    raise NotFound("There is no such job, or it is not yours.")
