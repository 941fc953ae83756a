"""What a scanner of viruses promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from appliance.jobs import Scan

Content = Callable[[], AsyncIterator[bytes]]
"""Begins to read a file anew with each call."""


class Scanner(Protocol):
    async def scan(self, content: Content, *, size_bytes: int) -> Scan:
        """What is found in `content`: `clean`, `infected` (the reason is the signature's name), or
        `not_scanned` (the reason is why this scanner cannot tell).

        It is read at the scanner's speed and not kept in memory. Never `clean` unless the scanner
        has taken all of it and says so. Raises ScannerUnavailable when it may be able to tell
        later, and whatever reading raises.
        """
        ...

    async def check(self) -> str:
        """The engine and the version of its signatures. Raises ScannerUnavailable."""
        ...
