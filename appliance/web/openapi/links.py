"""The operations on links for people with no account."""

from __future__ import annotations

from typing import TypedDict

from appliance import errors
from appliance.web import guests, several, share_links, upload_links
from appliance.web.documents import (
    ReceivedFiles,
    ShareLinkDocument,
    ShareLinks,
    UploadLinkDocument,
    UploadLinkMade,
    UploadLinkPage,
)
from appliance.web.openapi.fields import IF_NONE_MATCH
from appliance.web.openapi.jobs import FILE_ANSWERS, FILE_REFUSALS, RANGES
from appliance.web.openapi.operation import (
    CURSOR,
    NEXT,
    Answer,
    Body,
    Bytes,
    Flag,
    Group,
    Operation,
    Parameter,
    asks,
    limit,
)
from appliance.web.openapi.uploads import APPENDING, FILENAME, RAW


class GuestForm(TypedDict):
    file: list[Bytes]


_ENDED = {204: Answer("It has ended.")}
_FINDING = (errors.BadRequest, errors.NotFound)

LINKS = Group(
    "Links",
    "For people with no account: to send files to you, or to get one.",
    {
        share_links.create_link: Operation(
            "Make a link to one file of a job",
            {201: Answer("The link.", ShareLinkDocument, ("Cache-Control",))},
            (*_FINDING, errors.FileExpired),
            body=asks(share_links.NewLink)._replace(required=False),
            curl="""--json '{"file": "original", "expiresInS": 86400}'""",
        ),
        several.share_jobs: Operation(
            "Make a link to the original of each of several jobs",
            {201: Answer("The links, in the order of `jobs`.", ShareLinks, ("Cache-Control",))},
            (*_FINDING, errors.FileExpired),
            body=asks(several.Sharing),
            curl="""--json '{"jobs": ["01M85F1MKT1XZEV6WT98GJ23JH"], "expiresInS": 86400}'""",
        ),
        share_links.end_links: Operation(
            "End all links to the files of a job", _ENDED, (errors.NotFound,)
        ),
        share_links.get_shared: Operation(
            "Fetch the file of a link",
            FILE_ANSWERS,
            (*FILE_REFUSALS, errors.LinkEnded, errors.Quarantined),
            query=(
                Parameter("until", str, "As it is in the link."),
                Parameter("signature", str, "As it is in the link."),
                Parameter("download", Flag, "`1`: to be saved, not shown."),
            ),
            headers=(IF_NONE_MATCH, *RANGES),
        ),
        upload_links.list_links: Operation(
            "List your upload links, newest first",
            {200: Answer("A page of links.", UploadLinkPage)},
            query=(limit(), CURSOR),
        ),
        upload_links.create_link: Operation(
            "Make a link by which somebody sends files to you",
            {201: Answer("The link, with its address.", UploadLinkMade, ("Cache-Control",))},
            body=asks(upload_links.NewUploadLink),
            curl="""--json '{"files": 10, "types": ["image/*"]}'""",
        ),
        upload_links.get_link: Operation(
            "Tell what has come by a link",
            {200: Answer("The link.", UploadLinkDocument)},
            (errors.NotFound,),
        ),
        upload_links.revoke_link: Operation("End a link", _ENDED, _FINDING, body=NEXT),
        upload_links.revoke_link_by_form: Operation("End a link", _ENDED, _FINDING, body=NEXT),
        guests.receive: Operation(
            "Send files by a link",
            {202: Answer("What was received.", ReceivedFiles, ("RateLimit", "RateLimit-Policy"))},
            (
                errors.NotFound,
                errors.LinkEnded,
                errors.TooManyAttempts,
                errors.MultipartInvalid,
                errors.NoFile,
                errors.TooManyParts,
                *APPENDING,
            ),
            query=(FILENAME,),
            body=Body({"multipart/form-data": GuestForm, RAW: Bytes}),
            curl="-F file=@photo.jpg",
        ),
    },
)
