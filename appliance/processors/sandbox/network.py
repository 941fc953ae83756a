"""The layer of the network: a network namespace of its own, in which nothing is up.

Made once, by the nursery, before it loads anything: its children are born in it, and that costs
them nothing. The second wall behind seccomp, which gives them no socket to begin with; so where
it is not allowed (most containers) that is told and no more.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.processors.sandbox import kernel


def leave() -> str:
    """Move this process, of a single thread, to an empty network. Returns "" or why it stays.

    Who is not root needs a user namespace for it, in which he stays who he was. That is tried in
    a fork first: half made, it would leave us as nobody.
    """
    try:
        kernel.unshare(kernel.CLONE_NEWNET)
        return ""
    except OSError as error:
        reason = error.strerror or str(error)
    if not _forked_can_leave():
        return f"a network namespace is not allowed here ({reason})"
    _leave_as_user()
    return ""


def _leave_as_user() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _forked_can_leave() -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            _leave_as_user()
            os._exit(0)
        except OSError:
            os._exit(1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
