"""The transactions of the processes that claim jobs: their heartbeats and their leases.

Beats are counters. Whoever judges whether a worker is alive watches, on his own monotonic
clock, whether its counter still grows; no two machines' clocks are ever compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from appliance.database.protocol import Row, Statement, Transaction


class Worker(msgspec.Struct, frozen=True):
    """One life of one process that claims jobs."""

    id: str
    node: str
    started_at: float
    beat: int
    beat_at: float


class Lease(msgspec.Struct, frozen=True):
    job_id: str
    attempt: int
    worker: str
    beat: int


def register(worker_id: str, *, node: str, now: float) -> Transaction[list[Worker]]:
    """Begin a life; returns this node's earlier ones, which have ended."""
    yield Statement("insert_worker", {"id": worker_id, "node": node, "now": now})
    rows = yield Statement("previous_lives", {"node": node, "id": worker_id})
    return [_worker(row) for row in rows]


def leave(worker_id: str) -> Transaction[None]:
    yield Statement("delete_worker", {"id": worker_id})


def forget(ended: Sequence[Worker]) -> Transaction[None]:
    """Drop the rows of lives that have ended, except where one still holds a lease or has
    beaten since it was read."""
    judged = {worker.id: worker.beat for worker in ended}
    yield Statement("delete_idle_workers", {"judged": msgspec.json.encode(judged).decode()})


def beat(
    worker_id: str, *, node: str, running: Mapping[str, int], now: float
) -> Transaction[set[str]]:
    """Renew the worker and the leases of `running` ({job id: attempt number}).

    Returns the ids of the jobs whose lease still stands; work on the others must stop.
    """
    yield Statement("beat_worker", {"id": worker_id, "node": node, "now": now})
    if not running:
        return set()
    rows = yield Statement("beat_jobs", {"running": msgspec.json.encode(running).decode()})
    return {row["id"] for row in rows}


def census() -> Transaction[tuple[list[Worker], list[Lease]]]:
    """Every worker and every lease that is held, on one snapshot."""
    worker_rows = yield Statement("workers")
    lease_rows = yield Statement("leases")
    leases = [
        Lease(job_id=row["id"], attempt=row["attempt"], worker=row["worker"], beat=row["beat"])
        for row in lease_rows
    ]
    return [_worker(row) for row in worker_rows], leases


def _worker(row: Row) -> Worker:
    return Worker(**{field: row[field] for field in Worker.__struct_fields__})
