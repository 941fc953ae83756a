"""The Landlock layer: which files a child can open at all (Linux 5.13 and newer).

Whatever right the running kernel knows is handled, and so refused, unless a rule allows it; newer
kernels add TCP (ABI 4), devices' ioctls (5), abstract sockets and signals across the border (6).
See the kernel's Documentation/userspace-api/landlock.rst.

Limits: looking at a file's name, size and times (stat) is no right of Landlock's, and neither is
chdir: a child can tell whether a path exists. Descriptors that are open already stay usable.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable

from appliance.processors.sandbox import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same numbers on every architecture."""
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG = 1 << 5, 1 << 8
_TRUNCATE = 1 << 14

_READ = _READ_FILE | _READ_DIR
_WORK = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
"""In the folder for results: plain files, no folders, links, sockets, devices."""
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
"""The rights that make sense for what is no folder; the kernel refuses others there."""

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many of the file rights, from bit 0, an ABI knows; later ones as the last."""
_ALL_TCP = 0b11
_ALL_SCOPES = 0b11


def abi() -> int:
    """The version of Landlock in this kernel. Raises OSError: ENOSYS where it was not built in
    (or a container forbids it), EOPNOTSUPP where it is not switched on (`lsm=`)."""
    return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION)


def restrict(version: int, *, readable: Iterable[str], writable: str) -> None:
    """See `readable` (files, and all below folders) and work in `writable`, and nothing else.

    `version` is what `abi` returned. Needs
    no_new_privs. Raises OSError.
    """
    handled = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    attributes = struct.pack("=Q", handled)
    if version >= 4:
        attributes += struct.pack("=Q", _ALL_TCP)
    if version >= 6:
        attributes += struct.pack("=Q", _ALL_SCOPES)
    ruleset = kernel.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        _allow(ruleset, writable, _WORK & handled)
        kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, beneath)  # struct landlock_path_beneath_attr, packed
        kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)
