"""Who sends files by an upload link: GET and POST /u/{token}.

The token in the address is all that a guest has, and all that it takes; no cookie is looked at, so
no other site can act in anybody's name. A guest sees what the link is good for and what became of
the sending, and nothing of the jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from appliance.database import links
from appliance.errors import ApplianceError, BadRequest, LinkEnded, NoFile, NotFound
from appliance.intake import filetypes
from appliance.intake.receiver import Reception, Repeatable, Taken
from appliance.jobs import Job
from appliance.keys import hash_secret
from appliance.links import UploadLink
from appliance.uploads import JobOptions
from appliance.web import bodies
from appliance.web.documents import ReceivedFile, ReceivedFiles
from appliance.web.guesses import Guess
from appliance.web.multipart import MultipartReader
from appliance.web.problems import wants_page
from appliance.web.representation import json_response
from appliance.web.services import count_received, services
from appliance.web.templates import render_page
from appliance.web.uploads import add_file, announced_raw, check_can_be_received

UNKNOWN = "This link is not valid. It may have been cut; ask for it again."


async def show_guest_page(request: web.Request) -> web.StreamResponse:
    """GET /u/{token}"""
    link = await _link(request)
    return await _page(request, link)


async def receive(request: web.Request) -> web.StreamResponse:
    """POST /u/{token}: a form with parts `file`, or a raw body with `?filename=`; 202."""
    shared = services(request)
    link = await _link(request)
    await shared.database.read(links.check_open(link, now=shared.clock.now()))
    await shared.rate_limits.take_upload(request, f"link:{link.id}")
    check_can_be_received(request)
    try:
        async with shared.receiver.for_link(link).begin(link.owner) as reception:
            taken = await _receive(request, reception, link)
    except ApplianceError as error:
        shared.metrics.uploads_refused.labels(error.code).inc()
        if wants_page(request):
            return await _page(request, link, error=error)
        raise
    for job in taken.jobs:
        count_received(request, job)
    if wants_page(request):
        return await _page(request, await _link(request), received=taken)
    return json_response(ReceivedFiles(received=[_said(job) for job in taken.jobs]), status=202)


async def _receive(request: web.Request, reception: Reception, link: UploadLink) -> Taken:
    if request.content_type == "multipart/form-data":
        reader = MultipartReader(request.headers["Content-Type"], bodies.stream(request))
        await reception.check_room(request.content_length or 0)
        async for part in reader.parts():
            if part.name != "file":
                raise BadRequest("Files go into parts named `file`; nothing else is read here.")
            if reception.count >= link.left:
                raise LinkEnded(f"By this link may come {link.left} more, and you sent more.")
            await add_file(part, reception)
        if reception.count == 0:
            raise NoFile("Choose a file first.")
    else:
        await reception.add(announced_raw(request), bodies.stream(request))
    options = JobOptions(preset=link.preset, metadata={"uploadLink": link.id})
    return await reception.finish(options, Repeatable())


async def _link(request: web.Request) -> UploadLink:
    """Of the address. Who tries addresses is slowed down. Raises NotFound, TooManyAttempts."""
    shared, token = services(request), request.match_info["token"]
    guess = Guess.of_link(request.remote, token)

    async def found() -> UploadLink | None:
        return await shared.database.read(links.by_token(hash_secret(token)))

    link = await shared.guesses.look_up(guess, found)
    if link is None:
        raise NotFound(UNKNOWN)
    return link


async def _page(
    request: web.Request,
    link: UploadLink,
    *,
    received: Taken | None = None,
    error: ApplianceError | None = None,
) -> web.Response:
    shared, ended = services(request), None
    try:
        await shared.database.read(links.check_open(link, now=shared.clock.now()))
    except LinkEnded as reason:
        ended = reason.detail
    limits = shared.admission.limits
    types = link.types or limits.allowed_types
    most = limits.max_upload_bytes
    context: Mapping[str, Any] = {
        "link": link,
        "ended": None if received is not None and not link.left else ended,
        "error": None if error is None else error.detail,
        "received": [] if received is None else [_said(job) for job in received.jobs],
        "max_bytes": most if link.max_bytes is None else min(most, link.max_bytes),
        "types": filetypes.labels(types),
        "accept": filetypes.accept_attribute(types),
    }
    status = 202 if received is not None else error.status if error is not None else 200
    if ended is not None and received is None:
        status = LinkEnded.status
    response = render_page(request, "guest.html", context, status=status)
    response.headers["Referrer-Policy"] = "no-referrer"  # the address is the key
    response.headers["X-Robots-Tag"] = "noindex"
    return response


def _said(job: Job) -> ReceivedFile:
    """What a guest hears of a file that was taken."""
    return {
        "filename": job.filename,
        "contentType": job.content_type,
        "sizeBytes": job.size_bytes,
        "sha256": job.sha256,
    }
