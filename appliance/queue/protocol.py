"""What a queue must do: tell a worker which job to try next. It carries ids only.

The database is the truth: a queue may lose, double or delay an id and nothing goes wrong. A
doubled one loses the conditional claim; a lost one is offered again by maintenance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.jobs import Job, JobType


class Delivery(Protocol):
    @property
    def job_id(self) -> str: ...

    async def ack(self) -> None:
        """The job is settled, or was no longer there to take. Never fails."""
        ...


class Queue(Protocol):
    @property
    def fault(self) -> str | None:
        """Why workers are not told of jobs at the moment, for those who run them."""
        ...

    async def check(self) -> None:
        """Raises ConfigurationError where what is set does not answer."""
        ...

    async def close(self) -> None: ...

    async def enqueue(self, job_id: str, job_type: JobType, *, priority: int) -> None:
        """Announce a job that is PENDING and committed."""
        ...

    async def give_up(self, job: Job) -> None:
        """Tell whoever listens of a job that is FAILED; its dead letter is in the database."""
        ...

    async def repair(self) -> int:
        """Announce again what was lost on the way; how many. For maintenance to call."""
        ...

    async def receive(
        self, job_type: JobType, *, limit: int, small_only: bool = False
    ) -> Sequence[Delivery]:
        """Wait until there is something to try; at least 1, at most `limit` deliveries.

        Higher priorities first, owners in turn within one; nothing of a type or an owner that is
        paused; with `small_only` no file above `jobs.LARGE_BYTES`. The caller claims what it
        got, or acknowledges it, before it receives again.
        """
        ...
