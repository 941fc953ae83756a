"""What event streams tell of jobs, read once for all who were told of the same change.

A change wakes every stream that follows the job, all at once: 200 of them would read the same row
200 times. What is asked for within a moment is read together. The read begins after the last of
those questions, so that whoever asks because of a change is never told of what was before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import web

from appliance.database import job_reads
from appliance.database.protocol import Database, Transaction
from appliance.jobs import Job
from appliance.web.representation import encode, job_document

GATHER_S = 0.01


class News:
    """Some jobs as they were at one moment."""

    def __init__(self, history_id: int, jobs: Iterable[Job]) -> None:
        self.history_id = history_id
        """Of the newest entry of the history."""
        self.jobs = {job.id: job for job in jobs}
        self._bodies: dict[tuple[str, bool], bytes] = {}

    def body(self, job: Job, reader: str) -> bytes:
        """The job's document, as `reader` may see it; made once for all but its owner."""
        key = (job.id, reader == job.owner)
        if key not in self._bodies:
            self._bodies[key] = encode(job_document(job, reader))
        return self._bodies[key]


class JobNews:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted: dict[str, None] = {}
        self._coming: asyncio.Task[News] | None = None
        """Whose read has not begun."""

    async def of(self, job_ids: Iterable[str]) -> News:
        """These jobs, and perhaps others, as they are now or a moment later. One that was deleted
        is not there. Raises DatabaseUnavailable."""
        self._wanted.update(dict.fromkeys(job_ids))
        if self._coming is None:
            self._coming = asyncio.create_task(self._read(), name="job-news")
            self._coming.add_done_callback(_told)
        # Who goes away does not take them from the others.
        return await asyncio.shield(self._coming)

    async def _read(self) -> News:
        await asyncio.sleep(GATHER_S)
        wanted, self._wanted, self._coming = list(self._wanted), {}, None
        return await self._database.read(_news(wanted))


def _told(done: asyncio.Task[News]) -> None:
    """Of its failure, whoever waits is told; nobody may."""
    if not done.cancelled():
        done.exception()


def _news(job_ids: list[str]) -> Transaction[News]:
    history_id = yield from job_reads.last_history_id()
    return News(history_id, (yield from job_reads.by_ids(job_ids)))


JOB_NEWS: web.AppKey[JobNews] = web.AppKey("job_news", JobNews)
