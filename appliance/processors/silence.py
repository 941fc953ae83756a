"""A Reporter that nobody reads: for warming up, and for measuring."""

from __future__ import annotations


class Silence:
    """See `protocol.Reporter`."""

    def progress(self, fraction: float, step: str) -> None: ...

    def output(
        self,
        name: str,
        content_type: str,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
    ) -> None: ...
