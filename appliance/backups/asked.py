"""Backups that somebody asks for, beside those that are taken by themselves."""

from __future__ import annotations

import asyncio

import structlog

from appliance.backups.backups import Backups, tell_of_lacking
from appliance.errors import ApplianceError, ShuttingDown

log = structlog.get_logger()


class AskedBackups:
    def __init__(self, backups: Backups) -> None:
        self.backups = backups
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, *, actor: str) -> None:
        """One is recorded when this returns, and goes on behind it.

        Raises BackupRunning, DatabaseUnavailable, ShuttingDown.
        """
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._take(actor, begun), name="backup")
        self._tasks.add(task)  # before it has begun: `close` is to find it
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(begun)

    async def _take(self, actor: str, begun: asyncio.Future[None]) -> None:
        try:
            tell_of_lacking(
                await self.backups.take(actor=actor, begun=lambda: begun.set_result(None))
            )
        except asyncio.CancelledError:
            if not begun.done():
                begun.set_exception(ShuttingDown())
            raise
        except Exception as error:  # top of a task: told to who asked, or to the log
            if not begun.done():
                begun.set_exception(error)
            elif isinstance(error, ApplianceError):
                log.warning("backup_failed", reason=error.detail)
            else:
                log.exception("backup_broke")

    async def close(self) -> None:
        """One that is under way is given up; what it has copied is of use to the next."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
