"""The panel of workers: what each pool does, why it has the size that it has, what holds it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.database.figures import QueueFigures, RunningJob
from appliance.database.pauses import Pause
from appliance.database.workers import PoolState
from appliance.jobs import JobStatus, JobType
from appliance.web import words

PAUSE_CHOICES = (("3600", "1 hour"), ("28800", "8 hours"), ("", "until resumed"))
"""Seconds, as the form sends them, and the words for it."""


def pool_cells(
    pools: Sequence[PoolState],
    queue: QueueFigures,
    running: Sequence[RunningJob],
    paused: Iterable[Pause],
    names: Mapping[str, str],
) -> list[dict[str, Any]]:
    """One for each type of jobs, also for one that no process works on."""
    states = {pool.type: pool for pool in pools}
    pauses = {pause.name: pause for pause in paused if pause.kind == "type"}
    cells = []
    for job_type in JobType:
        state, pause = states.get(job_type), pauses.get(job_type)
        cells.append(
            {
                "type": job_type,
                "queued": queue.by_type(JobStatus.PENDING)[job_type],
                "slots": _slots(state, [job for job in running if job.type is job_type]),
                "state": state,
                "trouble": None if state is None else trouble(state),
                "pause": None if pause is None else pause_words(pause, names),
            }
        )
    return cells


def owner_pauses(paused: Iterable[Pause], names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [pause_words(pause, names) for pause in paused if pause.kind == "owner"]


def pause_words(pause: Pause, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "kind": pause.kind,
        "name": pause.name,
        "who": names.get(pause.name, pause.name),
        "actor": words.actor(pause.actor, names),
        "reason": words.plain(pause.reason),
        "since": pause.since,
        "until": pause.until,
    }


def trouble(pool: PoolState) -> dict[str, Any] | None:
    """Why the pool begins nothing, and since when, where that is known."""
    if pool.outage is not None:
        return {"reason": words.plain(pool.outage.reason), "since": pool.outage.since}
    if not pool.ready:
        return {"reason": "The process that starts their work is not up.", "since": None}
    return None


def _slots(state: PoolState | None, running: Sequence[RunningJob]) -> list[dict[str, Any]]:
    busy = [
        {"busy": True, "id": job.id, "job": job.filename, "progress": job.progress}
        for job in running
    ]
    free = max(0 if state is None else state.target, len(busy)) - len(busy)
    return busy + [{"busy": False, "id": "", "job": "", "progress": 0.0}] * free
