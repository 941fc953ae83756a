"""Many files: some at once are sent, and their jobs are followed while others are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from appliance.client import jobs
from appliance.client.connection import Connection
from appliance.client.failures import ClientFailure
from appliance.client.patience import Patience
from appliance.client.sources import Source
from appliance.client.uploads import Sent, Uploads
from appliance.client.watching import Watcher

FOLLOWERS = 8
"""Jobs that are asked about at once. One that is final already answers at once."""


@dataclass(frozen=True)
class Outcome:
    """Of one file."""

    source: Source
    sent: Sent | None = None
    job: dict[str, Any] | None = None
    """As it was last seen."""
    failure: ClientFailure | None = None

    @property
    def is_good(self) -> bool:
        """Acknowledged, and, as far as that was looked at, not failed."""
        if self.failure is not None or self.job is None:
            return False
        return not jobs.of(self.job).has_failed


async def run(
    sources: Sequence[Source],
    *,
    uploads: Uploads,
    connection: Connection,
    new_patience: Callable[[], Patience],
    watch: Callable[[Source, bool], AbstractContextManager[Watcher]],
    tell: Callable[[Outcome], None],
    parallel: int,
    follow: bool,
) -> list[Outcome]:
    """`tell` is told each outcome once, as it comes. `watch` is asked twice about a
    file that is followed: for the sending, and (True) for the job.

    With `follow`, a file's outcome is that of its job.
    """
    waiting = iter(sources)
    outcomes: list[Outcome] = []
    sent: asyncio.Queue[Outcome | None] = asyncio.Queue()

    def settle(outcome: Outcome) -> None:
        outcomes.append(outcome)
        tell(outcome)

    async def send() -> None:
        for source in waiting:  # shared: each file goes to one of the senders
            with watch(source, False) as watcher:
                outcome = await _send(uploads, source, watcher)
            if follow and outcome.is_good:
                sent.put_nowait(outcome)
            else:
                settle(outcome)

    async def follow_jobs() -> None:
        while (outcome := await sent.get()) is not None:
            with watch(outcome.source, True) as watcher:
                settle(await _follow(connection, outcome, new_patience(), watcher))

    async with asyncio.TaskGroup() as tasks:
        senders = [tasks.create_task(send()) for _ in range(min(parallel, len(sources)))]
        followers = [tasks.create_task(follow_jobs()) for _ in range(FOLLOWERS if follow else 0)]
        await asyncio.gather(*senders)
        for _ in followers:
            sent.put_nowait(None)
    return outcomes


async def _send(uploads: Uploads, source: Source, watcher: Watcher) -> Outcome:
    try:
        sent = await uploads.send(source, watcher)
    except ClientFailure as failure:
        return Outcome(source, failure=failure)
    return Outcome(source, sent, sent.job)


async def _follow(
    connection: Connection, outcome: Outcome, patience: Patience, watcher: Watcher
) -> Outcome:
    assert outcome.sent is not None
    assert outcome.job is not None

    def show(document: dict[str, Any]) -> None:
        seen = jobs.of(document)
        watcher.processes(seen.progress, seen.status)

    job_id = jobs.of(outcome.job).job_id
    try:
        job = await jobs.final(connection, job_id, patience=patience, moved=show)
    except ClientFailure as failure:
        return Outcome(outcome.source, outcome.sent, outcome.job, failure)
    return Outcome(outcome.source, outcome.sent, job)
