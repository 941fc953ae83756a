"""Backups that somebody asks for, beside those that are taken by themselves."""

from __future__ import annotations

import asyncio

import structlog

from appliance.backups.backups import Backups, tell_of_lacking
from appliance.errors import ApplianceError

log = structlog.get_logger()


class AskedBackups:
    def __init__(self, backups: Backups) -> None:
        self.backups = backups
        self._task: asyncio.Task[None] | None = None

    async def begin(self, *, actor: str) -> None:
        """One is recorded when this returns, and goes on behind it.

        Raises BackupRunning, DatabaseUnavailable.
        """
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._take(actor, begun), name="backup")
        await asyncio.shield(begun)
        self._task = task

    async def _take(self, actor: str, begun: asyncio.Future[None]) -> None:
        try:
            tell_of_lacking(
                await self.backups.take(actor=actor, begun=lambda: begun.set_result(None))
            )
        except Exception as error:  # top of a task: told to who asked, or to the log
            if not begun.done():
                begun.set_exception(error)
            elif isinstance(error, ApplianceError):
                log.warning("backup_failed", reason=error.detail)
            else:
                log.exception("backup_broke")

    async def close(self) -> None:
        """One that is under way is given up; what it has copied is of use to the next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
