"""Blocking work on a thread that nobody leaves half done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `asyncio.to_thread`, but when this returns or raises, the function is over.

    A thread cannot be cancelled: `to_thread` lets go of it, and what it does next (a directory
    made, a file renamed into place) happens behind the back of the caller's cleanup. Here a
    cancellation waits for it and goes on after.
    """
    working = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
