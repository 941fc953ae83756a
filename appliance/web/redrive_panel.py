"""Redrives in words: dead letters that are tried again, how far it is, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.database import redrives
from appliance.database.protocol import Transaction
from appliance.database.redrives import GROWTH, Counts, Example, Redrive
from appliance.web import words
from appliance.web.failures import failure, selection

SHOWN = 5
SHOWN_FOR_S = 24 * 3600.0
"""How long one that ended stays on the page."""

Shown = list[tuple[Redrive, Example | None]]


def lately(*, now: float) -> Transaction[Shown]:
    """Those that run, and the latest that ended, each with one of its jobs; newest first."""
    latest = yield from redrives.latest(limit=SHOWN)
    found = {one.id: one for one in latest if (one.ended_at or now) > now - SHOWN_FOR_S}
    for redrive_id in (yield from redrives.running()):
        if redrive_id not in found:
            redrive = yield from redrives.get(redrive_id)
            assert redrive is not None
            found[redrive_id] = redrive
    shown = []
    for redrive_id in sorted(found, reverse=True):
        shown.append((found[redrive_id], (yield from redrives.example(redrive_id))))
    return shown


def redrive_rows(shown: Shown, names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "id": redrive.id,
            "what": _what(redrive, example),
            "selection": words.sentence(selection(redrive.filter, names)).rstrip("."),
            "actor": words.actor(redrive.actor, names),
            "at": redrive.created_at,
            "ended_at": redrive.ended_at,
            "signal": _signal(redrive),
            "outcome": outcome(redrive),
            "waiting": _waiting(redrive),
            "running": redrive.state == "running",
            "settled": redrive.counts.total - redrive.counts.waiting - redrive.counts.running,
            "total": redrive.counts.total,
        }
        for redrive, example in shown
    ]


def by_group(shown: Shown) -> dict[str, dict[str, Any]]:
    """The latest redrive of each fingerprint: whether it runs, and its outcome."""
    found: dict[str, dict[str, Any]] = {}
    for redrive, _ in shown:
        fingerprint = redrive.filter.fingerprint
        if fingerprint is not None and fingerprint not in found:
            found[fingerprint] = {
                "running": redrive.state == "running",
                "outcome": outcome(redrive),
                "signal": _signal(redrive),
                "at": redrive.ended_at or redrive.created_at,
            }
    return found


def outcome(redrive: Redrive) -> str:
    """How far it is, or how it ended."""
    counts, wave = redrive.counts, redrive.wave_counts
    tried = wave.total - wave.other
    if redrive.state == "stopped":
        were = "was" if counts.waiting == 1 else "were"
        still = f", {counts.running:,} still under way" if counts.running else ""
        rest = f"{still}; {counts.waiting:,} {were} not begun."
        if redrive.stopped_by is not None:
            return f"Stopped by hand: {_so_far(counts, counts.total - counts.waiting)}{rest}"
        return f"Stopped by itself: {wave.failed:,} of {tried:,} failed again{rest}"
    if redrive.state == "running":
        if redrive.wave == 0:
            return "It begins in a moment."
        if redrive.staged:
            planned = min(GROWTH ** (redrive.wave - 1), tried + counts.waiting)
            return f"Wave {redrive.wave}: {_so_far(wave, planned)}."
        return f"{_so_far(counts, counts.total)}."
    if counts.total == 0:
        return "There was nothing to try again."
    return f"{_so_far(counts, counts.total)}."


def _so_far(counts: Counts, total: int) -> str:
    again = f"{counts.failed:,} failed again" if counts.failed else "none failed again"
    gone = f", {counts.other:,} cancelled, discarded or deleted" if counts.other else ""
    return f"{counts.completed:,} of {total:,} done, {again}{gone}"


def _waiting(redrive: Redrive) -> str | None:
    """What is still to come, of one that runs."""
    if redrive.state != "running" or not redrive.counts.waiting or redrive.wave == 0:
        return None
    return f"{redrive.counts.waiting:,} more when this goes well" if redrive.staged else None


def _signal(redrive: Redrive) -> str:
    if redrive.state == "running":
        return "going"
    return "needs" if redrive.state == "stopped" or redrive.counts.failed else "done"


def _what(redrive: Redrive, example: Example | None) -> dict[str, Any] | None:
    """What is tried again: one file, or a kind of failure; None: only the filter says."""
    if example is None:
        return None
    how = failure(job_type=example.type, code=example.error_code, step=example.step)
    if redrive.counts.total == 1:
        return {"filename": example.filename, "job_id": example.job_id, "failure": how}
    return None if redrive.filter.fingerprint is None else {"filename": None, "failure": how}
