"""Blocking work on a thread that nobody leaves half done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def see_through(future: asyncio.Future[T]) -> T:
    """The future's result. When cancelled, the cancellation goes on only once it is done.

    So whoever cleans up afterwards finds the matter settled, one way or the other.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await until_done(future)
        raise


class Steadfast(asyncio.Future[T]):
    """A future that is not cancelled: who awaits it and is cancelled meanwhile hears of that when
    it is done. The same as `see_through`, for a future of one's own, and cheaper.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        return False

    def set_exception(self, exception: type[BaseException] | BaseException, /) -> None:
        super().set_exception(exception)
        self.exception()  # who awaits it may be told of a cancellation instead


async def until_done(future: asyncio.Future[Any]) -> None:
    """Return when it is, however often the caller is cancelled meanwhile."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue  # cancelled again: the first one goes on when this is over


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `asyncio.to_thread`, but when this returns or raises, the function is over.

    A thread cannot be cancelled: `to_thread` lets go of it, and what it does next (a directory
    made, a file renamed into place) happens behind the back of the caller's cleanup.
    """
    return await see_through(asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs)))
