"""A processor that tries to break out: the name of the input file says how.

Plugged into a real nursery by `tests/sandbox/test_walls.py`. Each escape is what code could do that
has taken over a media library; the fact `outcome` is `done`, or the name of the errno with which
it was refused.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import mmap
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import msgspec
from av.filter import Graph

from appliance.processors.protocol import Reporter, Task
from tests import media

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p

# Numbers of system calls on x86-64 and aarch64 that Python has no function for.
_IO_URING_SETUP, _PIDFD_OPEN, _USERFAULTFD = 425, 434, {"x86_64": 323, "aarch64": 282}
_BPF = {"x86_64": 321, "aarch64": 280}
_PTRACE = {"x86_64": 101, "aarch64": 117}
_VFORK = {"x86_64": (58,), "aarch64": (220, 0x4100 | 17, 0, 0, 0, 0)}  # there a kind of clone
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}
_MACHINE = os.uname().machine


class Options(msgspec.Struct):
    """None."""


def _checked(result: int) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _syscall(number: int | dict[str, int], *arguments: int | None) -> None:
    chosen = number[_MACHINE] if isinstance(number, dict) else number
    words = (None if one is None else ctypes.c_long(one) for one in arguments)
    _checked(_libc.syscall(ctypes.c_long(chosen), *words))


def _ended(pid: int) -> None:
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _connected(kind: int, address: Any, family: int = socket.AF_INET) -> None:
    with socket.socket(family, kind) as one:
        one.connect(address)


def _mapped(protection: int) -> None:
    with mmap.mmap(-1, mmap.PAGESIZE, prot=protection):
        pass


def _protected() -> None:
    area = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    _checked(_libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_EXEC))


def _filtered(graph: str) -> None:
    made = Graph()
    source, sink = made.add("movie", graph), made.add("buffersink")
    source.link_to(sink)
    made.configure()


def _opened(url: str, **options: str) -> None:
    with av.open(url, options=options):
        pass


def _playlist(task: Task[Options]) -> None:
    """An HLS playlist that names another's film, with FFmpeg's own caution switched off."""
    playlist, film = task.output_dir / "list.m3u8", task.input_path.parent / "film.ts"
    playlist.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n"
    )
    try:
        _opened(
            str(playlist), protocol_whitelist="file,crypto,http,tcp", allowed_extensions="ALL",
            extension_picky="0", allowed_segment_extensions="ALL",
        )  # fmt: skip
    finally:
        playlist.unlink()


def _subtitles(task: Task[Options]) -> None:
    """An index of subtitles names the file that holds them: another's."""
    index, film = task.output_dir / "list.idx", task.input_path.parent / "film.mpg"
    index.write_text("# VobSub index file, v7\nid: en, index: 0\n")
    try:
        with av.open(str(index), format="vobsub", options={"sub_name": str(film)}):
            pass
    finally:
        index.unlink()


def _flood_descriptors() -> None:
    held = []
    try:
        while len(held) < 200:
            held.append(os.dup(2))
    finally:
        for one in held:
            os.close(one)


def _flood_disk(task: Task[Options]) -> None:
    with (task.output_dir / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 300 << 20)


def _flood_memory() -> None:
    bytearray(2 << 30)


def _flood_threads() -> None:
    stop = threading.Event()
    try:
        for _ in range(5000):
            threading.Thread(target=stop.wait, daemon=True).start()
    finally:
        stop.set()


def _limited() -> None:
    """Python makes a ValueError of every refusal, so not by its own function."""
    lower = (ctypes.c_ulong * 2)(32, 32)
    _checked(_libc.setrlimit(resource.RLIMIT_NOFILE, lower))


def _written(path: Path, flags: int = os.O_CREAT) -> None:
    os.close(os.open(path, os.O_WRONLY | flags, 0o600))


def _burn() -> None:
    while True:
        pass


ESCAPES: dict[str, Callable[[Task[Options]], object]] = {
    # files
    "read-passwd": lambda task: Path("/etc/passwd").read_bytes(),
    "list-root": lambda task: os.listdir("/"),
    "environ-of-nursery": lambda task: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "memory-of-nursery": lambda task: os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY)),
    "environ-of-init": lambda task: Path("/proc/1/environ").read_bytes(),
    "own-maps": lambda task: Path("/proc/self/maps").read_bytes(),
    "neighbour": lambda task: (task.input_path.parent / "secret").read_bytes(),
    "list-neighbours": lambda task: os.listdir(task.input_path.parent),
    "write-tmp": lambda task: _written(Path("/tmp/escaped")),
    "write-beside": lambda task: _written(task.output_dir.parent / "escaped"),
    "write-shm": lambda task: _written(Path("/dev/shm/escaped")),
    "write-input": lambda task: _written(task.input_path, 0),
    "empty-input": lambda task: _written(task.input_path, os.O_TRUNC),
    "truncate-input": lambda task: os.truncate(task.input_path, 0),
    "rename-input": lambda task: task.input_path.rename(task.output_dir / "mine"),
    "remove-input": lambda task: task.input_path.unlink(),
    "touch-input": lambda task: os.utime(task.input_path),
    "chmod-input": lambda task: task.input_path.chmod(0o777),
    "make-folder": lambda task: (task.output_dir / "folder").mkdir(),
    "make-pipe": lambda task: os.mkfifo(task.output_dir / "pipe"),
    "symlink": lambda task: (task.output_dir / "link").symlink_to("/etc/passwd"),
    "hard-link": lambda task: (task.output_dir / "link").hardlink_to(task.input_path),
    "chroot": lambda task: os.chroot(task.output_dir),
    "mount": lambda task: _checked(_libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
    "signals-by-file": lambda task: fcntl.fcntl(2, fcntl.F_SETOWN, os.getppid()),
    # the network
    "tcp": lambda task: _connected(socket.SOCK_STREAM, ("127.0.0.1", 1)),
    "udp": lambda task: _connected(socket.SOCK_DGRAM, ("127.0.0.1", 1)),
    "tcp-6": lambda task: _connected(socket.SOCK_STREAM, ("::1", 1), socket.AF_INET6),
    "raw": lambda task: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
    "unix": lambda task: _connected(socket.SOCK_STREAM, "\0none", socket.AF_UNIX),
    "netlink": lambda task: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
    "packet": lambda task: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close(),
    "socket-pair": lambda task: [one.close() for one in socket.socketpair()],
    # processes
    "fork": lambda task: _ended(os.fork()),
    "vfork": lambda task: _syscall(*_VFORK[_MACHINE]),
    "posix-spawn": lambda task: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "exec": lambda task: os.execv("/bin/true", ["true"]),
    "exec-from-memory": lambda task: os.close(os.memfd_create("x")),
    "new-session": lambda task: os.setpgid(0, os.getppid()),
    "signal-nursery": lambda task: os.kill(os.getppid(), 0),
    "signal-everybody": lambda task: os.kill(-1, 0),
    "pidfd": lambda task: _syscall(_PIDFD_OPEN, os.getppid(), 0),
    "ptrace": lambda task: _syscall(_PTRACE, 16, os.getppid(), 0, 0),
    "read-memory-of-nursery": lambda task: _syscall(_PROCESS_VM_READV, os.getppid(), 0, 0, 0, 0, 0),
    "niceness": lambda task: os.setpriority(os.PRIO_PROCESS, 0, 19),
    # the kernel
    "write-and-execute": lambda task: _mapped(mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "make-executable": lambda task: _protected(),
    "io-uring": lambda task: _syscall(_IO_URING_SETUP, 0, 0),
    "bpf": lambda task: _syscall(_BPF, 0, 0, 0),
    "userfaultfd": lambda task: _syscall(_USERFAULTFD, 0x800),
    "numbers-of-x32": lambda task: _syscall(0x4000_0000 + 39),
    "keyctl": lambda task: _syscall(_KEYCTL, 0, -3, 1),
    "unshare": lambda task: _checked(_libc.unshare(0x1000_0000)),
    "set-groups": lambda task: os.setgroups([]),
    "set-limit": lambda task: _limited(),
    "time": lambda task: __import__("time").clock_settime(0, 0.0),
    "hostname": lambda task: socket.sethostname("mine"),
    # by way of FFmpeg
    "av-file": lambda task: _opened("file:/etc/hostname"),
    "av-concat": lambda task: _opened("concat:/etc/hostname|/etc/passwd"),
    "av-subfile": lambda task: _opened("subfile,,start,0,end,9,,:/etc/hostname"),
    "av-http": lambda task: _opened("http://127.0.0.1:1/x.mp4"),
    "av-tcp": lambda task: _opened("tcp://127.0.0.1:1"),
    "av-playlist": _playlist,
    "av-subtitles": _subtitles,
    "av-movie": lambda task: _filtered("/etc/hostname"),
    # floods
    "flood-memory": lambda task: _flood_memory(),
    "flood-disk": _flood_disk,
    "flood-descriptors": lambda task: _flood_descriptors(),
    "flood-threads": lambda task: _flood_threads(),
    "burn": lambda task: _burn(),
    # what is known to be open: looking at names (docs/sandbox.md)
    "stat": lambda task: os.stat("/etc/passwd"),
    # what has to work
    "own-input": lambda task: task.input_path.read_bytes(),
    "own-output": lambda task: (task.output_dir / "a").write_bytes(b"x"),
    "randomness": lambda task: os.urandom(8),
    "threads": lambda task: threading.Thread(target=lambda: None).start(),
    "own-signal": lambda task: signal.raise_signal(signal.SIGCONT),
}  # fmt: skip


class Escapes:
    name = "escapes"
    version = "1"
    content_types = ("*/*",)
    options = Options
    reads: tuple[str, ...] = ()

    def warm(self) -> None:
        with av.open(io.BytesIO(media.mp4(0.2, 32, 32, audio=False))) as film:
            next(film.decode(video=0))

    def process(self, task: Task[Options], report: Reporter) -> dict[str, Any]:
        try:
            ESCAPES[task.input_path.name](task)
        except (OSError, av.FFmpegError) as error:
            return {"outcome": errno.errorcode.get(error.errno or 0, type(error).__name__)}
        except (MemoryError, RuntimeError) as error:  # RuntimeError: no thread to be had
            return {"outcome": type(error).__name__}
        finally:
            for left in task.output_dir.iterdir():
                left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()
        return {"outcome": "done"}


PROCESSOR = Escapes()
