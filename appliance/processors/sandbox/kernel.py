"""What Python's library does not offer of the kernel: prctl, capabilities, raw system calls.

Each function raises OSError with the kernel's errno. Limits: Linux only; numbers of system calls
are the caller's business, since they differ between architectures.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000

_CAPABILITY_VERSION_3 = 0x2008_0522
_LOW = 0xFFFF_FFFF


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    """32 of the 64 capabilities; the kernel takes two halves (capset(2), version 3)."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def prctl(option: int, value: int = 0, third: object = 0) -> int:
    return _told(_libc.prctl(option, ctypes.c_ulong(value), third, 0, 0))


def syscall(number: int, *arguments: object) -> int:
    """`arguments` are ints, bytes or None."""
    words = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return _told(_libc.syscall(ctypes.c_long(number), *words))


def unshare(flags: int) -> None:
    _told(_libc.unshare(flags))


def get_permitted() -> int:
    """The capabilities that this process may use, as a mask."""
    halves = (_Half * 2)()
    _told(_libc.capget(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), halves))
    return int(halves[0].permitted) | int(halves[1].permitted) << 32


def set_capabilities(*, effective: int, permitted: int) -> None:
    """Inheritable (and with it ambient) becomes empty."""
    halves = (_Half * 2)(
        *(_Half(effective >> bits & _LOW, permitted >> bits & _LOW, 0) for bits in (0, 32))
    )
    _told(_libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), halves))


def _told(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
