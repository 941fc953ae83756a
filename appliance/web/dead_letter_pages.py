"""GET /dashboard/dead-letters: what was given up, in groups of those that failed alike, then job
by job; and GET /dashboard/dead-letters/{jobId}: one of them with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.database import dead_letters, job_reads, keys, pauses
from appliance.database.dead_letters import DeadLetter, Filter, Group
from appliance.database.pauses import Pause
from appliance.database.protocol import Transaction
from appliance.errors import NotFound
from appliance.ids import is_id
from appliance.jobs import Attempt, HistoryEntry, Job
from appliance.web import filters, queries, redrive_panel, words
from appliance.web.failures import failure, selection, title
from appliance.web.pool_panel import PAUSE_CHOICES, pause_words
from appliance.web.services import services
from appliance.web.templates import render_panels

GROUPS = 50
LETTERS = 50
"""On one page."""


# --- the page of all ------------------------------------------------------------------------


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


async def show_dead_letters(request: web.Request) -> web.StreamResponse:
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


# --- the page of one ------------------------------------------------------------------------


class Whole(NamedTuple):
    """A job and all that is known of it, read on one snapshot."""

    job: Job
    letter: DeadLetter | None
    alike: int
    """Dead letters with the same fingerprint, this one included."""
    attempts: list[Attempt]
    history: list[HistoryEntry]
    pause: Pause | None
    """Of its owner."""
    names: dict[str, str]


async def show_dead_letter(request: web.Request) -> web.StreamResponse:
    """GET /dashboard/dead-letters/{jobId}: also of a job that is none any more, or none yet."""
    job_id = request.match_info["job_id"]
    shared = services(request)
    found = (
        await shared.database.read(_whole(job_id, now=shared.clock.now()))
        if is_id(job_id)
        else None
    )
    if found is None:
        raise NotFound("There is no such job. It may have been deleted.")
    job, letter = found.job, found.letter
    context = {
        "job": job,
        "possible": job.status.possible,
        "who": found.names.get(job.owner, job.owner),
        "error": None
        if job.error is None
        else {
            "title": title(job.error.code),
            "message": words.plain(job.error.message),
            "code": job.error.code,
            "step": words.plain(job.error.step),
            "class": words.plain(letter.error_class) if letter else None,
            "permanent": job.error.permanent,
        },
        "letter": letter,
        "others": found.alike - 1,
        "attempts": [_attempt(attempt) for attempt in reversed(found.attempts)],
        "history": [_move(entry, found.names) for entry in reversed(found.history)],
        "pause": None if found.pause is None else pause_words(found.pause, found.names),
        "pause_choices": PAUSE_CHOICES,
    }
    return render_panels(request, "dead_letter", context)


def _whole(job_id: str, *, now: float) -> Transaction[Whole | None]:
    job = yield from job_reads.get(job_id)
    if job is None:
        return None
    letter = yield from dead_letters.get(job_id)
    alike = (yield from dead_letters.group(letter.fingerprint)) if letter else None
    attempts = yield from job_reads.attempts(job_id)
    history = yield from job_reads.history(job_id)
    in_force = yield from pauses.in_force(now=now)
    pause = next((one for one in in_force if (one.kind, one.name) == ("owner", job.owner)), None)
    people = {job.owner, *([pause.actor] if pause else [])}
    people |= {actor for entry in history if (actor := _actor(entry.detail))}
    names = yield from keys.names(people)
    return Whole(job, letter, alike.jobs if alike else 1, attempts, history, pause, names)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    ended_at = attempt.ended_at
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "started_at": attempt.started_at,
        "ended_at": ended_at,
        "took": None if ended_at is None else words.duration(max(0, ended_at - attempt.started_at)),
        "outcome": attempt.outcome,
        "code": attempt.error_code,
        "class": words.plain(attempt.error_class or ""),
        "step": words.plain(attempt.step or ""),
        "message": words.plain(attempt.message or ""),
        "stderr_tail": words.plain(attempt.stderr_tail or ""),
    }


def _move(entry: HistoryEntry, names: Mapping[str, str]) -> dict[str, Any]:
    detail = words.plain(entry.detail or "")
    actor = _actor(detail)
    if actor:
        detail = detail.removesuffix(actor) + words.actor(actor, names)
    return {
        "id": entry.id,
        "at": entry.at,
        "status": entry.status,
        "attempt": entry.attempt,
        "detail": detail,
    }


def _actor(detail: str | None) -> str | None:
    """Who moved the job, where the history says so (`database.jobs.cancel`, `redrive`)."""
    for what in ("cancelled by ", "tried again by "):
        if detail is not None and detail.startswith(what):
            return detail.removeprefix(what)
    return None
