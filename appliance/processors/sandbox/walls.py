"""The walls: which layers there are, what a child may see, in which order it closes itself in.

A nursery prepares them once (`prepare`), and each child closes itself in (`close_in`) before it
opens the file. Each layer stands alone: where one is not to be had the others are raised all the
same, and `trial` finds out which hold. Not here: the wall clock and the watch over silence, which
are outside (`appliance.workers`).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.processors.protocol import Limits, Processor
from appliance.processors.sandbox import (
    capabilities,
    kernel,
    landlock,
    network,
    rlimits,
    seccomp,
    syscalls,
)

LAYERS = ("limits", "capabilities", "no_new_privs", "landlock", "seccomp", "network")
"""By which they are told everywhere, in the order in which they are raised (the network's, which
is the nursery's own, apart)."""

SWITCHED_OFF = "switched off by APPLIANCE_SANDBOX"

_DEVICES = ("/dev/null", "/dev/urandom")


class LayerFailed(Exception):
    """A layer could not be raised."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"{layer}: {reason}")
        self.layer = layer
        self.reason = reason


@dataclass(frozen=True)
class Walls:
    missing: dict[str, str]
    """Layers that are not raised, each with the reason."""
    readable: tuple[str, ...]
    """What every child may read beside its input."""
    filter: seccomp.Filter | None
    landlock_abi: int

    def has(self, layer: str) -> bool:
        return layer not in self.missing

    def without(self, layer: str, reason: str) -> Walls:
        return replace(self, missing=self.missing | {layer: reason})

    def close_in(self, limits: Limits, *, input_path: str, output_dir: str) -> None:
        """Lock this process in, for good. Raises LayerFailed: then it must not open the file."""
        with _layer("limits"):
            rlimits.lower(limits)
        if self.has("capabilities"):
            with _layer("capabilities"):
                capabilities.drop((input_path, output_dir))
        if self.has("no_new_privs"):
            with _layer("no_new_privs"):
                kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if self.has("landlock"):
            with _layer("landlock"):
                landlock.restrict(
                    self.landlock_abi,
                    readable=(*self.readable, input_path),
                    writable=output_dir,
                )
        if self.has("seccomp") and self.filter is not None:
            with _layer("seccomp"):
                self.filter.install()  # the last: it forbids what the others are made with


@contextmanager
def _layer(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LayerFailed(name, error.strerror or str(error)) from error


def prepare(mode: str, processor: Processor[Any]) -> Walls:
    """What can be raised here, by `mode` (APPLIANCE_SANDBOX). Moves this process, the nursery, to
    an empty network; call it before there are threads."""
    if mode == "off":
        others = [layer for layer in LAYERS if layer != "limits"]
        return Walls(dict.fromkeys(others, SWITCHED_OFF), (), None, 0)
    missing, abi = {}, 0
    if why := network.leave():
        missing["network"] = why
    try:
        abi = landlock.abi()
    except OSError as error:
        missing["landlock"] = (
            f"the kernel does not offer it ({error.strerror}): Linux 5.13 or newer with `landlock` "
            "among its security modules, and a container that allows it"
        )
    architecture = syscalls.of_this_machine()
    if architecture is None:
        missing["seccomp"] = f"no list of system calls for {platform.machine()} yet"
    filter = None if architecture is None else seccomp.Filter(architecture)
    return Walls(missing, _readable(processor), filter, abi)


def _readable(processor: Processor[Any]) -> tuple[str, ...]:
    """Python's own libraries, the installed ones, our package, and what the processor asks for.

    Not all of `sys.path`: the directory that the server was started in may be on it, and the data
    directory below that.
    """
    paths = sysconfig.get_paths()
    own = Path(__file__).parent.parent.parent
    folders = {
        *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")),
        *(str(own), _home_of(type(processor).__module__)),
        *processor.reads,
        *_DEVICES,
    }
    return tuple(sorted(folder for folder in folders if folder and os.path.exists(folder)))  # noqa: PTH110


def _home_of(module: str) -> str:
    """The folder of a module in a package; of one that stands alone, its file only."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    return str(Path(spec.origin).parent) if "." in module else spec.origin
