"""The recorder: writes down when keys and sessions were used last (`appliance.last_uses`)."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.database import keys
from appliance.database.protocol import Database
from appliance.last_uses import LastUses


class Recorder:
    name = "recorder"
    interval_s = 60.0

    def __init__(self, *, database: Database, last_uses: LastUses) -> None:
        self._database = database
        self._last_uses = last_uses

    async def run_once(self) -> Mapping[str, int]:
        """Says nothing of what it did: that keys are used is no news."""
        of_keys, of_sessions = self._last_uses.take()
        if of_keys or of_sessions:
            await self._database.write(keys.note_uses(of_keys, of_sessions))
        return {}
