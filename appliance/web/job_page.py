"""A job's own page: its life from the first byte to the end, why it failed, what can be done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from appliance.clock import day
from appliance.database import (
    ages,
    audit,
    dead_letters,
    deliveries,
    job_reads,
    keys,
    lifecycle,
    pauses,
    scrub,
)
from appliance.database.ages import Ages, Outlook
from appliance.database.audit import Act
from appliance.database.dead_letters import DeadLetter
from appliance.database.lifecycle import Pin
from appliance.database.pauses import Pause
from appliance.database.protocol import Transaction
from appliance.errors import NotFound
from appliance.ids import is_id
from appliance.jobs import Attempt, HistoryEntry, Job, JobError
from appliance.permissions import Permission
from appliance.web import words
from appliance.web.audit_page import act_row
from appliance.web.failures import title
from appliance.web.pool_panel import PAUSE_CHOICES, pause_words
from appliance.web.representation import file_document
from appliance.web.services import services, user
from appliance.web.share_links import PERIODS
from appliance.web.templates import render_panels
from appliance.web.timeline import Stretch, stretches
from appliance.web.webhooks_page import delivery_words
from appliance.webhooks import Delivery

ACTS = 20
SHOWN_DELIVERIES = 50


class Whole(NamedTuple):
    """A job and all that is known of it, read on one snapshot."""

    job: Job
    letter: DeadLetter | None
    alike: int
    """Dead letters with the same fingerprint, this one included."""
    attempts: list[Attempt]
    history: list[HistoryEntry]
    acts: list[Act]
    """Of people on this job, the latest first."""
    pause: Pause | None
    """Of its owner."""
    pin: Pin | None
    outlook: Outlook | None
    damaged: Mapping[str, str | None]
    """Storage keys of those of its files that are not what was stored, or, with the reason, could
    not be read."""
    deliveries: list[Delivery]
    """Of its ends, to webhooks and its callback."""
    names: dict[str, str]


async def show_job(request: web.Request) -> web.StreamResponse:
    """GET /dashboard/jobs/{jobId}: for those who look after all jobs."""
    return await _show(request)


async def show_own_job(request: web.Request) -> web.StreamResponse:
    """GET /uploads/{jobId}: the same for its owner, who reviews nothing and pauses nobody."""
    return await _show(request)


async def _show(request: web.Request) -> web.StreamResponse:
    job_id, asking = request.match_info["job_id"], user(request)
    shared = services(request)
    now = shared.clock.now()
    read = shared.database.read
    found = await read(_whole(job_id, shared.ages, now=now)) if is_id(job_id) else None
    if found is None or asking.sees_only not in (None, found.job.owner):
        raise NotFound("There is no such job, or it is not yours. It may have been deleted.")
    job = found.job
    staff = asking.may(Permission.READ_ALL)
    letter = found.letter if staff else None
    home = "/dashboard/dead-letters" if letter else "/dashboard" if staff else "/"
    context = {
        "job": job,
        "staff": staff,
        "own": job.owner == asking.owner,
        "home": home,
        "possible": job.status.possible,
        "presets": list(shared.presets),
        "who": found.names.get(job.owner, job.owner),
        "error": None if job.error is None else _error(job.error, letter),
        "letter": letter,
        "others": found.alike - 1,
        "timeline": [
            _stretch(one, found.names) for one in stretches(found.history, found.attempts, now=now)
        ],
        "attempts": [_attempt(attempt) for attempt in reversed(found.attempts)],
        "files": [file_document(job.id, file) for file in job.files],
        "acts": [act_row(act, found.names) for act in found.acts]
        if asking.may(Permission.ADMINISTER)
        else [],
        "deliveries": [delivery_words(one) for one in found.deliveries],
        "pause": None if found.pause is None else pause_words(found.pause, found.names),
        "pin": None if found.pin is None else _pin(found.pin, found.names),
        "damaged": _out_of_order(job, found.damaged),
        "ages": _ages(job, found.outlook, staff=staff),
        "pause_choices": PAUSE_CHOICES,
        "periods": PERIODS,
    }
    return render_panels(request, "job", context)


def _whole(job_id: str, file_ages: Ages, *, now: float) -> Transaction[Whole | None]:
    job = yield from job_reads.get(job_id)
    if job is None:
        return None
    letter = yield from dead_letters.get(job_id)
    alike = (yield from dead_letters.group(letter.fingerprint)) if letter else None
    attempts = yield from job_reads.attempts(job_id)
    history = yield from job_reads.history(job_id)
    acts = yield from audit.of_subject(job_id, limit=ACTS)
    in_force = yield from pauses.in_force(now=now)
    pause = next((one for one in in_force if (one.kind, one.name) == ("owner", job.owner)), None)
    people = {job.owner, *([pause.actor] if pause else [])}
    people |= {actor for entry in history if (actor := _actor(entry.detail))}
    people |= {act.actor for act in acts}
    pin = yield from lifecycle.pin_of(job_id)
    people |= {pin.actor} if pin else set()
    damaged = yield from scrub.damaged_among(
        [job.storage_key, *(file.storage_key for file in job.files)]
    )
    outlook = yield from ages.outlook(job_id, job.owner, file_ages)
    names = yield from keys.names(people)
    sent = yield from deliveries.page(owner=None, job_id=job_id, limit=SHOWN_DELIVERIES)
    return Whole(
        job=job,
        letter=letter,
        alike=alike.jobs if alike else 1,
        attempts=attempts,
        history=history,
        acts=acts,
        pause=pause,
        pin=pin,
        outlook=outlook,
        damaged=damaged,
        deliveries=sent,
        names=names,
    )


def _out_of_order(job: Job, damaged: Mapping[str, str | None]) -> list[dict[str, str | None]]:
    files = [(job.storage_key, job.filename), *((one.storage_key, one.name) for one in job.files)]
    return [
        {"name": words.plain(name), "unreadable": damaged[key]}
        for key, name in files
        if key in damaged
    ]


def _ages(job: Job, outlook: Outlook | None, *, staff: bool) -> list[str]:
    """What becomes of the files with age, a sentence each."""
    if outlook is None:
        return []
    told = []
    if outlook.expired_at is not None:
        told.append(f"The original was deleted on {day(outlook.expired_at)}, by its age.")
    elif outlook.place == "cold":
        told.append("The original is in the cold place.")
    elif outlook.cold_at is not None:
        told.append(f"The original goes to the cold place on {day(outlook.cold_at)}.")
    if outlook.original_due_at is not None:
        told.append(f"The original is deleted on {day(outlook.original_due_at)}.")
    if job.files_left == "original":
        told.append("Its results were deleted by their age; process it again to have them anew.")
    elif outlook.results_due_at is not None:
        told.append(f"Results are deleted on {day(outlook.results_due_at)}.")
    if staff and outlook.kept_by == "review":
        told.append("Nothing is deleted by its age before the review is over.")
    return told


def _pin(pin: Pin, names: Mapping[str, str]) -> dict[str, Any]:
    who = words.plain(words.actor(pin.actor, names))
    return {"reason": words.plain(pin.reason), "who": who, "at": pin.pinned_at}


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


def _error(error: JobError, letter: DeadLetter | None) -> dict[str, Any]:
    return {
        "title": title(error.code),
        "message": words.plain(error.message),
        "code": error.code,
        "step": words.plain(error.step),
        "class": words.plain(letter.error_class) if letter else None,
        "permanent": error.permanent,
    }


def _stretch(one: Stretch, names: Mapping[str, str]) -> dict[str, Any]:
    detail = words.plain(one.detail or "")
    actor = _actor(detail)
    if actor:
        detail = detail.removesuffix(actor) + words.actor(actor, names)
    return {
        "id": one.id,
        "at": one.began_at,
        "status": one.status,
        "attempt": None if one.attempt is None else one.attempt.number,
        "outcome": None if one.attempt is None else one.attempt.outcome,
        "took": None if one.took_s is None else words.duration(one.took_s),
        "goes_on": one.goes_on,
        "left": one.left,
        "width": one.width,
        "detail": detail,
    }


def _actor(detail: str | None) -> str | None:
    """Who moved the job, where the history says so (`cancel`, `redrive` and `create_again` of
    `database.jobs`)."""
    found = re.fullmatch(
        r"(?:cancelled|tried again|from the original of \w+, asked for) by (.+)", detail or ""
    )
    return found and found[1]
