"""Files as one ZIP: GET /jobs/{jobId}/archive, and GET /archive?job=…&job=… for several jobs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import quote

from aiohttp import web

from appliance.database import job_reads
from appliance.errors import BadRequest, NotFound, Quarantined
from appliance.ids import is_id
from appliance.jobs import Job, ResultFile
from appliance.permissions import Permission
from appliance.web import bodies
from appliance.web.files import ORIGINAL, file_of, find_job
from appliance.web.services import services, user
from appliance.web.zips import Entry, archive, length_of, safe_names

MOST_JOBS = 200


async def get_job_archive(request: web.Request) -> web.StreamResponse:
    """GET /jobs/{jobId}/archive: the original and all results."""
    job = await find_job(request)
    if _is_locked(request, job):
        raise Quarantined("The virus scanner found something in this file; it is locked away.")
    names = safe_names([job.filename, *(file.name for file in job.files)])
    files = [file_of(job, ORIGINAL), *job.files]
    entries = _entries(request, [(job, file) for file in files], names)
    return await _send(request, entries, f"{_stem(job)}.zip")


async def get_archive(request: web.Request) -> web.StreamResponse:
    """GET /archive?job=…: the originals of several jobs, without those that are locked away."""
    ids = list(dict.fromkeys(request.query.getall("job", ())))
    if not 1 <= len(ids) <= MOST_JOBS or not all(map(is_id, ids)):
        raise BadRequest(f"job is the id of a job, given 1 to {MOST_JOBS} times.")
    scope = user(request).sees_only
    found = await services(request).database.read(job_reads.by_ids(ids))
    jobs = {job.id: job for job in found if scope in (None, job.owner)}
    if len(jobs) < len(ids):
        raise NotFound("One of these jobs is not there, or is not yours.")
    open_ones = [jobs[job_id] for job_id in ids if not _is_locked(request, jobs[job_id])]
    if not open_ones:
        raise Quarantined("The virus scanner found something in these files; they are locked away.")
    files = [(job, file_of(job, ORIGINAL)) for job in open_ones]
    entries = _entries(request, files, safe_names([job.filename for job in open_ones]))
    return await _send(request, entries, "files.zip")


def _is_locked(request: web.Request, job: Job) -> bool:
    return job.scan.locks_away and not user(request).may(Permission.ADMINISTER)


def _entries(
    request: web.Request, files: Sequence[tuple[Job, ResultFile]], names: Sequence[str]
) -> list[Entry]:
    read = services(request).storage.read
    return [
        Entry(
            name=name,
            size_bytes=file.size_bytes,
            modified_at=job.finished_at or job.created_at,
            read=lambda key=file.storage_key: read(key),  # type: ignore[misc]
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
    plain = filename.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    response = web.StreamResponse(
        headers={
            "Content-Disposition": f'attachment; filename="{plain}"; '
            f"filename*=UTF-8''{quote(filename, safe='')}",
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
