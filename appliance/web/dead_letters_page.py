"""GET /dashboard/dead-letters: what was given up, in groups of those that failed alike, then job
by job, and what is being tried again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.database import dead_letters, keys
from appliance.database.dead_letters import DeadLetter, Filter, Group
from appliance.database.protocol import Transaction
from appliance.web import filters, queries, redrive_panel, words
from appliance.web.failures import failure, selection
from appliance.web.services import services
from appliance.web.shared_panels import shared_panels
from appliance.web.templates import render_panels

GROUPS = 50
LETTERS = 50
"""On one page."""


class Letters(NamedTuple):
    """What the page shows, read on one snapshot."""

    total: int
    matching: int
    groups: list[Group]
    examples: dict[str, str]
    """File names of the groups' examples, by job."""
    chosen: Group | None
    page: list[DeadLetter]
    redrives: redrive_panel.Shown
    names: dict[str, str]


@shared_panels
async def show_dead_letters(request: web.Request) -> web.Response:
    """GET /dashboard/dead-letters?fingerprint=&owner=&type=&code=&since=&until=&cursor="""
    wanted, cursor = filters.from_query(request.query), queries.id_cursor(request)
    shared = services(request)
    found = await shared.database.read(_letters(wanted, cursor, now=shared.clock.now()))
    page = found.page[:LETTERS]
    tried = redrive_panel.by_group(found.redrives)
    context = {
        "total": found.total,
        "matching": found.matching,
        "groups": [_group(one, found.examples, tried) for one in found.groups[:GROUPS]],
        "more_groups": len(found.groups) > GROUPS,
        "chosen": None if found.chosen is None else _group(found.chosen, found.examples, tried),
        "redrives": redrive_panel.redrive_rows(found.redrives, found.names),
        "letters": [_row(letter, found.names) for letter in page],
        "filters": wanted,
        "fields": wanted.document(),
        "selection": selection(wanted, found.names),
        "codes": sorted({one.error_code for one in found.groups} | {wanted.code or ""} - {""}),
        "cursor": cursor,
        "next_cursor": page[-1].job_id if len(found.page) > LETTERS else None,
    }
    return render_panels(request, "dead_letters", context)


def _letters(wanted: Filter, cursor: str | None, *, now: float) -> Transaction[Letters]:
    total = yield from dead_letters.count_all()
    groups = yield from dead_letters.groups(limit=GROUPS + 1)
    chosen = None
    if wanted.fingerprint is not None:
        chosen = yield from dead_letters.group(wanted.fingerprint)
    if wanted == Filter():
        matching = total
    elif wanted == Filter(fingerprint=wanted.fingerprint):
        matching = chosen.jobs if chosen else 0
    else:  # looks at every one
        matching = yield from dead_letters.count(wanted)
    page = yield from dead_letters.page(wanted, before=cursor, limit=LETTERS + 1)
    examples = {}
    for group in (*groups, *([chosen] if chosen else [])):
        letter = yield from dead_letters.get(group.example)
        if letter is not None:
            examples[group.example] = letter.filename
    tried = yield from redrive_panel.lately(now=now)
    people = {redrive.actor for redrive, _ in tried} | {letter.owner for letter in page}
    people |= {redrive.filter.owner or "" for redrive, _ in tried} | {wanted.owner or ""}
    names = yield from keys.names(people)
    return Letters(total, matching, groups, examples, chosen, page, tried, names)


def _group(
    group: Group, examples: Mapping[str, str], tried: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "failure": failure(job_type=group.type, code=group.error_code, step=group.step),
        "message": words.plain(group.message),
        "jobs": group.jobs,
        "first_at": group.first_at,
        "last_at": group.last_at,
        "example": {"job_id": group.example, "filename": examples.get(group.example, "")},
        "tried": tried.get(group.fingerprint),
    }


def _row(letter: DeadLetter, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "job_id": letter.job_id,
        "filename": letter.filename,
        "failure": failure(job_type=letter.type, code=letter.error_code, step=letter.step),
        "message": words.plain(letter.message),
        "owner": letter.owner,
        "who": names.get(letter.owner, letter.owner),
        "at": letter.created_at,
    }
