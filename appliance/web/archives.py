"""Files as one ZIP: GET /jobs/{jobId}/archive, and GET /archive?job=…&job=… for several jobs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

from aiohttp import web

from appliance.jobs import Job, ResultFile
from appliance.storage.verified import read_verified
from appliance.web import bodies
from appliance.web.files import (
    ORIGINAL,
    check_sound,
    check_unlocked,
    disposition,
    file_of,
    find_job,
)
from appliance.web.services import services, user
from appliance.web.several import find_jobs
from appliance.web.zips import Entry, archive, length_of, safe_names


async def get_job_archive(request: web.Request) -> web.StreamResponse:
    """GET /jobs/{jobId}/archive: the original and all results, where no age has deleted them."""
    job = await find_job(request)
    check_unlocked(job, user(request))
    original = [] if job.original_expired_at is not None else [file_of(job, ORIGINAL)]
    files = [*original, *job.files]
    names = safe_names([file.name for file in files])
    entries = await _entries(request, [(job, file) for file in files], names)
    return await _send(request, entries, f"{_stem(job)}.zip")


async def get_archive(request: web.Request) -> web.StreamResponse:
    """GET /archive?job=…: the originals of several jobs."""
    ids, scope = request.query.getall("job", ()), user(request).sees_only
    wanted = await find_jobs(request, ids, owner=scope)
    for job in wanted:
        check_unlocked(job, user(request))
    files = [(job, file_of(job, ORIGINAL)) for job in wanted]
    entries = await _entries(request, files, safe_names([job.filename for job in wanted]))
    return await _send(request, entries, "files.zip")


async def _entries(
    request: web.Request, files: Sequence[tuple[Job, ResultFile]], names: Sequence[str]
) -> list[Entry]:
    """Raises ObjectDamaged."""
    shared = services(request)
    await check_sound(shared, [file for _, file in files])
    return [
        Entry(
            name=name,
            size_bytes=file.size_bytes,
            modified_at=job.finished_at or job.created_at,
            read=partial(read_verified, shared.storage, file),
        )
        for (job, file), name in zip(files, names, strict=True)
    ]


async def _send(
    request: web.Request, entries: Sequence[Entry], filename: str
) -> web.StreamResponse:
    """Raises ObjectMissing for a file that is gone, before anything is sent."""
    for entry in entries:
        async with aclosing(entry.read()) as pieces:
            await anext(pieces, b"")
    response = web.StreamResponse(
        headers={
            "Content-Disposition": disposition("attachment", filename),
            "Cache-Control": "private, no-store",
        }
    )
    response.content_type = "application/zip"
    response.content_length = length_of(entries)
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in archive(entries):
            await bodies.send(request, response, piece)
        await response.write_eof()
    return response


def _stem(job: Job) -> str:
    (name,) = safe_names([job.filename])
    return name.rpartition(".")[0] or name
