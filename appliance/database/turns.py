"""Which job is next: higher priority first, and within a priority the owners in turn.

Every job that becomes PENDING is given a turn: the one after its owner's last, but never one
before the present, which is the turn of the job that was claimed last. An owner with ten
thousand jobs holds ten thousand turns ahead; whoever comes now is served at the present one.

Source: S. Golestani, "A self-clocked fair queueing scheme", INFOCOM 1994, with owners as flows
and a job as the unit.
"""

from __future__ import annotations

from appliance.database import pauses
from appliance.database.protocol import Statement, Transaction
from appliance.database.records import as_json
from appliance.jobs import JobType


def take(job_type: str, priority: int, owner: str) -> Transaction[int]:
    """The turn of a job that becomes PENDING now."""
    rows = yield Statement("take_turn", {"type": job_type, "priority": priority, "owner": owner})
    turn: int = rows[0]["turn"]
    return turn


def ready(
    job_type: JobType, *, limit: int, now: float, small_only: bool = False
) -> Transaction[list[str]]:
    """Ids of the jobs to try next; none while the type is paused, none of paused owners."""
    in_force = yield from pauses.in_force(now=now)
    stopped = {(pause.kind, pause.name) for pause in in_force}
    if ("type", job_type.value) in stopped:
        return []
    parameters = {"type": job_type, "limit": limit, "small_only": small_only}
    owners = [name for kind, name in stopped if kind == "owner"]
    if owners:
        rows = yield Statement(
            "ready_jobs_of_others", {**parameters, "paused_owners": as_json(owners)}
        )
    else:
        rows = yield Statement("ready_jobs", parameters)
    return [row["id"] for row in rows]


def forget_idle() -> Transaction[int]:
    """Drop the lanes of owners who have had their turn long ago; how many."""
    rows = yield Statement("delete_idle_lanes")
    return len(rows)
