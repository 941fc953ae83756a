"""The redriver: takes the next step of every redrive that runs (`database.redrives`)."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from appliance.acts import Acts
from appliance.database import redrives
from appliance.database.protocol import Database

log = structlog.get_logger()


class Redriver:
    name = "redriver"
    interval_s = 1.0

    def __init__(self, *, database: Database, acts: Acts) -> None:
        self._database = database
        self._acts = acts

    async def run_once(self) -> Mapping[str, int]:
        ended = 0
        for redrive_id in await self._database.read(redrives.running()):
            redrive = await self._acts.advance(redrive_id)
            if redrive is not None and redrive.state != "running":
                ended += 1
                log.info(
                    "redrive_ended",
                    redrive_id=redrive.id,
                    state=redrive.state,
                    completed=redrive.counts.completed,
                    failed=redrive.counts.failed,
                    not_begun=redrive.counts.waiting,
                )
        for redrive_id in await self._database.read(redrives.unsettled()):
            await self._database.write(redrives.settle(redrive_id))
        return {"redrives_ended": ended}
