"""The operations that bring files in."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required, TypedDict

from msgspec import Meta

from appliance import errors
from appliance.jobs import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from appliance.web import partial_upload, resumable, tus, uploads
from appliance.web.documents import JobDocument, Jobs
from appliance.web.openapi.fields import (
    CONTENT_DIGEST,
    IDEMPOTENCY_KEY,
    INTEROP_VERSION,
    REPR_DIGEST,
    TUS_RESUMABLE,
    UPLOAD_CHECKSUM,
    UPLOAD_COMPLETE,
    UPLOAD_LENGTH,
    UPLOAD_OFFSET,
)
from appliance.web.openapi.operation import (
    Answer,
    Body,
    Bytes,
    Flag,
    Group,
    Operation,
    Parameter,
    Refusals,
)

Priority = Annotated[
    int, Meta(ge=0, le=HIGHEST_PRIORITY, extra_json_schema={"default": DEFAULT_PRIORITY})
]


class UploadForm(TypedDict, total=False):
    file: Required[list[Bytes]]
    preset: str
    priority: Priority
    metadata: Annotated[str, Meta(description="A JSON object.")]
    callbackUrl: Annotated[str, Meta(description="Told once of the end of the job.")]


PRESET = Parameter("preset", str, "What is made of the file: a name of `GET /presets`.")
PRIORITY = Parameter("priority", Priority, "Larger goes first within its type.")
METADATA = Parameter("metadata", str, "A JSON object of yours; the job carries it.")
DEDUPE = Parameter("dedupe", Flag, "`1`: known content is answered with its results.")
FILENAME = Parameter("filename", str, "The file's name, where the body is the file.")
CALLBACK = Parameter("callbackUrl", str, "Is told once of the end of the job.")
OPTIONS = (PRESET, PRIORITY, METADATA, CALLBACK, DEDUPE)
RAW = "application/octet-stream"

TAKING: Refusals = (
    errors.BadRequest,
    errors.EmptyFile,
    errors.IncompleteBody,
    errors.DigestMismatch,
    errors.IdempotencyConflict,
    errors.QuotaExceeded,
    errors.FileTooLarge,
    errors.FileTypeRefused,
    errors.FileTypeMismatch,
    errors.ContentEncodingRefused,
    errors.ObjectMissing,
    errors.ObjectDamaged,
    errors.StorageFull,
    errors.StorageUnavailable,
)
APPENDING: Refusals = (
    *TAKING,
    errors.NotFound,
    errors.OffsetMismatch,
    errors.UploadCompleted,
    errors.UploadTakenOver,
    errors.UploadGone,
    errors.LengthMismatch,
    errors.LengthExceeded,
    errors.ChecksumMismatch,
    errors.ContentTypeRefused,
    errors.TusVersionRefused,
    errors.TooManyOpenUploads,
    errors.ResumptionUnsupported,
)
ONE_UPLOAD: Refusals = (
    errors.BadRequest,
    errors.NotFound,
    errors.UploadGone,
    errors.UploadTakenOver,
    errors.TusVersionRefused,
    errors.ResumptionUnsupported,
    errors.StorageUnavailable,
)

_WHOLE = ("Upload-Complete", "Upload-Offset", "Upload-Limit", "Upload-Job-Id", "Link")
_OFFSET = ("Tus-Resumable", "Upload-Offset", "Upload-Expires", "Upload-Complete", "Upload-Length")
_TUS = ("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm")
_RATE = ("RateLimit", "RateLimit-Policy")
_OF_JOB = ("Upload-Job-Id", "Link")


def _taken(document: Any) -> dict[int, Answer]:
    """The answers to a whole file, or to the beginning of one."""
    return {
        200: Answer("A job that is there already (`dedupe`).", document, ("Location", *_RATE)),
        201: Answer("An upload was begun, and goes on at `Location`.", None,
                    ("Location", *_OFFSET, "Upload-Limit", *_OF_JOB, *_RATE)),
        202: Answer("The file and its job are on the disk, synced.", document,
                    ("Location", *_WHOLE, "Repr-Digest", *_RATE)),
    }  # fmt: skip


_REPEATABLE = (IDEMPOTENCY_KEY, REPR_DIGEST, CONTENT_DIGEST)
_PARTIAL = (UPLOAD_COMPLETE, UPLOAD_LENGTH, INTEROP_VERSION)
_ABILITIES = Answer("What is possible here.", None, ("Allow", "Accept-Patch", "Upload-Limit"))
_ALL_ABILITIES = Answer("What is possible here.", None, (*_ABILITIES.headers, *_TUS))
_CANCELLED = Answer("It is gone.", None, ("Tus-Resumable",))
_HOW_FAR = (
    *_OFFSET, "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat", "Upload-Limit", *_OF_JOB,
    "Repr-Digest",
)  # fmt: skip
_APPENDED = {
    202: Answer("The file is complete; the job (IETF's draft).", JobDocument,
                ("Location", *_WHOLE, "Repr-Digest")),
    204: Answer("The bytes are on the disk, synced.", None, (*_OFFSET, "Upload-Limit", *_OF_JOB)),
}  # fmt: skip
_APPEND_HEADERS = (
    TUS_RESUMABLE, UPLOAD_OFFSET, UPLOAD_LENGTH, UPLOAD_CHECKSUM, UPLOAD_COMPLETE, CONTENT_DIGEST,
    INTEROP_VERSION,
)  # fmt: skip
OVERRIDE = Parameter(
    "X-HTTP-Method-Override", Literal["HEAD", "PATCH", "DELETE"], "The method that is meant."
)

UPLOADS = Group(
    "Uploads",
    "Files in, in one request. The answer is 202 with the job once the file is safe.",
    {
        uploads.post_upload: Operation(
            "Take files: a form with parts `file`, or a raw body with `filename`",
            _taken((JobDocument, Jobs)),
            (*APPENDING, errors.MultipartInvalid, errors.NoFile, errors.TooManyParts),
            query=(FILENAME, *OPTIONS),
            headers=(*_REPEATABLE, *_PARTIAL),
            body=Body({"multipart/form-data": UploadForm, RAW: Bytes}),
            curl="-F file=@photo.jpg",
        ),
        uploads.put_upload: Operation(
            "Take a file: a raw body, as `curl -T` sends it",
            _taken(JobDocument),
            APPENDING,
            query=(FILENAME, *OPTIONS),
            headers=(*_REPEATABLE, *_PARTIAL),
            body=Body({RAW: Bytes}),
            curl="-T photo.jpg",
        ),
        uploads.options: Operation("Tell whether uploads can be resumed", {204: _ABILITIES}),
        uploads.put_options: Operation("Tell the same", {204: _ABILITIES}),
    },
)

RESUMABLE = Group(
    "Resumable uploads",
    "Files in, over several requests: tus 1.0.0, or the IETF's Resumable Uploads for HTTP. A "
    "request speaks tus when it has `Tus-Resumable`. In the IETF's draft refusals, too, have "
    "`Upload-Limit` and `Upload-Complete`, and `Location` once an upload was begun.",
    {
        resumable.options: Operation("Tell what is spoken, and the limits", {204: _ALL_ABILITIES}),
        resumable.options_of_upload: Operation("Tell the same", {204: _ALL_ABILITIES}),
        resumable.create: Operation(
            "Begin an upload, with its first bytes if you like",
            _taken(JobDocument),
            (*APPENDING, errors.MethodNotAllowed),
            query=(FILENAME, *OPTIONS),
            headers=(
                TUS_RESUMABLE,
                *_PARTIAL,
                Parameter("Upload-Defer-Length", Literal["1"], "The length comes later (tus)."),
                Parameter("Upload-Metadata", str, "Name, type and options, in base64 (tus)."),
                Parameter("Upload-Concat", str, "`partial`, or `final;` and parts (tus)."),
                UPLOAD_CHECKSUM,
                *_REPEATABLE,
            ),
            body=Body({tus.CONTENT_TYPE: Bytes, RAW: Bytes}, required=False),
            curl='-H "Tus-Resumable: 1.0.0" -H "Upload-Length: 400091"',
        ),
        resumable.head: Operation(
            "Tell how far an upload is",
            {200: Answer("How far it is (tus).", None, _HOW_FAR),
             204: Answer("How far it is (IETF's draft).", None, _HOW_FAR)},
            (*ONE_UPLOAD, errors.MethodNotAllowed),
            headers=(TUS_RESUMABLE, INTEROP_VERSION),
            curl='-H "Tus-Resumable: 1.0.0"',
        ),
        resumable.append: Operation(
            "Go on with an upload",
            {200: Answer("Where `X-HTTP-Method-Override` means HEAD.", None, _HOW_FAR),
             **_APPENDED},
            (*APPENDING, errors.MethodNotAllowed),
            headers=_APPEND_HEADERS,
            body=Body({tus.CONTENT_TYPE: Bytes, partial_upload.CONTENT_TYPE: Bytes},
                      required=False),
            curl='-H "Tus-Resumable: 1.0.0" -H "Upload-Offset: 0" '
            f'-H "Content-Type: {tus.CONTENT_TYPE}" --data-binary @photo.jpg',
        ),
        resumable.terminate: Operation(
            "Cancel an upload",
            {204: _CANCELLED},
            (*ONE_UPLOAD, errors.UploadCompleted, errors.IllegalMove, errors.MethodNotAllowed),
            headers=(TUS_RESUMABLE,),
            curl='-H "Tus-Resumable: 1.0.0"',
        ),
        resumable.post: Operation(
            "Do one of these three, for clients that send POST only",
            {200: Answer("As the method that is meant.", None, _HOW_FAR), **_APPENDED},
            (*APPENDING, errors.IllegalMove, errors.MethodNotAllowed),
            headers=(OVERRIDE, *_APPEND_HEADERS),
            body=Body({tus.CONTENT_TYPE: Bytes, partial_upload.CONTENT_TYPE: Bytes},
                      required=False),
            curl='-H "X-HTTP-Method-Override: HEAD" -H "Tus-Resumable: 1.0.0"',
        ),
    },
)  # fmt: skip
