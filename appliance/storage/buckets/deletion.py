"""Deleting many objects, a few at a time. One request for many is not understood everywhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from appliance.errors import ObjectMissing

AT_A_TIME = 8


async def delete_each(delete: Callable[[str], Awaitable[object]], keys: Sequence[str]) -> None:
    """Raises what one of them came to; then no other is begun."""
    left = deque(keys)

    async def take() -> None:
        while left:
            try:
                await delete(left.popleft())
            except ObjectMissing:
                continue
            except BaseException:
                left.clear()
                raise

    takers = (take() for _ in range(min(AT_A_TIME, len(keys))))
    for ended in await asyncio.gather(*takers, return_exceptions=True):
        if ended is not None:
            raise ended
