"""What can be told about a disk from outside: what it is, and how long a sync takes.

Whether a sync reaches the medium cannot be seen without cutting the power. But one that takes no
time reaches none, and some file systems say by their name that they keep nothing.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 4096
SYNCS = 60
LONGEST_S = 3.0
PLAUSIBLE_S = 30e-6
"""Flash behind a capacitor answers in 50 µs at the least, with a file system above it in more;
a disk without one in 500 µs, one that turns in 5 ms. What takes less only says that it syncs."""

IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
IN_A_CONTAINER = frozenset({"overlay", "aufs"})
ON_A_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph"})
NO_BARRIER = frozenset({"nobarrier", "barrier=0"})


@dataclass(frozen=True)
class Disk:
    file_system: str
    sync_s: float
    """The median."""
    slowest_sync_s: float
    warnings: tuple[str, ...]


def examine(directory: Path) -> Disk:
    """Write and sync a small file in `directory` again and again, 3 s at the longest.

    Blocks. Raises OSError.
    """
    file_system, options = _mount_of(directory)
    took_s = _syncs(directory / "sync")
    median_s = statistics.median(took_s)
    return Disk(file_system, median_s, max(took_s), warnings(file_system, options, median_s))


def _syncs(path: Path) -> list[float]:
    took_s: list[float] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        began = time.monotonic()
        while len(took_s) < SYNCS and time.monotonic() - began < LONGEST_S:
            os.write(descriptor, os.urandom(BLOCK_BYTES))
            before = time.perf_counter()
            os.fsync(descriptor)
            took_s.append(time.perf_counter() - before)
    finally:
        os.close(descriptor)
        path.unlink()
    return took_s


def warnings(file_system: str, options: set[str], sync_s: float) -> tuple[str, ...]:
    """What somebody should know who keeps files there, each with its mend."""
    told = []
    if file_system in IN_MEMORY:
        told.append(
            f"It is {file_system}, which is memory: everything is gone after a restart of the "
            "machine. Put APPLIANCE_DATA_DIR on a disk."
        )
    elif file_system in IN_A_CONTAINER:
        told.append(
            f"It is {file_system}, the container's own: everything is gone with the container. "
            "Mount a volume there."
        )
    elif file_system in ON_A_NETWORK:
        told.append(
            f"It is {file_system}, a network file system: the locks and syncs that the database "
            "relies on do not hold on most of them. Put APPLIANCE_DATA_DIR on a local disk."
        )
    elif sync_s < PLAUSIBLE_S:
        told.append(
            f"A sync in {sync_s * 1e6:.0f} µs is faster than any disk: something between here and "
            "the disk only says that it syncs (libeatmydata, a virtual disk with an unsafe cache). "
            "A power cut may then lose what was acknowledged."
        )
    for option in sorted(options & NO_BARRIER):
        told.append(
            f"It is mounted with {option}, so a sync does not wait for the disk's own cache. Mount "
            "it without, unless that cache has a battery."
        )
    return tuple(told)


def _mount_of(directory: Path) -> tuple[str, set[str]]:
    """Type and options of the file system, from /proc/self/mountinfo (proc(5))."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mount, _, source = line.partition(" - ")
        words = mount.split()
        if words[2] == wanted:
            file_system, _, options = source.split(" ", 2)
            return file_system, set(f"{words[5]},{options}".split(","))
    return _by_path(directory.resolve())


def _by_path(directory: Path) -> tuple[str, set[str]]:
    """For those, such as btrfs, whose files carry another device number than the mount."""
    found = ("unknown", set[str]())
    longest = -1
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, file_system, options, *_ = line.split(" ")
        if directory.is_relative_to(point) and len(point) > longest:
            found, longest = (file_system, set(options.split(","))), len(point)
    return found
