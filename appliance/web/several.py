"""What people do to several of their uploads at once: POST /jobs/delete and POST /jobs/links.

Both take the uploads that are ticked on the upload page, as JSON or as its form. `GET /archive`
(`archives`) takes the same form. They are for one's own jobs alone, whatever one's role: an admin
reviews those of others one by one, or as dead letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiDict

from appliance.database import job_reads, lifecycle
from appliance.errors import BadRequest, IllegalMove, NotFound
from appliance.ids import is_id
from appliance.jobs import Job
from appliance.web import forms, words
from appliance.web.documents import DeletedJobs, ShareLinks
from appliance.web.files import check_originals
from appliance.web.problems import wants_page
from appliance.web.representation import json_response
from appliance.web.services import services, user
from appliance.web.share_links import DEFAULT_S, check_time, links_page, make_links
from appliance.web.templates import render_page

MOST_JOBS = 200


class Deleting(msgspec.Struct, forbid_unknown_fields=True):
    """`sure`: a form without it is answered with the question; a program means what it says."""

    jobs: tuple[str, ...]
    sure: bool = False


class Sharing(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Of each its original."""

    jobs: tuple[str, ...]
    expires_in_s: float = DEFAULT_S


async def find_jobs(request: web.Request, ids: Sequence[str], *, owner: str | None) -> list[Job]:
    """The jobs with these ids, in their order; those of `owner`, where one is given.

    Raises BadRequest for none, for too many and for what is no id, NotFound.
    """
    ids = list(dict.fromkeys(ids))
    if not 1 <= len(ids) <= MOST_JOBS or not all(map(is_id, ids)):
        raise BadRequest(f"Choose 1 to {MOST_JOBS} uploads, by the ids of their jobs.")
    found = await services(request).database.read(job_reads.by_ids(ids))
    jobs = {job.id: job for job in found if owner in (None, job.owner)}
    if len(jobs) < len(ids):
        raise NotFound("One of these jobs is not there, or is not yours.")
    return [jobs[job_id] for job_id in ids]


async def delete_jobs(request: web.Request) -> web.StreamResponse:
    """POST /jobs/delete: all of them, or none where one is still being worked on."""
    asked, owner = await forms.read(request), user(request).owner
    wanted = asked.to(Deleting, shape=_to_delete)
    jobs = await find_jobs(request, wanted.jobs, owner=owner)
    pinned = await services(request).database.read(lifecycle.pinned([job.id for job in jobs]))
    if pinned:
        raise IllegalMove(
            f"{words.count(len(pinned), 'upload')} of these {len(jobs)} must be kept: "
            f"{pinned[0].reason} Leave it out. Nothing was deleted."
        )
    busy = [job for job in jobs if "delete" not in job.status.possible]
    if busy:
        raise IllegalMove(
            f"{words.count(len(busy), 'upload')} of these {len(jobs)} cannot be deleted yet: "
            "cancel what is being worked on first, or leave it out. Nothing was deleted.",
            jobStatus=busy[0].status.value,
            possible=list(busy[0].status.possible),
        )
    if asked.form is not None and wants_page(request) and not wanted.sure:
        return render_page(request, "delete_jobs.html", {"jobs": jobs})
    for job in jobs:
        await services(request).acts.delete(job.id, actor=owner, audited=False)
    return forms.answer(request, asked, DeletedJobs(deleted=[job.id for job in jobs]))


async def share_jobs(request: web.Request) -> web.StreamResponse:
    """POST /jobs/links: a link to the original of each."""
    asked = await forms.read(request)
    wanted = asked.to(Sharing, shape=_to_share)
    check_time(wanted.expires_in_s)
    jobs = await find_jobs(request, wanted.jobs, owner=user(request).owner)
    check_originals(jobs)
    made = await make_links(request, jobs, expires_in_s=wanted.expires_in_s)
    if asked.form is not None and wants_page(request):
        return links_page(request, made)
    document = ShareLinks(links=made)
    return json_response(document, status=201, headers={"Cache-Control": "no-store"})


def _to_share(form: MultiDict[str]) -> Mapping[str, Any]:
    """Each box that is ticked is a field `job`, as `GET /archive` takes it."""
    document: dict[str, Any] = {name: value for name, value in form.items() if name != "job"}
    return {**document, "jobs": form.getall("job", [])}


def _to_delete(form: MultiDict[str]) -> Mapping[str, Any]:
    """Of the page's form, which says for how long links are good, whichever button is pressed."""
    return {name: value for name, value in _to_share(form).items() if name != "expiresInS"}
