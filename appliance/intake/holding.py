"""One request at a time for each upload, and the newer one goes first.

A client that has lost its connection comes back while the server still waits for bytes on the
old one. So whoever comes takes over from a holder that only receives, at once; one that is
settling what came is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from appliance.errors import UploadTakenOver

SETTLE_S = 30.0
"""How long a holder that is settling is waited for."""


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass
class Holder:
    scope: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    gone: asyncio.Future[None] = field(default_factory=_future)
    wanted: bool = False
    """Somebody waits for the upload."""
    receiving: bool = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What is done within may be cancelled by whoever takes over."""
        self.receiving = True
        try:
            if self.wanted:
                self.give_way()
            yield
        finally:
            self.receiving = False

    def give_way(self) -> None:
        self.wanted = True
        if self.receiving and not self.scope.expired():
            self.scope.reschedule(asyncio.get_running_loop().time())


class Holding:
    def __init__(self) -> None:
        self._holders: dict[str, Holder] = {}

    def is_held(self, upload_id: str) -> bool:
        return upload_id in self._holders

    @asynccontextmanager
    async def of(self, upload_id: str) -> AsyncIterator[Holder]:
        """Hold the upload alone. Raises UploadTakenOver in the one that has to let go, and in one
        that waits for `SETTLE_S` in vain."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_S
        while (other := self._holders.get(upload_id)) is not None:
            left = deadline - loop.time()
            if left <= 0:
                raise UploadTakenOver("Another request is busy with this upload; try again.")
            other.give_way()
            await asyncio.wait((other.gone,), timeout=left)
        holder = self._holders[upload_id] = Holder()
        try:
            async with holder.scope:
                yield holder
        except TimeoutError:
            if not holder.scope.expired():
                raise
            raise UploadTakenOver from None
        finally:
            del self._holders[upload_id]
            holder.gone.set_result(None)
