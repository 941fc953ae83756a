"""Which of several processes does the maintenance that one is enough for.

Nothing depends on there being one: every pass of maintenance may be run by several at once. It
saves work, and the same message to operators from each.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from appliance.coordination.protocol import Coordination

log = structlog.get_logger()

TTL_S = 30.0
"""After so long another takes over from a process that is gone."""


class Leadership:
    interval_s = TTL_S / 3

    def __init__(self, coordination: Coordination, of: str) -> None:
        """`of` names the services: some processes have those that others have not."""
        self.name = f"leadership of {of}"
        self._coordination = coordination
        self._of = f"maintenance of {of}"
        self.leads = False

    async def run_once(self) -> Mapping[str, int]:
        led, self.leads = self.leads, await self._coordination.lead(self._of, ttl_s=TTL_S)
        if led != self.leads:
            log.info("maintenance_leads", what=self._of, leads=self.leads)
        return {}

    async def step_down(self) -> None:
        self.leads = False
        await self._coordination.step_down(self._of)
