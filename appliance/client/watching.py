"""What somebody may want to see of a transfer while it goes on."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Of one file. Every method returns at once."""

    def moved(self, offset_bytes: int) -> None:
        """So far it is through; it may also fall back."""

    def waits(self, reason: str) -> None:
        """The server does not take it right now; it is tried again."""

    def processes(self, fraction: float, status: str) -> None:
        """The job, 0 to 1."""


class Unwatched:
    def moved(self, offset_bytes: int) -> None:
        pass

    def waits(self, reason: str) -> None:
        pass

    def processes(self, fraction: float, status: str) -> None:
        pass
