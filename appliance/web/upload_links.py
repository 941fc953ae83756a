"""Upload links, for who makes them: GET and POST /upload-links, GET and DELETE
/upload-links/{linkId}, and the page /links. For who sends by one: /u/{token} (`guests`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiDict

from appliance.clock import rfc3339
from appliance.database import audit, links
from appliance.database.protocol import Transaction
from appliance.errors import BadRequest, NotFound
from appliance.ids import new_id
from appliance.keys import hash_secret, new_token
from appliance.links import UploadLink
from appliance.permissions import Permission
from appliance.presets.preset import DEFAULT
from appliance.setting_values import parse_bytes, parse_media_types
from appliance.web import forms, queries
from appliance.web.documents import UploadLinkDocument, UploadLinkMade, UploadLinkPage
from appliance.web.options import preset_name
from appliance.web.problems import wants_page
from appliance.web.representation import json_response
from appliance.web.services import services, user
from appliance.web.templates import render_page

DEFAULT_S = 7 * 24 * 3600.0
LONGEST_S = 365 * 24 * 3600.0
MOST_FILES = 10_000
MAX_NOTE = 500
SHOWN = 100
"""On the page, the newest; GET /upload-links has all."""

COUNTS = {"1": "One file", "10": "10 files", "100": "100 files", "1000": "1,000 files"}
PERIODS = {"86400": "For a day", "604800": "For a week", "2592000": "For 30 days"}
KINDS = {
    "": "Every kind of file",
    "image/*": "Pictures",
    "image/*,video/*": "Pictures and videos",
    "application/pdf": "PDFs",
}


class NewUploadLink(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What may come by a link."""

    files: int = 1
    max_bytes: int | None = None
    types: tuple[str, ...] = ()
    preset: str = DEFAULT
    note: str | None = None
    expires_in_s: float = DEFAULT_S

    def check(self) -> None:
        """Raises BadRequest."""
        if not 1 <= self.files <= MOST_FILES:
            raise BadRequest(f"files is how many may come by the link, from 1 to {MOST_FILES:,}.")
        if self.max_bytes is not None and not 1 <= self.max_bytes < 2**63:
            raise BadRequest("maxBytes is the most that a file may have, in bytes, 1 or more.")
        if not math.isfinite(self.expires_in_s) or not 0 < self.expires_in_s <= LONGEST_S:
            raise BadRequest("expiresInS is a number of seconds, above 0, at most a year.")
        if self.note is not None and len(self.note) > MAX_NOTE:
            raise BadRequest(f"note has up to {MAX_NOTE} characters.")
        if self.types:
            try:
                parse_media_types(",".join(self.types))
            except ValueError as error:
                raise BadRequest(f"types: {error}.") from error


async def create_link(request: web.Request) -> web.StreamResponse:
    """POST /upload-links: the answer is the only one that ever has the address."""
    shared, asking = services(request), user(request)
    asked = await forms.read(request)
    wanted = asked.to(NewUploadLink, shape=_of_form)
    wanted.check()
    now, token = shared.clock.now(), new_token()
    link = UploadLink(
        id=new_id(),
        owner=asking.owner,
        note=wanted.note or None,
        preset=preset_name(wanted.preset, shared.presets),
        files=wanted.files,
        used=0,
        max_bytes=wanted.max_bytes,
        types=tuple(kind.strip().lower() for kind in wanted.types),
        created_at=now,
        expires_at=now + wanted.expires_in_s,
    )

    def creating() -> Transaction[None]:
        yield from links.create(link, token_hash=hash_secret(token))
        detail = {"files": link.files}
        yield from audit.add(
            actor=asking.owner, action="upload_link.create", subject=link.id, now=now, detail=detail
        )

    await shared.database.write(creating())
    url = f"{shared.public_url}/u/{token}"
    if asked.form is not None and wants_page(request):
        return await show_links(request, made=url)
    document = UploadLinkMade(**link_document(link, now), url=url)
    return json_response(document, status=201, headers={"Cache-Control": "no-store"})


def _of_form(form: MultiDict[str]) -> Mapping[str, Any]:
    document: dict[str, Any] = dict(form)
    if "types" in form:
        document["types"] = re.split(r"[\s,]+", form["types"].strip())
    if "maxBytes" in form:
        try:
            document["maxBytes"] = parse_bytes(form["maxBytes"])
        except ValueError as error:
            raise BadRequest(f"The largest file: {error}.") from error
    return document


async def list_links(request: web.Request) -> web.StreamResponse:
    """GET /upload-links?limit=&cursor=: one's own, newest first."""
    shared, limit, cursor = services(request), queries.limit(request), queries.id_cursor(request)
    owner = user(request).owner
    found = await shared.database.read(links.page(owner, limit=limit + 1, before=cursor))
    page, now = found[:limit], shared.clock.now()
    return json_response(
        UploadLinkPage(
            uploadLinks=[link_document(link, now) for link in page],
            nextCursor=page[-1].id if len(found) > limit else None,
        )
    )


async def get_link(request: web.Request) -> web.StreamResponse:
    """GET /upload-links/{linkId}"""
    shared = services(request)
    link = await shared.database.read(
        links.by_id(request.match_info["link_id"], owner=_whose(request))
    )
    if link is None:
        raise _not_found()
    return json_response(link_document(link, shared.clock.now()))


async def revoke_link(request: web.Request) -> web.StreamResponse:
    """DELETE /upload-links/{linkId}: nothing more comes by it."""
    return await _revoke(request)


async def revoke_link_by_form(request: web.Request) -> web.StreamResponse:
    """POST /upload-links/{linkId}/revoke: forms know no DELETE."""
    return await _revoke(request)


async def _revoke(request: web.Request) -> web.StreamResponse:
    asked = await forms.read_next(request)
    shared, link_id = services(request), request.match_info["link_id"]
    actor, now = user(request).owner, shared.clock.now()

    def revoking() -> Transaction[bool]:
        owner = yield from links.revoke(link_id, owner=_whose(request), now=now)
        if owner is not None:
            yield from audit.add(actor=actor, action="upload_link.revoke", subject=link_id, now=now)
        return owner is not None

    if not await shared.database.write(revoking()):
        raise _not_found()
    return forms.answer(request, asked, None)


async def show_links(request: web.Request, *, made: str | None = None) -> web.Response:
    """GET /links. `made`: the address of a link that was made just now, shown this once."""
    shared = services(request)
    found = await shared.database.read(links.page(user(request).owner, limit=SHOWN))
    now = shared.clock.now()
    context = {
        "made": made,
        "links": [(link, link.state(now)) for link in found],
        "counts": COUNTS,
        "periods": PERIODS,
        "kinds_of_files": KINDS,
        "presets": list(shared.presets),
    }
    return render_page(request, "links.html", context, status=200 if made is None else 201)


def link_document(link: UploadLink, now: float) -> UploadLinkDocument:
    return {
        "linkId": link.id,
        "owner": link.owner,
        "state": link.state(now),
        "files": link.files,
        "used": link.used,
        "maxBytes": link.max_bytes,
        "types": list(link.types),
        "preset": link.preset,
        "note": link.note,
        "createdAt": rfc3339(link.created_at),
        "expiresAt": rfc3339(link.expires_at),
    }


def _whose(request: web.Request) -> str | None:
    """Whose links are seen and ended: one's own, or for an admin everybody's."""
    asking = user(request)
    return None if asking.may(Permission.ADMINISTER) else asking.owner


def _not_found() -> NotFound:
    return NotFound("There is no such link, or it is not yours, or it was ended before.")
