"""What storing costs, for a GB a month."""

from __future__ import annotations

from typing import NamedTuple

GB = 1e9


class Prices(NamedTuple):
    """In US dollars. The settings have those of AWS S3 in us-east-1: Standard, Standard-IA."""

    hot_usd: float
    cold_usd: float

    def monthly_usd(self, *, hot_bytes: int, cold_bytes: int) -> float:
        return hot_bytes / GB * self.hot_usd + cold_bytes / GB * self.cold_usd

    def saved_usd(self, cold_bytes: int) -> float:
        """In a month, by lying in the cold place; below 0 where that is the dearer one."""
        return cold_bytes / GB * (self.hot_usd - self.cold_usd)
