"""Whether a store is there: as far as its last requests tell, else by asking it.

So an upload is refused before its body, and `/readyz` tells it, without a request for each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from appliance.errors import StorageUnavailable

FRESH_S = 5.0
"""So long one answer says that the store is there."""
FRESH_FAULT_S = 1.0
"""So long one fault says that it is not."""
RETRY_AFTER_S = 5.0


class Pulse:
    def __init__(self) -> None:
        self._fault: StorageUnavailable | None = None
        self._heard_at = float("-inf")
        self._asking = asyncio.Lock()

    def heard(self, fault: StorageUnavailable | None) -> None:
        """What a request came to; None: an answer."""
        self._fault = fault
        self._heard_at = time.monotonic()

    async def check(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Raises StorageUnavailable."""
        if self._is_stale():
            async with self._asking:
                if self._is_stale():
                    try:
                        await ask()
                        self.heard(None)
                    except StorageUnavailable as fault:
                        self.heard(fault)
        if self._fault is not None:
            known = self._fault
            raise type(known)(known.detail, retry_after_s=RETRY_AFTER_S) from known

    def _is_stale(self) -> bool:
        fresh_s = FRESH_S if self._fault is None else FRESH_FAULT_S
        return time.monotonic() - self._heard_at > fresh_s
