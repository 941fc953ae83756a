"""Parts of a path, and header fields: named once, since many operations have them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from appliance.web.documents import Id
from appliance.web.openapi.operation import Parameter
from appliance.web.repeats import MAX_KEY_CHARS

PATH: dict[str, tuple[Any, str]] = {
    "job_id": (Id, "Of a job."),
    "upload_id": (Id, "Of an upload; that of the job that it becomes."),
    "webhook_id": (Id, "Of a webhook."),
    "delivery_id": (Id, "Of a delivery."),
    "link_id": (Id, "Of an upload link."),
    "token": (str, "Of an upload link, as its address has it."),
    "filename": (str, "The file's name, for people."),
    "name": (str, "Of a file: `original`, or one of the job's `files`."),
    "redrive_id": (Id, "Of a redrive."),
    "kind": (str, "`type` or `owner`."),
    "key_id": (Id, "Of an API key."),
    "person_id": (Id, "Of a person who signs in at the provider."),
    "session_id": (Id, "Of a session."),
}
"""Each part of a path that varies, with its type."""

SUBJECT = "A job type (`IMAGE`, `PDF`, `VIDEO`, `ANY`), or an owner (`key:<id>`)."
"""What `name` is in the path of a pause."""

Number = Annotated[int, Meta(ge=0)]

ANSWERED: dict[str, tuple[Any, str]] = {
    "Location": (str, "The path of what was made."),
    "ETag": (str, "Names this state, for `If-None-Match`."),
    "Retry-After": (Number, "Seconds to wait before the next try."),
    "Allow": (str, "The methods that there are."),
    "Accept-Ranges": (str, "`bytes`: ranges are answered."),
    "Content-Disposition": (str, "Shown or downloaded, and the name to save it under."),
    "Content-Range": (str, "Which bytes these are, and of how many."),
    "Cache-Control": (str, "How long this may be kept."),
    "RateLimit-Policy": (str, "How many there may be in which time."),
    "RateLimit": (str, "How many are left, and when all are there again."),
    "WWW-Authenticate": (str, "How to say who asks."),
    "Tus-Resumable": (str, "The version of tus that is spoken."),
    "Tus-Version": (str, "The versions of tus there are."),
    "Tus-Extension": (str, "The extensions of tus there are."),
    "Tus-Max-Size": (Number, "Bytes that a file may have."),
    "Tus-Checksum-Algorithm": (str, "For `Upload-Checksum`."),
    "Upload-Offset": (Number, "Bytes that are on the disk, synced."),
    "Upload-Length": (Number, "Bytes of the whole, where that is known."),
    "Upload-Defer-Length": (str, "`1`: the length is not known yet."),
    "Upload-Metadata": (str, "As it was sent."),
    "Upload-Concat": (str, "As it was sent."),
    "Upload-Expires": (str, "When the upload is deleted if no byte comes."),
    "Upload-Complete": (str, "`?1` when this answer is about the whole file."),
    "Upload-Limit": (str, "`max-size`, `min-size` and `max-age` of an upload."),
    "Upload-Job-Id": (str, "The job that the upload has become."),
    "Link": (str, "Where that job's status is."),
    "Repr-Digest": (str, "SHA-256 of the file, where it was asked for."),
    "Accept-Patch": (str, "The content type of an append."),
}
"""Header fields of answers."""

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS, pattern="^[!#-+\\--:<-~]+$")],
    "A new one for each request that is meant; a repeat with it does nothing twice.",
)
_Sha256 = Annotated[str, Meta(pattern="^sha-256=:[A-Za-z0-9+/]{43}=:$")]
REPR_DIGEST = Parameter(
    "Repr-Digest", _Sha256, "SHA-256 of the whole file (RFC 9530), which is held against what came."
)
CONTENT_DIGEST = Parameter("Content-Digest", _Sha256, "SHA-256 of this body (RFC 9530).")
IF_NONE_MATCH = Parameter("If-None-Match", str, "The `ETag` of an earlier answer.")
TUS_RESUMABLE = Parameter("Tus-Resumable", Literal["1.0.0"], "This request speaks tus.")
UPLOAD_OFFSET = Parameter("Upload-Offset", Number, "Bytes that are there already.")
UPLOAD_LENGTH = Parameter("Upload-Length", Number, "Bytes of the whole.")
UPLOAD_COMPLETE = Parameter(
    "Upload-Complete", Literal["?0", "?1"], "`?1`: nothing comes after this body (IETF's draft)."
)
UPLOAD_CHECKSUM = Parameter(
    "Upload-Checksum", str, "Algorithm and digest in base64 of this body (tus)."
)
INTEROP_VERSION = Parameter(
    "Upload-Draft-Interop-Version",
    Literal["3", "4", "5", "6", "7", "8"],
    "Which version of the IETF's draft is spoken.",
)
