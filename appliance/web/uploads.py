"""POST /upload and PUT /upload/{filename}: files in, 202 out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from appliance.errors import (
    ApplianceError,
    BadRequest,
    ContentEncodingRefused,
    MultipartInvalid,
    NoFile,
    ShuttingDown,
)
from appliance.intake.receiver import Reception, Taken
from appliance.uploads import Announced
from appliance.web import bodies, partial_upload
from appliance.web.documents import Jobs
from appliance.web.multipart import MultipartReader, Part
from appliance.web.options import OPTIONS, job_options
from appliance.web.problems import wants_page
from appliance.web.repeats import repeatable
from appliance.web.representation import job_document, json_response
from appliance.web.services import count_received, services, user

STOPPING = "The server is stopping. Send the file again in a moment."

Receive = Callable[[web.Request, Reception], Awaitable[Taken]]


async def post_upload(request: web.Request) -> web.StreamResponse:
    """POST /upload: multipart/form-data with parts `file`, or a raw body with `?filename=`; with
    `Upload-Complete` that of an upload which may be resumed."""
    await _take(request)
    if _resumable(request):
        return await partial_upload.create(request)
    if request.content_type == "multipart/form-data":
        return await _counted(request, _receive_multipart)
    if request.content_type == "application/x-www-form-urlencoded" and not request.query:
        # What `curl -d` and a form without enctype send: never a file that somebody meant.
        raise NoFile("Send multipart/form-data with a part named `file`, or a raw body.")
    return await _counted(request, _receive_raw)


async def put_upload(request: web.Request) -> web.StreamResponse:
    """PUT /upload/{filename}: a raw body, as `curl -T` sends it; one that may be resumed too."""
    await _take(request)
    if _resumable(request):
        return await partial_upload.create(request)
    return await _counted(request, _receive_raw)


async def receive_form(request: web.Request) -> web.StreamResponse:
    """The files of a form, whole."""
    await _take(request)
    return await _counted(request, _receive_multipart)


async def _take(request: web.Request) -> None:
    """One upload of those that the owner may begin. Raises RateLimited."""
    await services(request).rate_limits.take_upload(request, user(request).owner)


async def options(request: web.Request) -> web.StreamResponse:
    """OPTIONS /upload: that uploads may be resumed here, and their limits."""
    return _options(request, "POST, OPTIONS")


async def put_options(request: web.Request) -> web.StreamResponse:
    """OPTIONS /upload/{filename}"""
    return _options(request, "PUT, OPTIONS")


def _options(request: web.Request, methods: str) -> web.StreamResponse:
    found = services(request).uploads
    headers = {} if found is None else partial_upload.abilities(found)
    return web.Response(status=204, headers={"Allow": methods, **headers})


def _resumable(request: web.Request) -> bool:
    """Whether the body is of an upload that may be resumed.

    A form is taken as ever: who sends it whole must expect that ("Upgrading To Resumable
    Uploads").
    """
    if services(request).uploads is None or not partial_upload.speaks(request):
        return False
    if services(request).stopping.is_set():
        raise ShuttingDown(STOPPING)
    if request.content_type != "multipart/form-data":
        return True
    if partial_upload.sends_a_part(request):
        raise BadRequest("A form cannot be sent in parts. Send each file as a raw body.")
    return False


async def _counted(request: web.Request, receive: Receive) -> web.StreamResponse:
    metrics = services(request).metrics
    async with services(request).receiver.begin(user(request).owner) as reception:
        try:
            check_can_be_received(request)
            taken = await receive(request, reception)
        except ApplianceError as error:
            metrics.uploads_refused.labels(error.code).inc()
            raise
    if taken.how == "new":
        for job in taken.jobs:
            count_received(request, job)
    response = _answer(request, taken)
    bodies.leave(request, response)  # of one that is known by its digest
    return response


def check_can_be_received(request: web.Request) -> None:
    """Raises ShuttingDown, ContentEncodingRefused."""
    if services(request).stopping.is_set():
        raise ShuttingDown(STOPPING)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ContentEncodingRefused("Send the file as it is, without Content-Encoding.")


def _answer(request: web.Request, taken: Taken) -> web.Response:
    if wants_page(request):
        return web.Response(status=303, headers={"Location": "/"})
    status = 200 if taken.how == "known" else 202
    documents = [job_document(job, user(request).owner) for job in taken.jobs]
    if len(documents) > 1:
        return json_response(Jobs(jobs=documents), status=status)
    headers = {"Location": documents[0]["statusUrl"]}
    return json_response(documents[0], status=status, headers=headers)


def announced_raw(request: web.Request) -> Announced:
    """What the head of a request says of the file that is its body."""
    return Announced(
        filename=request.match_info.get("filename") or request.query.get("filename"),
        content_type=request.headers.get("Content-Type"),
        size_bytes=request.content_length,
        sha256=_declared_sha256(request.headers),
    )


async def _receive_raw(request: web.Request, reception: Reception) -> Taken:
    announced = announced_raw(request)
    options = job_options(request.query, services(request))
    again = repeatable(request)
    known = await reception.known(announced, options, again)
    if known is not None:
        return known
    await reception.add(announced, bodies.stream(request))
    return await reception.finish(options, again)


async def _receive_multipart(request: web.Request, reception: Reception) -> Taken:
    again = repeatable(request)
    body = bodies.with_digest(
        bodies.stream(request), bodies.declared_sha256(request.headers.get("Content-Digest"))
    )
    reader = MultipartReader(request.headers["Content-Type"], body)
    await reception.check_room(request.content_length or 0)
    fields = {name: request.query[name] for name in OPTIONS if name in request.query}
    async for part in reader.parts():
        if part.name == "file":
            if reception.count:
                await _take(request)  # the first is counted with the request
            await add_file(part, reception)
        elif part.name in OPTIONS:
            fields[part.name] = await part.text()
        else:
            raise BadRequest(
                f"The field {part.name!r} is not known. Files go into parts named `file`; the "
                f"fields are {', '.join(sorted(OPTIONS))}."
            )
    if reception.count == 0:
        raise NoFile(
            "No file came with it. Choose one, or share it again; a program sends each in a part "
            "named `file`."
        )
    return await reception.finish(job_options(fields, services(request)), again)


async def add_file(part: Part, reception: Reception) -> None:
    if not part.filename:
        async for _ in part.body():
            raise MultipartInvalid("The part `file` has no file name: send it as a file.")
        return  # no name and no byte: what a browser sends for a file input left empty
    announced = Announced(
        filename=part.filename,
        content_type=part.content_type,
        sha256=_declared_sha256(part.headers),
    )
    await reception.add(announced, part.body())


def _declared_sha256(headers: Mapping[str, str]) -> str | None:
    """Of one file: its body is not encoded, so the two fields mean the same (RFC 9530)."""
    declared = {
        bodies.declared_sha256(headers.get("repr-digest")),
        bodies.declared_sha256(headers.get("content-digest")),
    } - {None}
    if len(declared) > 1:
        raise BadRequest("Repr-Digest and Content-Digest contradict each other.")
    return declared.pop() if declared else None
