"""How many workers of a type may work at once (DIAGRAMS.md, 7).

    queued > workers * 10  ─► one more        queued < workers * 5  ─► one fewer

between the smallest and the largest pool, and as far as cores and memory go. Between the two
marks nothing changes, and fewer only after the low mark has held for HOLD_S: a queue that
breathes does not make the pool breathe with it. It decides; the pool acts, and what runs is
never stopped for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

UP_PER_WORKER = 10
DOWN_PER_WORKER = 5
UP_EVERY_S = 2.0
"""Between two steps up: the last one is to show an effect first."""
HOLD_S = 30.0

FIRST_PEAK_BYTES = 300 * 1024**2
"""What an attempt is expected to take in memory before one was seen."""
SPARE_BYTES = 256 * 1024**2
"""Memory that is left to the rest of the machine."""


@dataclass(frozen=True)
class Room:
    """What the machine still has for one more worker."""

    spare_cores: int
    """Workers above the smallest pools that it can take, all types together."""
    available_bytes: int
    peak_bytes: int
    """Of the largest attempts of this type lately."""


@dataclass(frozen=True)
class Decision:
    target: int
    reason: str


class Scaler:
    """The rule for one pool, with what it has to remember."""

    def __init__(self, *, smallest: int, largest: int) -> None:
        self.target = smallest
        self._smallest = smallest
        self._largest = largest
        self._stepped_up_at = float("-inf")
        self._low_since: float | None = None

    def decide(self, queued: int, room: Room, *, now: float) -> Decision | None:
        """The next size of the pool and why, when there is something to say; None when nothing
        changes. `now` is monotonic, seconds."""
        workers = self.target
        if queued > workers * UP_PER_WORKER:
            self._low_since = None
            return self._up(queued, room, now)
        if workers > self._smallest and queued < workers * DOWN_PER_WORKER:
            if self._low_since is None:
                self._low_since = now
            if now - self._low_since >= HOLD_S:
                self._low_since = now
                self.target = workers - 1
                return Decision(
                    self.target,
                    f"down to {self.target}: {queued} queued, fewer than {DOWN_PER_WORKER} for "
                    f"each of {workers} for {HOLD_S:.0f} s",
                )
        else:
            self._low_since = None
        return None

    def _up(self, queued: int, room: Room, now: float) -> Decision | None:
        workers = self.target
        if workers >= self._largest or now - self._stepped_up_at < UP_EVERY_S:
            return None
        why = f"{queued} queued, more than {UP_PER_WORKER} for each of {workers}"
        if room.spare_cores <= 0:
            return Decision(workers, f"held at {workers}: {why}, but every core has its worker")
        if room.available_bytes < room.peak_bytes + SPARE_BYTES:
            return Decision(
                workers,
                f"held at {workers}: {why}, but {room.available_bytes // 1024**2} MiB of memory "
                f"are left and an attempt takes {room.peak_bytes // 1024**2}",
            )
        self._stepped_up_at = now
        self.target = workers + 1
        return Decision(self.target, f"up to {self.target}: {why}")


def cores() -> int:
    return len(os.sched_getaffinity(0))


def available_memory_bytes(root: Path = Path("/")) -> int:
    """What can still be had: of the machine, and of the control group where that has a limit."""
    available = _meminfo_available(root / "proc/meminfo")
    group = root / "sys/fs/cgroup"
    try:
        limit, used = (group / "memory.max").read_text(), (group / "memory.current").read_text()
    except OSError:
        return available  # no control group of version 2 of our own: the machine's figure it is
    if limit.strip() == "max":
        return available
    return min(available, max(0, int(limit) - int(used)))


def _meminfo_available(path: Path) -> int:
    for line in path.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{path} tells no MemAvailable; Linux 3.14 or newer is needed")
