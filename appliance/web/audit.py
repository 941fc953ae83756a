"""GET /audit: who has done what, when, and to how many; as pages, or all of it as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import web

from appliance.database import audit
from appliance.database.audit import Act, Selection
from appliance.errors import BadRequest
from appliance.web import bodies, filters, queries
from appliance.web.documents import ActPage
from appliance.web.representation import act_document, encode, json_response
from appliance.web.services import services

EXPORTS = {"csv": "text/csv", "jsonl": "application/jsonl"}
READ_AT_ONCE = 500
"""Acts that an export holds in memory."""

COLUMNS = ("id", "at", "actor", "action", "subject", "jobs", "detail")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
"""A spreadsheet calculates what begins like that (OWASP ASVS 5.0, 1.2.10)."""


async def list_acts(request: web.Request) -> web.StreamResponse:
    """GET /audit?limit=&cursor=: newest first; with `format=csv` or `jsonl`, or such an `Accept`,
    all that were selected, as a download."""
    selection, kind = selection_of(request), _format(request)
    if kind is not None:
        return await _export(request, selection, kind)
    limit, cursor = queries.limit(request), queries.number_cursor(request)
    before = audit.NEWEST if cursor is None else cursor
    found = await services(request).database.read(
        audit.page(selection, limit=limit + 1, before=before)
    )
    page = found[:limit]
    following = str(page[-1].id) if len(found) > limit else None
    return json_response(ActPage(acts=[act_document(act) for act in page], nextCursor=following))


def selection_of(request: web.Request) -> Selection:
    """Which acts the query asks for. Raises BadRequest."""

    def text(name: str) -> str | None:
        return filters.given_text(name, request.query.get(name))

    def time(name: str) -> float | None:
        return filters.given_time(name, request.query.get(name))

    return Selection(
        actor=text("actor"),
        action=text("action"),
        subject=text("subject"),
        since=time("since"),
        until=time("until"),
    )


def _format(request: web.Request) -> str | None:
    """A key of EXPORTS; None for a page of JSON. Raises BadRequest."""
    text = request.query.get("format")
    if text is None:
        accepted = request.headers.get("Accept", "")
        return next((kind for kind, media in EXPORTS.items() if media in accepted), None)
    if text in EXPORTS:
        return text
    if text == "json":
        return None
    raise BadRequest("format is json, csv or jsonl.")


async def _export(request: web.Request, selection: Selection, kind: str) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": f"{EXPORTS[kind]}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="audit.{kind}"',
            "Cache-Control": "no-store",
        }
    )
    response.enable_compression()
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    write = _as_csv if kind == "csv" else _as_lines
    if kind == "csv":
        await bodies.send(request, response, _rows([COLUMNS]))
    async for acts in _all(request, selection):
        await bodies.send(request, response, write(acts))
    await response.write_eof()
    return response


async def _all(request: web.Request, selection: Selection) -> AsyncIterator[list[Act]]:
    """Newest first, a stretch at a time; acts that are done meanwhile are left out."""
    before = audit.NEWEST
    while True:
        acts = await services(request).database.read(
            audit.page(selection, limit=READ_AT_ONCE, before=before)
        )
        if acts:
            yield acts
        if len(acts) < READ_AT_ONCE:
            return
        before = acts[-1].id


def _as_lines(acts: Sequence[Act]) -> bytes:
    return b"".join(encode(act_document(act)) + b"\n" for act in acts)


def _as_csv(acts: Sequence[Act]) -> bytes:
    documents: list[dict[str, Any]] = [{**act_document(act)} for act in acts]
    for document in documents:
        document["detail"] = encode(document["detail"]).decode()
    return _rows([[document[column] for column in COLUMNS] for document in documents])


def _rows(rows: Sequence[Sequence[object]]) -> bytes:
    """As RFC 4180 writes them; what a spreadsheet would calculate is made a text by a quote."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        writer.writerow(f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells)
    return text.getvalue().encode()
