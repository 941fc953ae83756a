"""Tells everybody who watches that a job has changed, after the change is committed."""

from __future__ import annotations

import msgspec

from appliance.coordination.protocol import Coordination
from appliance.events import ALL_JOBS, JobChanged, job_topic, owner_topic, status_key
from appliance.jobs import Job


class Announcer:
    def __init__(self, coordination: Coordination) -> None:
        self._coordination = coordination

    async def changed(self, job_id: str, owner: str, *, final: bool = False) -> None:
        """Drop the cached status and publish; call it after the commit, never before."""
        await self._coordination.delete(status_key(job_id))
        message = msgspec.json.encode(JobChanged(job_id=job_id, owner=owner, final=final))
        for topic in (job_topic(job_id), owner_topic(owner), ALL_JOBS):
            await self._coordination.publish(topic, message)

    async def job_changed(self, job: Job) -> None:
        await self.changed(job.id, job.owner, final=job.status.is_final)
