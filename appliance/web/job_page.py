"""GET /dashboard/dead-letters/{jobId}: a job with all that is known of it.

It is for dead letters, and goes on when one is tried again or its review is over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.database import dead_letters, deliveries, job_reads, keys, pauses
from appliance.database.dead_letters import DeadLetter
from appliance.database.pauses import Pause
from appliance.database.protocol import Transaction
from appliance.errors import NotFound
from appliance.ids import is_id
from appliance.jobs import Attempt, HistoryEntry, Job
from appliance.web import words
from appliance.web.failures import title
from appliance.web.pool_panel import PAUSE_CHOICES, pause_words
from appliance.web.services import services
from appliance.web.templates import render_panels
from appliance.web.webhooks_page import delivery_words
from appliance.webhooks import Delivery

SHOWN_DELIVERIES = 50


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
    deliveries: list[Delivery]
    """Of its ends, to webhooks and its callback."""
    names: dict[str, str]


async def show_job(request: web.Request) -> web.StreamResponse:
    """GET /dashboard/dead-letters/{jobId}"""
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
        "presets": list(shared.presets),
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
        "deliveries": [delivery_words(one) for one in found.deliveries],
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
    sent = yield from deliveries.page(owner=None, job_id=job_id, limit=SHOWN_DELIVERIES)
    return Whole(job, letter, alike.jobs if alike else 1, attempts, history, pause, sent, names)


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
    """Who moved the job, where the history says so (`cancel`, `redrive` and `create_again` of
    `database.jobs`)."""
    found = re.fullmatch(
        r"(?:cancelled|tried again|from the original of \w+, asked for) by (.+)", detail or ""
    )
    return found and found[1]
