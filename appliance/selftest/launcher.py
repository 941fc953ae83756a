"""Starts a program that ends with the one that asked for it, on a small disk of its own if wanted.

    python -I launcher.py PARENT_PID [--disk DIRECTORY BYTES] -- PROGRAM ARGUMENT…

A script of the standard library alone, so that it costs 20 ms: it becomes the program by exec.
The disk is a tmpfs in a mount namespace of this process, so nobody else sees it and it is gone
when the program is. Root mounts it by right, others inside a user namespace, where the kernel
lets them; where it does not, this ends with status NO_DISK and the reason on stderr.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

NO_DISK = 75  # EX_TEMPFAIL: no exit status of Python or of the appliance

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def main(parent_pid: str, *arguments: str) -> None:
    separator = arguments.index("--")
    options, program = arguments[:separator], arguments[separator + 1 :]
    if options:
        _, directory, size_bytes = options
        try:
            _mount(directory, int(size_bytes))
        except OSError as error:
            sys.stderr.write(f"{error.strerror}\n")
            sys.exit(NO_DISK)
    # After the namespaces: the kernel forgets the signal when a process gains capabilities.
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != int(parent_pid):  # it died before it could be said
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606  no shell is wanted


def _mount(directory: str, size_bytes: int) -> None:
    """Raises OSError."""
    user, group = os.getuid(), os.getgid()
    try:
        _checked(_libc.unshare(_CLONE_NEWNS))
    except PermissionError:
        try:
            _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
        except OSError as error:  # ENOSPC too, where their number is limited to none
            reason = "only root may, and user namespaces are not allowed either"
            raise PermissionError(error.errno, reason) from error
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    # A new namespace hands its mounts on to the old one unless it is told not to.
    _checked(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))
    options = f"size={size_bytes},mode=700,uid={user},gid={group}"
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    _checked(_libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", flags, os.fsencode(options)))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
