"""What people do to one job: POST /jobs/{jobId}/cancel, /retry and /release, DELETE /jobs/{jobId}.

Its owner may, and an admin. What an admin does to the job of somebody else is audited.
"""

from __future__ import annotations

from aiohttp import web

from appliance.web import forms
from appliance.web.representation import job_document
from appliance.web.services import services, user
from appliance.web.status import visible_status


async def cancel_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/cancel"""
    asked = await forms.read_next(request)
    job = await services(request).acts.cancel(
        request.match_info["job_id"], actor=user(request).owner, audited=await _is_anothers(request)
    )
    return forms.answer(request, asked, job_document(job))


async def retry_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/retry"""
    asked = await forms.read_next(request)
    job = await services(request).acts.retry(
        request.match_info["job_id"], actor=user(request).owner, audited=await _is_anothers(request)
    )
    return forms.answer(request, asked, job_document(job))


async def release_job(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/release"""
    asked = await forms.read_next(request)
    job = await services(request).acts.release(
        request.match_info["job_id"], actor=user(request).owner
    )
    return forms.answer(request, asked, job_document(job))


async def delete_job(request: web.Request) -> web.StreamResponse:
    """DELETE /jobs/{jobId}"""
    return await _delete(request)


async def delete_job_by_form(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/delete: forms know no DELETE."""
    return await _delete(request)


async def _delete(request: web.Request) -> web.StreamResponse:
    asked = await forms.read_next(request)
    await services(request).acts.delete(
        request.match_info["job_id"], actor=user(request).owner, audited=await _is_anothers(request)
    )
    return forms.answer(request, asked, None)


async def _is_anothers(request: web.Request) -> bool:
    """Whether the job is somebody else's. Raises NotFound when this user must not know of it."""
    return (await visible_status(request)).owner != user(request).owner
