"""Deleting many objects, a few at a time. One request for many is not understood everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from appliance.errors import ObjectMissing

AT_A_TIME = 8


async def delete_each(delete: Callable[[str], Awaitable[object]], keys: Sequence[str]) -> None:
    left = iter(keys)

    async def take() -> None:
        for key in left:
            try:
                await delete(key)
            except ObjectMissing:
                continue

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_A_TIME, len(keys))):
            group.create_task(take())
