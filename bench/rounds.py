"""How figures are told: the median of the rounds, with the smallest and the largest."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

ROUNDS = 7


def spread(values: Sequence[float], *, digits: int = 0) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: neighbours in time, so that what disturbs one disturbs both."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need; the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
