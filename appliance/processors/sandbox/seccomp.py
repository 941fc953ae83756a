"""The seccomp layer: a list of the system calls that a child may use, some with what they may ask.

Every other call fails with EPERM, so that a library that tries something unusual falls back or
reports instead of vanishing. A call by another architecture's numbers (32-bit code in a 64-bit
process) kills: no library of ours makes one. The x32 numbers of x86-64 are in no list, and so
EPERM.

The filter is a program of classic BPF over `struct seccomp_data` (linux/seccomp.h), assembled
here: libseccomp, which would do it, is missing in slim images. For calls that are allowed without
a condition the kernel (5.11+) knows the answer beforehand and does not run the program at all.

Limits: a filter sees numbers, not what a pointer points to; which files may be opened is the
business of Landlock.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import termios
from dataclasses import dataclass

from appliance.processors.sandbox import kernel, syscalls

# --- the policy --------------------------------------------------------------------------


@dataclass(frozen=True)
class Where:
    """A condition on one argument: of its low 32 bits those of `mask` make one of `values`.

    The kernel itself ignores the high half of what is an int to it.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFF_FFFF
    wide: bool = False
    """The high half has to be 0 too: for pointers."""


OWN_PID = -1
"""Stands for the process id of the child, put in when that is known."""

_CLONE_THREAD = 0x0001_0000
_CLONE_ELSEWHERE = 0x7E02_0080 | 0x0080_0000 | 0x0000_2000
"""New namespaces (CLONE_NEW*), CLONE_UNTRACED, CLONE_PTRACE."""

ALLOWED = (
    *("read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close"),
    *("fstat", "newfstatat", "statx", "stat", "lstat", "fstatfs", "getdents64", "getcwd"),
    *("access", "faccessat", "faccessat2", "readlink", "readlinkat"),
    *("ftruncate", "fallocate", "fsync", "fdatasync", "fadvise64"),
    *("unlink", "unlinkat", "rename", "renameat", "renameat2"),  # where Landlock lets it
    *("munmap", "mremap", "madvise", "brk", "msync", "membarrier"),
    *("futex", "set_robust_list", "rseq", "set_tid_address", "gettid", "arch_prctl"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "pause"),
    *("sched_getaffinity", "sched_yield", "sched_get_priority_max", "sched_get_priority_min"),
    *("getrandom", "exit", "exit_group", "sysinfo", "uname", "getrusage", "getrlimit"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday"),
    *("time", "times", "dup", "dup2", "dup3", "pipe2", "eventfd2"),
    *("poll", "ppoll", "select", "pselect6"),
    *("epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait"),
    *("getpid", "getppid", "getuid", "geteuid", "getgid", "getegid"),
    *("getpgrp", "getpgid", "getsid"),
)
"""What Pillow, pdfium and FFmpeg were seen to need, with their threads, encoders and temporary
files, and harmless neighbours of it. No sockets, no exec, no ptrace, no chmod, no links, no
mounts, no keys, no io_uring, no bpf."""

CONDITIONS = {
    # No new code: libraries are loaded before.
    "mmap": (Where(2, (0,), mask=mmap.PROT_EXEC),),
    "mprotect": (Where(2, (0,), mask=mmap.PROT_EXEC),),
    # Threads, not processes.
    "clone": (Where(0, (_CLONE_THREAD,), mask=_CLONE_THREAD | _CLONE_ELSEWHERE),),
    # Signals to itself only (abort).
    "kill": (Where(0, (OWN_PID,)),),
    "tgkill": (Where(0, (OWN_PID,)),),
    # Limits are read, not set.
    "prlimit64": (Where(0, (0,)), Where(2, (0,), wide=True)),
    "fcntl": (
        Where(
            1,
            (
                *(fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL),
                *(fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC),
            ),
        ),
    ),
    # What Python asks of every file that it opens.
    "ioctl": (
        Where(
            1,
            (
                *(termios.TCGETS, termios.TIOCGWINSZ),
                *(termios.FIOCLEX, termios.FIONCLEX, termios.FIONREAD),
            ),
        ),
    ),
    # A file opened for reading is not emptied: Landlock refuses that from ABI 3 on only.
    "open": (Where(1, (0, 1, 2, 0o1001, 0o1002), mask=os.O_TRUNC | os.O_ACCMODE),),
    "openat": (Where(2, (0, 1, 2, 0o1001, 0o1002), mask=os.O_TRUNC | os.O_ACCMODE),),
}

UNKNOWN_TO_US = ("clone3",)
"""Answered ENOSYS: what these ask stands in memory, where no filter can look, and glibc then
asks in the older way (clone)."""

# --- the assembler -----------------------------------------------------------------------

_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
"""Offsets in `struct seccomp_data`; all numbers are little endian on our architectures."""


class Instruction(ctypes.Structure):
    """`struct sock_filter`."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction)))


_Step = tuple[int, int, int, int]
"""code, jump if true, jump if false (both relative), k."""


class Filter:
    """Assembled once, in the nursery; installed by each child."""

    def __init__(self, architecture: syscalls.Architecture) -> None:
        steps = _assemble(architecture)
        self._own_pid_at = [at for at, step in enumerate(steps) if step[3] == OWN_PID]
        self._instructions = (Instruction * len(steps))(
            *(Instruction(code, yes, no, k & 0xFFFF_FFFF) for code, yes, no, k in steps)
        )

    def install(self) -> None:
        """From here on, and for good. Raises OSError; needs no_new_privs."""
        for at in self._own_pid_at:
            self._instructions[at].k = os.getpid()
        program = _Program(len(self._instructions), self._instructions)
        kernel.prctl(kernel.PR_SET_SECCOMP, kernel.SECCOMP_MODE_FILTER, ctypes.byref(program))


def _assemble(architecture: syscalls.Architecture) -> list[_Step]:
    numbers = architecture.numbers
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    answers: dict[str, list[_Step]] = {
        **{name: [(_RETURN, 0, 0, _ALLOW)] for name in ALLOWED},
        **{name: [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)] for name in UNKNOWN_TO_US},
        **{name: _all_hold(wheres) for name, wheres in CONDITIONS.items()},
    }
    for name, answer in answers.items():
        if name in numbers:
            steps += [(_EQUAL, 0, len(answer), numbers[name]), *answer]
    return [*steps, (_RETURN, 0, 0, _ERRNO | errno.EPERM)]


def _all_hold(wheres: tuple[Where, ...]) -> list[_Step]:
    """ALLOW when every condition holds, else EPERM. Put together from its end."""
    steps: list[_Step] = [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    for where in reversed(wheres):
        refused = len(steps) - 1
        low_at = _ARGUMENTS_AT + 8 * where.argument
        last = len(where.values) - 1
        compared: list[_Step] = [
            (_EQUAL, last - at, refused if at == last else 0, value)
            for at, value in enumerate(where.values)
        ]
        head: list[_Step] = [(_LOAD, 0, 0, low_at), (_AND, 0, 0, where.mask)]
        if where.wide:
            beyond = len(head) + len(compared) + refused
            head = [(_LOAD, 0, 0, low_at + 4), (_EQUAL, 0, beyond, 0), *head]
        steps = [*head, *compared, *steps]
    return steps
