"""The layer that takes root's powers from root: a child has no capabilities.

A server that runs as root (in a container it often does) forks children that are root too. Without
capabilities they may do what any user may do with his own files.

Limits: one exception. Where the data directory belongs to somebody else, root reaches it by
CAP_DAC_OVERRIDE alone, and a child without it could work on nothing; it then keeps this one, and
Landlock is what bounds it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from appliance.processors.sandbox import kernel

_DAC_OVERRIDE = 1 << 1


def drop(needed: Iterable[str]) -> None:
    """Lose all, but the one exception where a path of `needed` cannot be opened else."""
    permitted = kernel.get_permitted()
    kernel.set_capabilities(effective=0, permitted=permitted)
    kept = 0 if all(map(_can_be_read, needed)) else permitted & _DAC_OVERRIDE
    kernel.set_capabilities(effective=kept, permitted=kept)


def _can_be_read(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    return True
