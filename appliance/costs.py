"""What storing costs, at the prices of a large cloud: AWS S3 in us-east-1, for a GB a month."""

from __future__ import annotations

GB = 1e9
HOT_USD = 0.023
"""S3 Standard."""
COLD_USD = 0.0125
"""S3 Standard-IA."""


def monthly_usd(*, hot_bytes: int, cold_bytes: int) -> float:
    return hot_bytes / GB * HOT_USD + cold_bytes / GB * COLD_USD


def saved_usd(cold_bytes: int) -> float:
    """In a month, by lying in the cold place."""
    return cold_bytes / GB * (HOT_USD - COLD_USD)
