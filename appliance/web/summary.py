"""Is everything all right? One sentence that names what needs a hand, each with the way to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.database.figures import QueueFigures
from appliance.database.pauses import Pause
from appliance.database.scrub import DamagedFile
from appliance.database.workers import PoolState, Worker
from appliance.web import words
from appliance.web.pool_panel import pause_words, trouble

MANY_DAMAGED = 100
LONGEST = 4
"""Things that one sentence names; the others are counted."""


def summarise(
    parts: Mapping[str, Mapping[str, Any]],
    pools: Iterable[PoolState],
    servers: Iterable[Worker],
    queue: QueueFigures,
    paused: Iterable[Pause],
    missing: int,
    damaged: Sequence[DamagedFile],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """`clauses` make the sentence, the gravest first; each has `text`, `href`, and may have a
    `reason` with `since`, and for a pause `actor` and `until`."""
    clauses = [
        {"text": f"the {name} needs a look", "href": "#health", "reason": part["detail"]}
        for name, part in parts.items()
        if name != "workers" and not part["ok"]
    ]
    clauses += _gone(servers)
    clauses += _held_up(pools)
    if missing:
        text = "1 stored file is" if missing == 1 else f"{missing:,} stored files are"
        clauses.append(
            {
                "text": f"{text} missing",
                "href": "#health",
                "reason": "Restore them from a backup; the log names them.",
            }
        )
    clauses += _damaged(damaged)
    if queue.dead_letters:
        wait = "waits" if queue.dead_letters == 1 else "wait"
        clauses.append(
            {
                "text": f"{words.count(queue.dead_letters, 'job')} {wait} for review",
                "href": "/dashboard/dead-letters",
            }
        )
    clauses += _paused(paused, names)
    return {"ok": not clauses, "clauses": clauses[:LONGEST], "more": len(clauses[LONGEST:])}


def _damaged(found: Sequence[DamagedFile]) -> list[dict[str, Any]]:
    """Those that were read and are others now, and those that could not be read."""
    clauses = []
    for text, reason, files in (
        ("damaged", "is not what was stored.", [one for one in found if one.unreadable is None]),
        ("unreadable", "could not be read.", [one for one in found if one.unreadable is not None]),
    ):
        if not files:
            continue
        many = len(files) > MANY_DAMAGED
        count = f"more than {MANY_DAMAGED}" if many else str(len(files))
        first = files[0]
        said = f" {words.plain(first.unreadable)}" if first.unreadable else ""
        clauses.append(
            {
                "text": f"{count} stored {'file is' if len(files) == 1 else 'files are'} {text}",
                "href": f"/dashboard/jobs/{first.job_id}",
                "reason": f"{words.plain(first.name)} {reason}{said} Restore it from a backup, "
                "then run `appliance scrub`; the log names all.",
                "since": min(one.found_at for one in files),
            }
        )
    return clauses


def _gone(servers: Iterable[Worker]) -> list[dict[str, Any]]:
    gone = [server for server in servers if server.gone_at is not None]
    if not gone:
        return []
    named = ", ".join(f"{server.name} (process {server.pid})" for server in gone)
    text = "1 server is" if len(gone) == 1 else f"{len(gone)} servers are"
    return [
        {
            "text": f"{text} gone",
            "href": "/dashboard/workers#servers",
            "reason": f"No heartbeat of {words.plain(named)}. Its jobs are taken back.",
            "since": min(server.beat_at for server in gone),
        }
    ]


def _held_up(pools: Iterable[PoolState]) -> list[dict[str, Any]]:
    return [
        {"text": f"{words.KINDS[pool.type]} are held up", "href": f"#pool-{pool.type}", **why}
        for pool in pools
        if (why := trouble(pool)) is not None
    ]


def _paused(paused: Iterable[Pause], names: Mapping[str, str]) -> Sequence[dict[str, Any]]:
    found = []
    for pause in paused:
        about = pause_words(pause, names)
        if pause.kind == "type":
            text = f"{words.KINDS.get(pause.name, pause.name)} are paused"
        else:
            text = f"{about['who']} is paused"
        found.append({"text": text, "href": "#pools", **about})
    return found
