"""Processors whose nursery runs where the walls cannot be raised, or do not hold: the attribute
says what is wrong there. Plugged into a real nursery by `tests/sandbox/test_missing_layers.py`.

The kernel's answers are changed when the nursery loads its processor, before it prepares the walls.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable

from appliance.processors.sandbox import landlock, rlimits, seccomp, syscalls
from tests.hostile_processor import HostileProcessor

UNLUCKY = "unlucky"
"""The name of an input around which the walls cannot be raised although they held at the start."""

_restrict = landlock.restrict


def _without_landlock() -> None:
    def abi() -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    landlock.abi = abi


def _hollow_landlock() -> None:
    landlock.restrict = lambda version, *, readable, writable: None


def _unknown_machine() -> None:
    syscalls.of_this_machine = lambda: None


def _hollow_seccomp() -> None:
    seccomp.Filter.install = lambda self: None  # type: ignore[method-assign]


def _hollow_limits() -> None:
    rlimits.lower = lambda limits: None


def _unreliable_landlock() -> None:
    def restrict(version: int, *, readable: Iterable[str], writable: str) -> None:
        paths = tuple(readable)
        if any(path.endswith(f"/{UNLUCKY}") for path in paths):
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        _restrict(version, readable=paths, writable=writable)

    landlock.restrict = restrict


TEARS: dict[str, Callable[[], None]] = {
    "WITHOUT_LANDLOCK": _without_landlock,
    "HOLLOW_LANDLOCK": _hollow_landlock,
    "UNKNOWN_MACHINE": _unknown_machine,
    "HOLLOW_SECCOMP": _hollow_seccomp,
    "HOLLOW_LIMITS": _hollow_limits,
    "UNRELIABLE_LANDLOCK": _unreliable_landlock,
}


def __getattr__(name: str) -> HostileProcessor:
    if name not in TEARS:
        raise AttributeError(name)
    TEARS[name]()
    return HostileProcessor()
