"""The requests that are being answered now, so that stopping can wait for them.

aiohttp's own shutdown takes no more of a body as soon as it begins, which would break every
upload that is under way; so it only begins when these are done.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from aiohttp import web


class InFlight:
    """A count of requests; each holds it as a context."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._count -= 1
        if self._count == 0:
            self._none.set()

    async def wait_until_none(self, timeout_s: float) -> int:
        """Returns how many are left after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._none.wait()
        return self._count


IN_FLIGHT: web.AppKey[InFlight] = web.AppKey("in_flight", InFlight)
