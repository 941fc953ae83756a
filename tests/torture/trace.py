"""Audit the system calls of a server: was everything durable before somebody was told of it?

A kill -9 cannot show a missing fsync, for the page cache outlives the process. `strace` can: it
sees every call of every thread in one order. Something is durable here when a sync of it began
after the last change of it had ended, and has ended itself. A file is changed by writes, a
directory by names that it gains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,sendfile,"
    "copy_file_range,fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,"
    "sendto,sendmsg"
)
_SOCKET_WRITES = frozenset({"write", "writev", "sendto", "sendmsg"})
_WRITES = _SOCKET_WRITES | {"pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate"}
_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_UNFINISHED = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_DESCRIPTOR = re.compile(r"-?\d+<([^>]*)>")
_QUOTED = re.compile(r'"([^"]*)"')
_ID = r"[0-9A-HJKMNP-TV-Z]{26}"


def command(log: Path) -> tuple[str, ...]:
    """What to put before a command so that its calls are traced into `log`."""
    # -D: the tracer is the grandchild, so that the process we start is the server itself.
    # Strings are long enough for a page of the database.
    return (
        *("strace", "-D", "-f", "-qq", "-y", "-s", "4200", "--seccomp-bpf"),
        *("-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(log)),
    )


class Call(NamedTuple):
    name: str
    arguments: str
    result: int
    opened: str
    """The path of a descriptor that is returned."""
    began: int
    ended: int

    @property
    def path(self) -> str:
        """Of the descriptor that is the first argument."""
        match = _DESCRIPTOR.match(self.arguments)
        return match[1] if match else ""

    @property
    def paths(self) -> list[str]:
        return _QUOTED.findall(self.arguments)


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """In the order in which they ended. Those that failed are left out."""
    begun: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        assert match, line
        pid, rest = match.groups()
        if unfinished := _UNFINISHED.match(rest):
            begun[pid] = (unfinished[1], unfinished[2], number)
            continue
        began = number
        if resumed := _RESUMED.match(rest):
            name, arguments, began = begun.pop(pid)
            assert name == resumed[1]
            arguments, result, tail = arguments + resumed[2], resumed[3], resumed[4]
        elif whole := _WHOLE.match(rest):
            name, arguments, result, tail = whole.groups()
        else:
            continue  # an exit, or a call that the end of the process cut off
        if result != "?" and int(result) >= 0:
            opened = re.match(r"<([^>]*)>", tail)
            path = opened[1] if opened else ""
            yield Call(name, arguments, int(result), path, began, number)


@dataclass
class Thing:
    """A file or a directory."""

    changed: int = -1
    """When its content was."""
    named: int = -1
    """When it got its present name."""
    synced: int = -1
    """When the last sync of it began, of those that have ended."""

    @property
    def durable(self) -> bool:
        return self.synced > self.changed

    def was_synced(self, began: int) -> None:
        """A slow sync may end after a quick one that began later: that one still counts."""
        self.synced = max(self.synced, began)


@dataclass
class Audit:
    """What was durable when, from the calls of a server on a fresh `data_dir`."""

    data_dir: Path
    alone: bool
    """Nobody but the uploads wrote to the database, so that it must be synced as a whole."""
    findings: list[str] = field(default_factory=list)
    answers: int = 0
    settlings: int = 0
    shown: int = 0
    offsets: int = 0
    """Answers that give a job's id, settling commits, answers that show a COMPLETED job, and
    answers that tell how much of an upload is there."""

    def __post_init__(self) -> None:
        self._things: dict[str, Thing] = {}
        self._synced_all = -1
        """When the last sync of the whole file system began."""
        self._written_at: dict[str, int] = {}
        """When the database's log first held a word: a job's id, or a prefix of results."""
        self._files = str(self.data_dir / "files")
        self._wal = str(self.data_dir / "appliance.db-wal")

    def read(self, log: Path) -> None:
        with log.open(encoding="utf-8", errors="replace") as lines:
            # What is told is told when the call begins, what is done is done when it has ended.
            events: list[tuple[int, bool, Call]] = []
            for call in calls(lines):
                events.append((call.began, True, call))
                events.append((call.ended, False, call))
        for _, begins, call in sorted(events, key=lambda event: (event[0], not event[1])):
            if begins:
                self._on_begin(call)
            else:
                self._on_end(call)

    def _thing(self, path: str) -> Thing:
        return self._things.setdefault(path, Thing(synced=self._synced_all))

    def _on_begin(self, call: Call) -> None:
        if call.name in _SOCKET_WRITES and call.path.startswith("socket:"):
            self._on_answer(call)
        elif call.name in _WRITES and call.path == self._wal:
            for prefix in set(re.findall(rf"processed/{_ID}/\d+/", call.arguments)):
                if prefix not in self._written_at:
                    self.settlings += 1
                    self._check_results(prefix)

    def _on_end(self, call: Call) -> None:
        name = call.name
        if name in ("fsync", "fdatasync"):
            self._thing(call.path).was_synced(call.began)
        elif name == "syncfs":  # everything here lies in one file system
            for thing in self._things.values():
                thing.was_synced(call.began)
            self._synced_all = max(self._synced_all, call.began)
        elif name in _WRITES:
            self._thing(call.path).changed = call.ended
            if call.path == self._wal:
                for word in re.findall(rf"processed/{_ID}/\d+/|{_ID}", call.arguments):
                    self._written_at.setdefault(word, call.ended)
        elif name.startswith("open"):
            if "O_CREAT" in call.arguments and call.opened not in self._things:
                self._gains(call.opened, call.ended)
        elif name.startswith("mkdir"):
            self._gains(call.paths[0], call.ended)
        elif name.startswith(("rename", "link")):
            self._on_rename(*call.paths, call.ended)

    def _gains(self, path: str, at: int) -> None:
        self._thing(path).named = at

    def _on_rename(self, source: str, target: str, at: int) -> None:
        # Before or after its sync: nothing refers to it until it is durable, name and all.
        moved = self._things[target] = self._things.pop(source, Thing())
        moved.named = at

    def _on_answer(self, call: Call) -> None:
        if re.search(r'"HTTP/1\.1 202 ', call.arguments):
            for job_id in set(re.findall(rf'\\"jobId\\":\\"({_ID})\\"', call.arguments)):
                self.answers += 1
                self._check_original(job_id)
        elif re.search(r'"HTTP/1\.1 20[14] .*\\r\\nUpload-Offset: ', call.arguments):
            self.offsets += 1
            self._check_partials()
            for job_id in re.findall(rf"Upload-Job-Id: ({_ID})", call.arguments):
                self.answers += 1
                self._check_original(job_id)
        elif r"\"status\":\"COMPLETED\"" in call.arguments:
            self.shown += 1
            for job_id in set(re.findall(rf'\\"jobId\\":\\"({_ID})\\"', call.arguments)):
                self._check_log(f"processed/{job_id}/1/", "was shown as COMPLETED")

    def _check_original(self, job_id: str) -> None:
        folder = f"{self._files}/raw/{job_id}"
        self._check_files(folder, f"{job_id} was answered")
        self._check_log(job_id, "was answered")
        if self.alone and not self._thing(self._wal).durable:
            self.findings.append(f"{job_id} was answered before the database was synced")

    def _check_partials(self) -> None:
        """Of clients that come one after the other."""
        for path in self._things:
            if re.fullmatch(rf"{re.escape(self._files)}/partial/{_ID}", path):
                if not self._things[path].durable:
                    self.findings.append(
                        f"an offset was told before {self._short(path)} was synced"
                    )
                self._check_names(path, "an offset was told")

    def _check_results(self, prefix: str) -> None:
        self._check_files(f"{self._files}/{prefix}".rstrip("/"), f"{prefix} was settled")

    def _check_files(self, folder: str, told: str) -> None:
        files = [path for path in self._things if path.startswith(f"{folder}/")]
        if not files:
            self.findings.append(f"{told} before its files were in place")
        for path in files:
            if not self._things[path].durable:
                self.findings.append(f"{told} before {self._short(path)} was synced")
            self._check_names(path, told)
        self._check_names(self._wal, told)

    def _check_names(self, path: str, told: str) -> None:
        """Every directory on the way was synced after it had gained the name below it."""
        below = Path(path)
        while below != self.data_dir.parent:
            if self._thing(str(below.parent)).synced < self._thing(str(below)).named:
                self.findings.append(f"{told} before the name {self._short(str(below))} was synced")
            below = below.parent

    def _check_log(self, word: str, told: str) -> None:
        written = self._written_at.get(word)
        if written is None:
            self.findings.append(f"{word} {told} before it was in the database")
        elif self._thing(self._wal).synced < written:
            self.findings.append(f"{word} {told} before its commit was synced")

    def _short(self, path: str) -> str:
        return (
            str(Path(path).relative_to(self.data_dir))
            if path.startswith(str(self.data_dir))
            else path
        )
