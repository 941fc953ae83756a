"""`appliance serve` that kills itself at a named point, for test_named_points.

    python -m tests.torture.dying POINT NTH serve

Functions of the real modules are wrapped from outside, so there is no hook in the product. At
the NTH time that the point is reached the process sends itself SIGKILL: nothing is flushed, no
`finally` runs, other threads stop where they are.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from aiohttp import web

from appliance import cli
from appliance.database import jobs
from appliance.database.sqlite import SqliteDatabase
from appliance.errors import StorageUnavailable
from appliance.intake.receiver import Receiver
from appliance.storage import local, local_commits, local_files
from appliance.storage.local_commits import LocalCommits
from appliance.web import uploads
from appliance.workers.nursery import Nursery
from appliance.workers.program import Program

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


class Point:
    """Where the process dies, and how often it may come by before."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def reach(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: Any, name: str, wrapper: Wrapper) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(wrapper(original)))


def before(point: Point) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **options: Any) -> Any:
            point.reach()
            return original(*args, **options)

        return dying

    return wrapper


def after(point: Point) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            point.reach()
            return result

        return dying

    return wrapper


def after_awaited(point: Point) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        async def dying(*args: Any, **options: Any) -> Any:
            result = await original(*args, **options)
            point.reach()
            return result

        return dying

    return wrapper


def is_move(transaction: Any, name: str) -> bool:
    """Whether it is that transaction of a job; others have a `create` too."""
    moves: dict[str, Any] = {"claim": jobs.claim_all, "create": Receiver._create}
    move = moves.get(name) or getattr(jobs, name)
    return bool(transaction.gi_code is move.__code__)


def in_transaction(name: str, point: Point) -> None:
    """Its statements were run on the connection; the COMMIT was not."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def dying(self: Any, connection: Any, transaction: Any, *more: Any) -> Any:
            value = original(self, connection, transaction, *more)
            matches = is_move(transaction, name)
            if matches and connection.in_transaction:
                point.reach()
            return value

        return dying

    wrap(SqliteDatabase, "_drive", wrapper)


def around_write(name: str, point: Point, *, committed: bool) -> None:
    """Before the transaction is begun, or after its commit and before its caller hears of it."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        async def dying(self: Any, transaction: Any) -> Any:
            matches = is_move(transaction, name)
            if matches and not committed:
                point.reach()
            value = await original(self, transaction)
            if matches and committed:
                point.reach()
            return value

        return dying

    wrap(SqliteDatabase, "write", wrapper)


def around_answer(point: Point, *, sent: bool) -> None:
    """A 202 as it is made, or when its bytes were given to the socket."""
    if not sent:
        wrap(uploads, "json_response", before(point))
        return

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        async def dying(self: web.Response, *args: Any) -> Any:
            value = await original(self, *args)
            if self.status == 202:
                point.reach()
            return value

        return dying

    wrap(web.Response, "write_eof", wrapper)


def around_shared_sync(wrapper: Wrapper) -> None:
    """Also a file that comes alone is synced as if there were others."""
    local_commits.SHARE_FROM = 1
    wrap(LocalCommits, "_sync_all", wrapper)


def first_child_dies() -> None:
    """The first attempt's child is killed at its start, so that there is a retry."""
    killed: list[int] = []

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def killing(self: Program, event: Any) -> None:
            original(self, event)
            pid = getattr(event, "pid", None)
            if getattr(event, "attempt_id", None) and pid and not killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

        return killing

    wrap(Program, "_obey", wrapper)


def first_store_fails() -> None:
    """The disk fails at the first result, so that the job is handed back."""
    failed: list[bool] = []

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        async def failing(*args: Any) -> Any:
            if not failed:
                failed.append(True)
                raise StorageUnavailable("The disk failed, once.")
            return await original(*args)

        return failing

    wrap(local.LocalStorage, "store_file", wrapper)


def child_ends_after_publishing() -> None:
    """The child's end is not heard of before one of its results was published."""
    published = asyncio.Event()

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        async def write(self: Any, transaction: Any) -> Any:
            value = await original(self, transaction)
            if is_move(transaction, "publish"):
                published.set()
            return value

        return write

    def waiting(original: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any, **options: Any) -> Any:
            outcome = await original(*args, **options)
            await published.wait()
            return outcome

        return run

    wrap(SqliteDatabase, "write", noting)
    wrap(Nursery, "run", waiting)


POINTS: dict[str, Callable[[Point], None]] = {
    "a piece was written": lambda p: wrap(local._LocalIncoming, "write", after_awaited(p)),
    "before rename": lambda p: wrap(local_files, "put_in_place", before(p)),
    "after rename": lambda p: wrap(local_files, "put_in_place", after(p)),
    "before fsync": lambda p: wrap(local_commits, "sync", before(p)),
    "after fsync": lambda p: wrap(local_commits, "sync", after(p)),
    "after the directories' fsync": lambda p: wrap(LocalCommits, "_commit", after(p)),
    "before the shared sync": lambda p: around_shared_sync(before(p)),
    "after the shared sync": lambda p: around_shared_sync(after(p)),
    "before answer": lambda p: around_answer(p, sent=False),
    "after answer": lambda p: around_answer(p, sent=True),
    "before child": lambda p: wrap(Program, "attend", before(p)),
    "after child": lambda p: wrap(Nursery, "run", after_awaited(p)),
    "before result upload": lambda p: wrap(local.LocalStorage, "store_file", before(p)),
    "after result upload": lambda p: wrap(local.LocalStorage, "store_file", after_awaited(p)),
    **{
        f"{when} {name}": functools.partial(
            lambda name, committed, p: around_write(name, p, committed=committed), name, committed
        )
        for name in ("create", "claim", "publish", "complete", "retry", "stage", "fail", "release")
        for when, committed in (("before", False), ("after", True))
    },
    **{
        f"in {name}": functools.partial(in_transaction, name)
        for name in ("create", "claim", "publish", "complete", "retry", "stage", "fail", "release")
    },
}


def main() -> None:
    name, nth, *arguments = sys.argv[1:]
    POINTS[name](Point(int(nth)))
    match name.split()[1]:
        case "retry" | "stage":
            first_child_dies()
        case "release":
            first_store_fails()
        case "publish":
            child_ends_after_publishing()
    cli.main(arguments)


if __name__ == "__main__":
    main()
