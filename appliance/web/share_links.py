"""Links to one file of a job, for people with no account: POST and DELETE /jobs/{jobId}/links, and
GET /s/{jobId}/{name}.

A link says what it is good for, and a signature (HMAC-SHA256) makes it so; none is stored. All
links of a job end together: their number is signed too. They end with the job, and with the key or
the person whose job it is; what the virus scanner holds back they do not give.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote, urlencode

import msgspec
from aiohttp import web

from appliance.clock import rfc3339
from appliance.database import audit, job_reads, keys, links
from appliance.database.protocol import Transaction
from appliance.errors import BadRequest, LinkEnded, NotFound
from appliance.ids import is_id
from appliance.jobs import Job
from appliance.keys import new_token
from appliance.web import forms
from appliance.web.documents import ShareLinkDocument
from appliance.web.files import ORIGINAL, check_unlocked, file_of, find_job, send_file
from appliance.web.problems import wants_page
from appliance.web.representation import json_response
from appliance.web.services import Services, services, user
from appliance.web.templates import render_page

DEFAULT_S = 7 * 24 * 3600.0
LONGEST_S = 30 * 24 * 3600.0
PERIODS = {"86400": "for a day", "604800": "for a week", "2592000": "for 30 days"}
"""What the forms offer."""
SECRET = "share links"  # noqa: S105  its name
NOT_VALID = "This link is not valid. It may have been cut; ask for it again."


class NewLink(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """`file`: `original` or the name of a result."""

    file: str = ORIGINAL
    expires_in_s: float = DEFAULT_S
    download: bool = False


async def create_link(request: web.Request) -> web.StreamResponse:
    """POST /jobs/{jobId}/links"""
    job = await find_job(request)
    asked = await forms.read(request)
    wanted = asked.to(NewLink) if asked.data.strip() else NewLink()
    check_time(wanted.expires_in_s)
    (made,) = await make_links(
        request,
        [job],
        file=wanted.file,
        expires_in_s=wanted.expires_in_s,
        download=wanted.download,
    )
    if asked.form is not None and wants_page(request):
        return links_page(request, [made])
    return json_response(made, status=201, headers={"Cache-Control": "no-store"})


def check_time(expires_in_s: float) -> None:
    """Raises BadRequest."""
    if not math.isfinite(expires_in_s) or not 0 < expires_in_s <= LONGEST_S:
        raise BadRequest("expiresInS is a number of seconds, above 0, at most 30 days.")


async def make_links(
    request: web.Request,
    jobs: Sequence[Job],
    *,
    expires_in_s: float,
    file: str = ORIGINAL,
    download: bool = False,
) -> list[ShareLinkDocument]:
    """A link for each. Raises NotFound where there is no such file."""
    shared = services(request)
    for job in jobs:
        file_of(job, file)
    until = math.ceil(shared.clock.now() + expires_in_s)

    def signing() -> Transaction[list[str | None]]:
        signed = []
        for job in jobs:
            signed.append((yield from _signature(job.id, file, until)))
        return signed

    signatures = await shared.database.read(signing())
    if None in signatures:  # the first link of all
        await shared.database.write(links.keep_secret(SECRET, new_token() + new_token()))
        signatures = await shared.database.read(signing())
    made = []
    for job, signed in zip(jobs, signatures, strict=True):
        if signed is None:
            raise NotFound("There is no such job any more, or it is not yours.")
        query: dict[str, object] = {"until": until, "signature": signed}
        if download:
            query["download"] = 1
        url = f"{shared.public_url}/s/{job.id}/{quote(file, safe='')}?{urlencode(query)}"
        made.append(
            ShareLinkDocument(
                jobId=job.id,
                filename=job.filename,
                url=url,
                expiresAt=rfc3339(until),
                file=file,
            )
        )
    return made


def links_page(request: web.Request, made: Sequence[ShareLinkDocument]) -> web.Response:
    """For who asked by a form: the addresses, to be copied."""
    return render_page(request, "shared.html", {"made": made}, status=201)


async def end_links(request: web.Request) -> web.StreamResponse:
    """DELETE /jobs/{jobId}/links: all that were made so far are good for nothing any more."""
    shared, asking = services(request), user(request)
    job = await find_job(request)

    def ending() -> Transaction[None]:
        yield from links.end_of(job.id)
        if job.owner != asking.owner:
            yield from audit.add(
                actor=asking.owner, action="links.end", subject=job.id, now=shared.clock.now()
            )

    await shared.database.write(ending())
    return web.Response(status=204)


async def get_shared(request: web.Request) -> web.StreamResponse:
    """GET /s/{jobId}/{name}"""
    shared, name = services(request), request.match_info["name"]
    job_id, until = request.match_info["job_id"], request.query.get("until", "")
    signature = request.query.get("signature", "")
    if not is_id(job_id) or not until.isascii() or not until.isdigit() or len(until) > 12:
        raise NotFound(NOT_VALID)
    expected = await shared.database.read(_signature(job_id, name, int(until)))
    if expected is None or not hmac.compare_digest(expected.encode(), signature.encode()):
        raise NotFound(NOT_VALID)
    job = await shared.database.read(_shared_job(shared, job_id))
    if job is None or int(until) <= shared.clock.now():
        raise LinkEnded("This link is not good any more. Ask for another one.")
    check_unlocked(job, None)
    extra = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    return await send_file(request, job, name, extra=extra)


def _shared_job(shared: Services, job_id: str) -> Transaction[Job | None]:
    """None when whose it is, is not let in any more."""
    job = yield from job_reads.get(job_id)
    if job is None:
        return None
    may = yield from keys.owner_may(job.owner, now=shared.clock.now())
    return job if may else None


def _signature(job_id: str, name: str, until: int) -> Transaction[str | None]:
    """None: there is no such job, or nothing was ever signed."""
    ended = yield from links.ended_of(job_id)
    secret = yield from links.secret(SECRET)
    if ended is None or secret is None:
        return None
    said = msgspec.json.encode([job_id, name, until, ended])
    return hmac.new(secret.encode(), said, sha256).hexdigest()[:40]
