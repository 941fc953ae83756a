"""GET /jobs/{jobId}/files/{name}: the original or a result, whole or a range of it.

What is served was sent by strangers, so a browser is told exactly what it is and to run none
of it: `nosniff`, a sandboxing policy, and as a download unless it is a picture, video or text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Literal
from urllib.parse import quote

from aiohttp import web

from appliance.clock import day
from appliance.database import job_reads, scrub
from appliance.errors import (
    FileExpired,
    NotFound,
    ObjectDamaged,
    ObjectMissing,
    Quarantined,
    RangeNotSatisfiable,
)
from appliance.ids import is_id
from appliance.jobs import Job, ResultFile
from appliance.permissions import Permission
from appliance.principals import Principal
from appliance.storage.verified import read_verified
from appliance.web import bodies
from appliance.web.redirects import elsewhere
from appliance.web.representation import is_known
from appliance.web.services import Services, services, user

ORIGINAL = "original"

_SHOWN_INLINE = frozenset(
    {
        "image/webp", "image/jpeg", "image/png", "image/gif", "image/avif", "video/mp4",
        "video/webm", "audio/mpeg", "audio/mp4", "audio/ogg", "audio/wav", "audio/flac",
        "text/plain", "application/pdf",
    }
)  # fmt: skip


async def get_file(request: web.Request) -> web.StreamResponse:
    job = await find_job(request)
    check_unlocked(job, user(request))
    return await send_file(request, job, request.match_info["name"])


def check_unlocked(job: Job, asking: Principal | None) -> None:
    """Whether `asking` may have the bytes as far as the virus scanner goes; None: somebody with a
    link. Raises Quarantined."""
    if asking is not None and asking.may(Permission.ADMINISTER):
        return
    if job.scan.locks_away:
        raise Quarantined(
            f"The virus scanner found {job.scan.reason} in this file. Whoever runs this server can "
            "release it."
        )
    if job.scan.is_awaited and (asking is None or asking.owner != job.owner):
        raise Quarantined(
            "This file has still to be scanned for viruses. Until then only its owner has it; come "
            "back in a while."
        )


async def find_job(request: web.Request) -> Job:
    """The job of the path, if whoever asks may see it. Raises NotFound."""
    job_id, scope = request.match_info["job_id"], user(request).sees_only
    read = services(request).database.read
    job = await read(job_reads.get(job_id)) if is_id(job_id) else None
    if job is None or (scope is not None and job.owner != scope):
        raise NotFound("There is no such job, or it is not yours.")
    return job


def file_of(job: Job, name: str) -> ResultFile:
    """The original or a result. Raises NotFound, FileExpired."""
    return _original(job) if name == ORIGINAL else _result(job, name)


async def check_sound(shared: Services, files: Sequence[ResultFile]) -> None:
    """Raises ObjectDamaged when the scrubber found one of them to be another than was stored."""
    damaged = await shared.database.read(scrub.damaged_among(file.storage_key for file in files))
    for file in files:
        if damaged.get(file.storage_key, "not known") is None:
            raise ObjectDamaged(
                f"{file.name} was damaged where it is stored. Whoever runs this server can restore "
                "it from a backup."
            )


async def send_file(
    request: web.Request, job: Job, name: str, *, extra: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """One file of a job that may be seen, whole or a range of it; `extra`: further headers."""
    shared, file = services(request), file_of(job, name)
    headers = {
        **(extra or {}),
        "ETag": f'"{file.sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": _disposition(request, job, file, name),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
    }
    if file.content_type == "application/pdf":
        # Chromium's viewer does not start in a sandboxed document; it runs no page script.
        del headers["Content-Security-Policy"]
    await check_sound(shared, [file])
    if is_known(request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)

    if extra is None:  # a link to share says each time whether it still is good
        redirected = await elsewhere(request, job, file, disposition=headers["Content-Disposition"])
        if redirected is not None:
            return redirected
    wanted = _range(request, file, headers["ETag"])
    start, end = wanted or (0, file.size_bytes)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    response = web.StreamResponse(status=200 if wanted is None else 206, headers=headers)
    response.content_type = file.content_type
    if file.content_type.startswith("text/"):
        response.charset = "utf-8"
    response.content_length = end - start
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    if wanted is None:
        pieces = read_verified(shared.storage, file)
    else:
        pieces = shared.storage.read(
            file.storage_key, start=start, length=end - start, size_bytes=file.size_bytes
        )
    async with aclosing(pieces):
        try:
            first = await anext(pieces, b"")  # a missing object is told before the head goes out
        except ObjectMissing:
            await _check_listed(shared, job.id, name)
            raise
        await response.prepare(request)
        await bodies.send(request, response, first)
        async for piece in pieces:
            await bodies.send(request, response, piece)
    await response.write_eof()
    return response


async def _check_listed(shared: Services, job_id: str, name: str) -> None:
    """Raises NotFound when the file has just gone with its job, or with the attempt that made it:
    then it is not missing."""
    job = await shared.database.read(job_reads.get(job_id))
    if job is None:
        raise NotFound("There is no such job, or it is not yours.")
    if name != ORIGINAL:
        _result(job, name)


def _original(job: Job) -> ResultFile:
    if job.original_expired_at is not None:
        raise FileExpired(
            f"The original of {job.filename} was deleted on {day(job.original_expired_at)}, by its "
            "age. Its results are still here."
        )
    return ResultFile(
        name=job.filename,
        content_type=job.content_type,
        size_bytes=job.size_bytes,
        sha256=job.sha256,
        storage_key=job.storage_key,
    )


def _result(job: Job, name: str) -> ResultFile:
    for file in job.files:
        if file.name == name:
            return file
    if job.files_left == ORIGINAL:
        raise FileExpired(
            "The results of this job were deleted by their age. Its original is still here: "
            "process it again to have them anew."
        )
    raise NotFound("This job has no such file. Its files are listed in GET /status/{jobId}.")


def _disposition(request: web.Request, job: Job, file: ResultFile, name: str) -> str:
    inline = (
        file.content_type in _SHOWN_INLINE
        and request.query.get("download") != "1"
        and not job.scan.locks_away
    )
    shown = file.name
    if name != ORIGINAL:
        shown = f"{job.filename.rpartition('.')[0] or job.filename}-{file.name}"
    return disposition("inline" if inline else "attachment", shown)


def disposition(kind: Literal["inline", "attachment"], filename: str) -> str:
    """RFC 6266, with the name in ASCII for old clients and in UTF-8 (RFC 8187) for the others."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", filename)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _range(request: web.Request, file: ResultFile, etag: str) -> tuple[int, int] | None:
    """First byte and the one after the last, of RFC 9110's `Range`; None for the whole file.

    Several ranges, other units and a range whose `If-Range` is out of date get the whole file,
    which section 14.2 allows. Raises RangeNotSatisfiable.
    """
    if_range = request.headers.get("If-Range")
    match = re.fullmatch(
        r"bytes=([0-9]{0,30})-([0-9]{0,30})", request.headers.get("Range", "").strip()
    )
    if match is None or match[0] == "bytes=-" or (if_range is not None and if_range != etag):
        return None
    if not match[1]:
        start, end = max(0, file.size_bytes - int(match[2])), file.size_bytes
    else:
        start = int(match[1])
        end = min(int(match[2]) + 1, file.size_bytes) if match[2] else file.size_bytes
        if match[2] and int(match[2]) < start:
            return None  # not a valid range: to be ignored
    if start >= end:
        raise RangeNotSatisfiable(
            f"The file has {file.size_bytes} bytes.", sizeBytes=file.size_bytes
        )
    return start, end
