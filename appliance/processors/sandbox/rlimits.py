"""The layer of resource limits (setrlimit): memory, processor time, files, descriptors, threads.

Limits: those that the kernel counts for a process, not for a group; RLIMIT_NPROC is counted for
all of a user's processes and does not bind root, so how many threads a child of root makes is
bounded by its memory only. A container's `pids` limit closes that.
"""

from __future__ import annotations

import os
import resource
import sys

from appliance.processors.protocol import Limits

MAX_DESCRIPTORS = 64
MAX_THREADS_OF_USER = 8192
"""With as many threads of the same user on the machine, a child gets no more. Far above what
work needs, far below where the machine itself has none left (32,768 by default)."""


def lower(limits: Limits) -> None:
    """Set all of them on this process. Called before Landlock: it looks at /proc."""
    statm_fd = os.open("/proc/self/statm", os.O_RDONLY)
    mapped_bytes = int(os.read(statm_fd, 100).split()[0]) * resource.getpagesize()
    os.close(statm_fd)
    _lower(resource.RLIMIT_AS, mapped_bytes + limits.memory_bytes)
    # SIGXCPU at the soft limit says why; the hard one is for who ignores it.
    _lower(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, MAX_DESCRIPTORS)
    _lower(resource.RLIMIT_NPROC, MAX_THREADS_OF_USER)


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, but never above the one that the surroundings (a container) already set."""
    present = resource.getrlimit(kind)[1]
    ceiling = sys.maxsize if present == resource.RLIM_INFINITY else present
    resource.setrlimit(kind, (min(soft, ceiling), min(soft if hard is None else hard, ceiling)))
