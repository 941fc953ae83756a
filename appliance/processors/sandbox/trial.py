"""Do the walls hold? A child closes itself in as a real one does and then tries to break out.

That a layer could be raised says little: a container may answer a call without doing anything, a
kernel may have been built without half of it. So a forked child commits, layer by layer, an act
that only this layer refuses, and looks for the very errno of that refusal. It works on nothing and
sees no file of anybody's.

Limits: no_new_privs forbids nothing by itself that is harmless to try, so the kernel is asked about
the child from outside. Processor time is not burnt: the limit is read back.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from appliance.processors.protocol import Limits
from appliance.processors.sandbox import rlimits
from appliance.processors.sandbox.walls import LAYERS, LayerFailed, Walls

DEADLINE_S = 10.0
"""For one child; it takes milliseconds."""

LIMITS = Limits(memory_bytes=64 * 1024**2, cpu_s=5, file_bytes=1024**2, wall_s=10, idle_s=10)

_INPUT, _OUTPUT = "input", "output"


class _Findings(msgspec.Struct):
    faults: dict[str, str] = {}
    """Layers that did not hold, and what they let through."""
    failed: str | None = None
    """The layer that could not be raised."""
    reason: str = ""


def find_out(walls: Walls, scratch_dir: Path) -> tuple[Walls, dict[str, str]]:
    """The walls less what cannot be raised, and of every layer "" or why it does not hold.

    Forks; writes to a folder of its own below `scratch_dir`, and removes it. Raises OSError when
    there is no room for that, or no process to be had.
    """
    with tempfile.TemporaryDirectory(dir=scratch_dir, prefix="trial-") as name:
        folder = Path(name)
        (folder / _INPUT).write_bytes(b"input")
        (folder / _OUTPUT).mkdir()
        while True:
            # Seccomp refuses before the others come to it, so they are tried without it too.
            found = [_try(walls, folder, acts) for acts in (ACTS, ACTS_WITHOUT_SECCOMP)]
            failed = next((each for each in found if each.failed), None)
            if failed is None or failed.failed is None:
                faults = found[0].faults | found[1].faults | walls.missing
                return walls, {layer: faults.get(layer, "") for layer in LAYERS}
            walls = walls.without(failed.failed, failed.reason)


def _try(walls: Walls, folder: Path, acts: Mapping[str, Callable[[Path], None]]) -> _Findings:
    if acts is ACTS_WITHOUT_SECCOMP:
        walls = walls.without("seccomp", "")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _live(walls, folder, acts, writing)
    os.close(writing)
    try:
        heard = _read(reading)
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # its record stays readable
        status = Path(f"/proc/{pid}/status").read_text()
        os.waitpid(pid, 0)
    try:
        findings = msgspec.json.decode(heard, type=_Findings)
    except msgspec.DecodeError:
        tried = [layer for layer in acts if walls.has(layer)]
        return _Findings(dict.fromkeys(tried, "the child that was to try it ended, or hung"))
    if walls.has("no_new_privs") and "NoNewPrivs:\t1" not in status:
        findings.faults["no_new_privs"] = "the kernel does not know of it"
    return findings


def _read(reading: int) -> bytes:
    """All that the child says until it ends, or until it has had its time."""
    heard, deadline = b"", time.monotonic() + DEADLINE_S
    while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(reading, 4096)
        if not chunk:
            break
        heard += chunk
    return heard


def _live(
    walls: Walls, folder: Path, acts: Mapping[str, Callable[[Path], None]], writing: int
) -> None:
    """The child. Never returns."""
    try:
        findings = _Findings()
        try:
            walls.close_in(
                LIMITS, input_path=str(folder / _INPUT), output_dir=str(folder / _OUTPUT)
            )
            for layer, act in acts.items():
                if walls.has(layer) and (fault := _told(act, folder)):
                    findings.faults[layer] = fault
        except LayerFailed as error:
            findings.failed, findings.reason = error.layer, error.reason
        os.write(writing, msgspec.json.encode(findings))
    finally:
        os._exit(0)


def _told(act: Callable[[Path], None], folder: Path) -> str:
    try:
        act(folder)
    except _LetThrough as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  whatever it is, it is told and not passed over
        return f"trying it failed: {error!r}"
    return ""


# --- the acts ----------------------------------------------------------------------------


class _LetThrough(Exception):
    """The act was not refused, or for another reason than the layer's."""


def _refused(what: str, number: int, act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        if error.errno == number:
            return
        raise _LetThrough(f"{what} was answered {os.strerror(error.errno or 0)}") from error
    raise _LetThrough(f"{what} was not refused")


def _exceed_limits(folder: Path) -> None:
    _refused("taking more memory", errno.ENOMEM, lambda: mmap.mmap(-1, 2 * LIMITS.memory_bytes))
    file = os.open(folder / _OUTPUT / "large", os.O_WRONLY | os.O_CREAT, 0o600)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _refused("writing a large file", errno.EFBIG, lambda: os.pwrite(file, b"x", LIMITS.file_bytes))
    if resource.getrlimit(resource.RLIMIT_CPU)[0] > LIMITS.cpu_s:
        raise _LetThrough("processor time is not limited")
    _refused("opening many files", errno.EMFILE, _open_many)


def _open_many() -> None:
    opened: list[int] = []
    try:
        for _ in range(rlimits.MAX_DESCRIPTORS + 1):
            opened.append(os.dup(2))
    finally:
        for each in opened:
            os.close(each)


def _use_root(folder: Path) -> None:
    _refused("changing the groups", errno.EPERM, lambda: os.setgroups([]))


def _look_around(folder: Path) -> None:
    _refused("listing /", errno.EACCES, lambda: next(Path("/").iterdir()))
    _refused(
        "writing beside the results",
        errno.EACCES,
        lambda: os.open(folder / "beside", os.O_WRONLY | os.O_CREAT),
    )
    _refused("writing to the input", errno.EACCES, lambda: os.open(folder / _INPUT, os.O_WRONLY))
    os.close(os.open(folder / _INPUT, os.O_RDONLY))
    os.close(os.open(folder / _OUTPUT / "result", os.O_WRONLY | os.O_CREAT, 0o600))


def _call_forbidden(folder: Path) -> None:
    _refused("a socket", errno.EPERM, lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    _refused("a socket", errno.EPERM, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    _refused("a process", errno.EPERM, _fork)
    _refused(
        "new code",
        errno.EPERM,
        lambda: mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    )
    # The last: what is not refused here ends this child's words.
    _refused("a program", errno.EPERM, lambda: os.execv("/proc/self/exe", ["exe"]))  # noqa: S606


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _send(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        _refused("a way to 127.0.0.1", errno.ENETUNREACH, lambda: sending.connect(("127.0.0.1", 9)))


ACTS = {"limits": _exceed_limits, "landlock": _look_around, "seccomp": _call_forbidden}
ACTS_WITHOUT_SECCOMP = {"capabilities": _use_root, "network": _send}
