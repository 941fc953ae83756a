"""Results that are seen while their attempt goes on: the thumbnail of a video that is being
transcoded.

What a child has reported is taken one file at a time, in the order of the reports: checked, stored
under the attempt's key, and published by a write that names the attempt. The child lives and may be
hostile, so what is stored are the bytes that were checked, and never its file. A file that may not
be kept ends the attempt. Whether the results stay is decided by the move that settles the job: all
but `complete` take the rows back with it, and the worker deletes what it has stored.

Large files wait for the end, and so does everything once the lease is gone.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import structlog

from appliance.database import jobs
from appliance.database.protocol import Database
from appliance.errors import DatabaseUnavailable, StorageFull
from appliance.jobs import Claim, ResultFile
from appliance.notify.announcer import Announcer
from appliance.processors.protocol import Output
from appliance.storage.protocol import Storage
from appliance.threads import in_thread
from appliance.workers.outputs import Bounds, CheckedFile, check_reports, read_output

log = structlog.get_logger()


class PartialResults:
    """Of one attempt."""

    def __init__(
        self,
        claim: Claim,
        output_dir: Path,
        bounds: Bounds,
        *,
        database: Database,
        storage: Storage,
        announcer: Announcer,
    ) -> None:
        self._claim = claim
        self._output_dir = output_dir
        self._bounds = bounds
        self._database = database
        self._storage = storage
        self._announcer = announcer
        self._reported: list[Output] = []
        self._waiting: deque[int] = deque()
        """Places in the list of what was reported."""
        self.taken: dict[str, ResultFile] = {}
        """By name: they are stored."""

    def hear(self, output: Output) -> None:
        self._waiting.append(len(self._reported))
        self._reported.append(output)

    async def take_next(self) -> bool:
        """Take the next file that waits, if it is not too large; False when none waits.

        Raises OutputRefused, StorageFull, StorageUnavailable.
        """
        if not self._waiting:
            return False
        position = self._waiting.popleft()
        check_reports(self._reported, self._bounds)
        read = await in_thread(
            read_output,
            self._output_dir,
            self._reported[position],
            self._bounds,
            taken=self.taken.values(),
        )
        if read is not None:
            checked, data = read
            file = result_file(self._claim, checked)
            async with await self._storage.receive(file.storage_key) as incoming:
                await incoming.write(data)
                await incoming.commit(sha256=file.sha256)
            self.taken[file.name] = file
            await self._publish(position, file)
        return True

    async def _publish(self, position: int, file: ResultFile) -> None:
        job_id = self._claim.job.id
        move = jobs.publish(job_id, attempt=self._claim.attempt, position=position, file=file)
        try:
            owner = await self._database.write(move)
        except (DatabaseUnavailable, StorageFull) as error:
            # No reason to give up hours of work: it is seen at the end with the others.
            log.warning("result_not_published", job_id=job_id, reason=error.detail)
            return
        if owner is None:
            self._waiting.clear()  # whoever looks at the leases stops the child
        else:
            await self._announcer.changed(job_id, owner)


def result_file(claim: Claim, checked: CheckedFile) -> ResultFile:
    return ResultFile(
        name=checked.name,
        content_type=checked.content_type,
        size_bytes=checked.size_bytes,
        sha256=checked.sha256,
        storage_key=f"{results_prefix(claim)}/{checked.name}",
        width_px=checked.width_px,
        height_px=checked.height_px,
    )


def results_prefix(claim: Claim) -> str:
    """Where the attempt's results go: other attempts never write there."""
    return f"processed/{claim.job.id}/{claim.attempt}"
