"""The transactions of the appliance's processes: their heartbeats, and the leases of those that
claim jobs.

Beats are counters. Whoever judges whether a worker is alive watches, on his own monotonic
clock, whether its counter still grows; no two machines' clocks are ever compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from appliance.database.protocol import Row, Statement, Transaction
from appliance.database.records import as_json, record
from appliance.jobs import JobType


class Outage(msgspec.Struct, frozen=True):
    """A fault of the surroundings that keeps a pool from beginning work."""

    code: str
    """Of the error in `appliance.errors`."""
    reason: str
    since: float


class ProcessorState(msgspec.Struct, frozen=True):
    """What a process tells of a processor that it has installed."""

    name: str
    version: str | None
    """Of the processor, not of its package; None until it has described itself."""
    content_types: tuple[str, ...]
    ready: bool
    fault: str | None = None
    """Why it is not used, until the next start."""
    layers: dict[str, str] = {}
    """Of the walls around its children (`processors.protocol.Ready.layers`)."""


class PoolState(msgspec.Struct, frozen=True):
    """What a process tells of its workers of one type, for the pages and the metrics."""

    type: JobType
    smallest: int
    largest: int
    target: int
    """How many may work at once now; the scaling rule moves it."""
    ready: bool
    """Whether its nursery is up."""
    decision: str | None = None
    """The last word of the scaling rule."""
    decided_at: float | None = None
    outage: Outage | None = None
    processors: tuple[ProcessorState, ...] = ()
    """The pool's own, and all plug-ins of its process."""


class Kind(StrEnum):
    """What a process does."""

    API = "api"
    WORKER = "worker"
    BOTH = "both"

    @property
    def serves(self) -> bool:
        """Whether it answers over HTTP."""
        return self is not Kind.WORKER


class About(msgspec.Struct, frozen=True):
    """What a process tells of itself, for people who look for it."""

    kind: Kind = Kind.BOTH
    host: str = ""
    pid: int = 0
    version: str = ""


class Worker(msgspec.Struct, frozen=True):
    """One life of one process: it serves HTTP, claims jobs, or both."""

    id: str
    node: str
    kind: Kind
    host: str
    pid: int
    version: str
    started_at: float
    beat: int
    beat_at: float
    gone_at: float | None = None
    """When it was found that it beats no more; None while it lives."""
    pools: tuple[PoolState, ...] = ()

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.host or self.node


class Lease(msgspec.Struct, frozen=True):
    job_id: str
    attempt: int
    worker: str
    beat: int


class Scaling(msgspec.Struct, frozen=True):
    """A pool became larger or smaller."""

    at: float
    type: JobType
    node: str
    workers_before: int
    workers_after: int
    reason: str


BEATS_PER_TIMEOUT = 6
"""Heartbeats within the time after which a silent process is given up."""

KEPT_SCALINGS = 50
"""Of each type."""

_pools = msgspec.json.Decoder(tuple[PoolState, ...])


NOTHING_TOLD = About()


def register(
    worker_id: str, *, node: str, now: float, about: About = NOTHING_TOLD
) -> Transaction[list[Worker]]:
    """Begin a life; returns this node's earlier ones, which have ended."""
    told = msgspec.structs.asdict(about)
    yield Statement("insert_worker", {"id": worker_id, "node": node, "now": now, **told})
    rows = yield Statement("previous_lives", {"node": node, "id": worker_id})
    return [_worker(row) for row in rows]


def leave(worker_id: str) -> Transaction[None]:
    yield Statement("delete_worker", {"id": worker_id})


def forget(ended: Sequence[Worker]) -> Transaction[None]:
    """Drop the rows of lives that have ended, except where one still holds a lease or has
    beaten since it was read."""
    judged = {worker.id: worker.beat for worker in ended}
    yield Statement("delete_idle_workers", {"judged": as_json(judged)})


def mark_gone(gone: Sequence[Worker], *, now: float) -> Transaction[int]:
    """Those lives have ended without a word, unless one has beaten since it was read. They are
    kept for a while, for people to see. Returns how many were not known to be gone."""
    judged = {worker.id: worker.beat for worker in gone}
    rows = yield Statement("mark_gone", {"judged": as_json(judged), "now": now})
    return len(rows)


def forget_gone(*, before: float) -> Transaction[None]:
    """Drop those that were gone before that time and hold no lease any more."""
    yield Statement("delete_gone", {"before": before})


def beat(
    worker_id: str,
    *,
    node: str,
    running: Mapping[str, int],
    now: float,
    pools: Sequence[PoolState] = (),
    about: About = NOTHING_TOLD,
) -> Transaction[set[str]]:
    """Renew the worker and the leases of `running` ({job id: attempt number}).

    Returns the ids of the jobs whose lease still stands; work on the others must stop.
    """
    told = msgspec.structs.asdict(about) | {"pools": as_json(pools)}
    yield Statement("beat_worker", {"id": worker_id, "node": node, "now": now, **told})
    if not running:
        return set()
    rows = yield Statement("beat_jobs", {"running": as_json(running)})
    return {row["id"] for row in rows}


def standing(running: Mapping[str, int]) -> Transaction[set[str]]:
    """The ids out of `running` whose lease still stands; nothing is renewed."""
    rows = yield Statement("standing_jobs", {"running": as_json(running)})
    return {row["id"] for row in rows}


def probe() -> Transaction[None]:
    """A write that changes nothing: it shows that the database takes writes again."""
    yield Statement("probe_writing")


def pools() -> Transaction[list[PoolState]]:
    """The pools of all processes that live, one state for each type: numbers added up, the latest
    decision, the oldest outage. A type that no process works on is not there."""
    rows = yield Statement("pools")
    found: dict[JobType, PoolState] = {}
    for row in rows:
        for state in _pools.decode(row["pools"]):
            known = found.get(state.type)
            found[state.type] = state if known is None else _together(known, state)
    return [found[job_type] for job_type in JobType if job_type in found]


def add_scaling(scaling: Scaling) -> Transaction[None]:
    yield Statement("add_scaling", msgspec.structs.asdict(scaling))
    yield Statement("trim_scalings", {"type": scaling.type, "keep": KEPT_SCALINGS})


def scalings(*, limit: int) -> Transaction[list[Scaling]]:
    """Of all types, newest first."""
    rows = yield Statement("scalings", {"limit": limit})
    return [record(Scaling, row) for row in rows]


def layers(found: Iterable[ProcessorState]) -> dict[str, str]:
    """The layers of the walls: empty text for one that holds around every processor, else why it
    does not. Nothing when no processor has said so."""
    together: dict[str, str] = {}
    for one in found:
        for layer, why in one.layers.items():
            together[layer] = together.get(layer) or why
    return together


def _together(one: PoolState, other: PoolState) -> PoolState:
    latest = max(one, other, key=lambda state: state.decided_at or 0.0)
    outages = [state.outage for state in (one, other) if state.outage is not None]
    return PoolState(
        type=one.type,
        smallest=one.smallest + other.smallest,
        largest=one.largest + other.largest,
        target=one.target + other.target,
        ready=one.ready or other.ready,
        decision=latest.decision,
        decided_at=latest.decided_at,
        outage=min(outages, key=lambda outage: outage.since, default=None),
        processors=one.processors,
    )


def processors(pools: Sequence[PoolState]) -> list[ProcessorState]:
    """Those of all pools, each once."""
    return list({one.name: one for pool in pools for one in pool.processors}.values())


def servers() -> Transaction[list[Worker]]:
    """Every process that lives, and those that are gone since lately; in the order of their
    starts."""
    rows = yield Statement("workers")
    return [_worker(row) for row in rows]


def census() -> Transaction[tuple[list[Worker], list[Lease]]]:
    """Every worker and every lease that is held, on one snapshot."""
    everybody = yield from servers()
    lease_rows = yield Statement("leases")
    leases = [
        Lease(job_id=row["id"], attempt=row["attempt"], worker=row["worker"], beat=row["beat"])
        for row in lease_rows
    ]
    return everybody, leases


def _worker(row: Row) -> Worker:
    plain = set(Worker.__struct_fields__) - {"kind", "pools"}
    fields = {field: row[field] for field in plain}
    return Worker(**fields, kind=Kind(row["kind"]), pools=_pools.decode(row["pools"]))
