"""What the appliance's own process and its media children say to each other.

This module is all that the server's own process may import of this package: it pulls in no
media code. The rest of the package runs in a nursery (one per job type: a small process with
its codecs loaded) and in the children that a nursery forks, one per attempt.

    main ── control (SOCK_SEQPACKET, JSON, one message a packet) ──► nursery ── fork ──► child
    main ◄── Ready, Started, Exited ──────────────────────────────── nursery
    main ◄── reports (a pipe per attempt, a JSON line each): Progress, Output, Done, Failed ── child

A report is a claim by a process that has read hostile bytes: whoever receives one believes
nothing in it that he can check, and bounds its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec

PROCESSOR_NAME = r"[a-z][a-z0-9_-]{0,31}"
ContentTypePattern = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\*/\*|[a-z]+/\*|[a-z]+/[a-z0-9][a-z0-9.+-]*)$", min_length=3, max_length=100
    ),
]

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)
"""The options of one processor."""

MAX_CONTROL_BYTES = 64 * 1024
"""The largest control message; a packet is received whole or not at all."""

MAX_REPORT_BYTES = 256 * 1024
"""The largest report line; a child that says more in one line is killed."""

REQUIRED_LAYERS = ("limits", "capabilities", "no_new_privs", "landlock", "seccomp")
"""The layers of the sandbox that APPLIANCE_SANDBOX=require asks for. The network namespace is not
among them: it stands behind seccomp, which gives a child no socket."""


class Limits(msgspec.Struct, frozen=True):
    """What one child may use. The child sets the resource limits on itself before it opens the
    file; the wall clock and the time without a report are watched from outside."""

    memory_bytes: int
    """Address space on top of what the nursery had mapped at the fork (RLIMIT_AS)."""
    cpu_s: int
    """Processor time over all threads (RLIMIT_CPU)."""
    file_bytes: int
    """Size of any one file that it writes (RLIMIT_FSIZE)."""
    wall_s: float
    idle_s: float
    """Longest time without a report."""


class Order(msgspec.Struct, frozen=True, tag="order"):
    """One attempt. Sent with two descriptors: the reports' pipe and the file for stderr."""

    attempt_id: str
    """`<job id>-<attempt number>`: names the attempt on the control socket."""
    input_path: str
    """The file to work on; only ever read."""
    output_dir: str
    """Empty; results are written here, flat, and nothing else."""
    content_type: str
    """As the server found it in the leading bytes: the format to force, not a hint."""
    limits: Limits
    options: dict[str, Any] = {}
    """What the job's preset says to this processor: its table in the preset's TOML."""


class Check(msgspec.Struct, frozen=True, tag="check"):
    """Ask whether a preset's table would be understood. Answered by one Checked."""

    preset: str
    options: dict[str, Any]


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """End that attempt's process group at once. Unknown attempts are ignored."""

    attempt_id: str


class Description(msgspec.Struct, frozen=True):
    """What a processor says of itself; decoding it checks it."""

    name: Annotated[str, msgspec.Meta(pattern=f"^{PROCESSOR_NAME}$")]
    """Of its entry point, and of its table in a preset."""
    version: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]{0,49}$")]
    """Changes when the same file and options would give other results."""
    content_types: Annotated[
        tuple[ContentTypePattern, ...], msgspec.Meta(min_length=1, max_length=100)
    ]
    """Which files it takes, as the server recognises them; `text/*` and `*/*` are patterns."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The nursery is warm and takes orders."""

    pid: int
    processor: Description
    layers: dict[str, str] = {}
    """The layers of the sandbox by name: empty text where the layer holds, for a child tried the
    forbidden act and was refused; else why it does not."""


class Checked(msgspec.Struct, frozen=True, tag="checked"):
    preset: str
    fault: str | None
    """What is wrong with the options, and where; None when they are good."""


class Started(msgspec.Struct, frozen=True, tag="started"):
    attempt_id: str
    pid: int


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The child is gone, reaped, and so is whatever it had forked. Neither exit code nor signal:
    no process could be forked for it."""

    attempt_id: str
    exit_code: int | None
    signal: int | None
    cpu_s: float
    peak_memory_bytes: int


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    fraction: float
    """0 to 1."""
    step: str


class Output(msgspec.Struct, frozen=True, tag="output"):
    """A finished file in the output directory."""

    name: str
    content_type: str
    width_px: int | None = None
    height_px: int | None = None


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The work is complete; the last report of a good attempt."""

    facts: dict[str, Any]
    """JSON for the job's `result`, camelCase."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The work cannot be completed; the last report of a failed attempt."""

    code: str
    """Of an error in `appliance.errors`."""
    message: str
    """For the owner: what is wrong and what to do."""
    step: str
    permanent: bool
    error_class: str
    retry_after_s: float | None = None
    """How long the next attempt should wait, where the processor knows."""


ControlMessage = Order | Check | Kill
NurseryEvent = Ready | Checked | Started | Exited
Report = Progress | Output | Done | Failed


class Reporter(Protocol):
    """How a processor tells what it does; each call is one report."""

    def progress(self, fraction: float, step: str) -> None: ...

    def output(
        self,
        name: str,
        content_type: str,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
    ) -> None: ...


@dataclass(frozen=True)
class Task(Generic[OptionsT]):
    """What a processor is asked to do: one file, and what to make of it."""

    input_path: Path
    """Only ever read."""
    output_dir: Path
    """Empty; results are written here, flat."""
    content_type: str
    """As the server found it in the leading bytes: the format to force, not a hint."""
    options: OptionsT


class Processor(Protocol[OptionsT]):
    """Media work of one kind: a file in, files and facts out.

    Found through the entry-point group `appliance.processors`, the built-in ones too.
    """

    name: str
    version: str
    content_types: tuple[str, ...]
    """These three: see Description."""
    options: type[OptionsT]
    """What a preset may say. Every field has a default: an empty table is good."""
    reads: tuple[str, ...]
    """Folders of the system that the work has to read beside the input: fonts, models. The
    libraries that Python imports from are readable anyway."""

    def warm(self) -> None:
        """Load everything and decode one tiny file of each kind, so that a fork has it all: in a
        child no library can be loaded any more.

        Runs once, in the nursery. Must leave the process with a single thread.
        """
        ...

    def process(self, task: Task[OptionsT], report: Reporter) -> dict[str, Any]:
        """Work on `task.input_path` and return the facts for the job's `result`.

        Runs in a child that does nothing else and ends afterwards. Results are written to
        `task.output_dir` and each is reported when it is complete, and never touched again: the
        owner may see it from then on. Raises a `ProcessingError` with `permanent` set for a
        fault of the file; any other exception is a retry.
        """
        ...
