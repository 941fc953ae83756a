"""How an attempt ended, judged from what its child said and what became of its process.

What a child says is a claim: the class of an error is looked up by the code it names, never
taken from it, and text is cleaned and cut. How the process ended comes from the kernel.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from appliance.errors import ChildCrashed, ChildTimedOut, LimitExceeded, ProcessingError
from appliance.processors.protocol import Done, Exited, Failed, Limits, Output

MAX_MESSAGE_CHARACTERS = 1000
MAX_STEP_CHARACTERS = 100
STDERR_TAIL_CHARACTERS = 4096


class Outcome(msgspec.Struct, frozen=True):
    """A good attempt. Its files are not checked yet: that is for `outputs.check_outputs`."""

    facts: dict[str, Any]
    outputs: tuple[Output, ...]
    stderr_tail: str
    cpu_s: float
    peak_memory_bytes: int
    """Resident, of the largest process of the attempt; the nursery's shared pages count."""


class AttemptFailed(Exception):
    """One attempt failed with `error`; beside it, what the attempt's record keeps."""

    def __init__(
        self,
        error: ProcessingError,
        *,
        step: str,
        error_class: str,
        stderr_tail: str,
        cpu_s: float,
        peak_memory_bytes: int,
    ) -> None:
        super().__init__(f"{error.code} in step {step!r}: {error}")
        self.error = error
        """`permanent` of its class decides whether another attempt makes sense."""
        self.step = step
        self.error_class = error_class
        self.stderr_tail = stderr_tail
        self.cpu_s = cpu_s
        self.peak_memory_bytes = peak_memory_bytes


def conclude(
    fault: ProcessingError | None,
    exited: Exited,
    limits: Limits,
    *,
    conclusion: Done | Failed | None,
    outputs: Sequence[Output],
    step: str,
    stderr_tail: str,
) -> Outcome:
    """The outcome of an attempt that is over. Raises AttemptFailed.

    `fault` is why the child was killed from outside; it counts before what the child said
    last, and that before how the process ended.
    """
    said = error_of(conclusion) if isinstance(conclusion, Failed) else None
    error = fault or said or error_of_end(exited, limits)
    if error is None and isinstance(conclusion, Done):
        return Outcome(
            facts=conclusion.facts,
            outputs=tuple(outputs),
            stderr_tail=stderr_tail,
            cpu_s=exited.cpu_s,
            peak_memory_bytes=exited.peak_memory_bytes,
        )
    error = error or ChildCrashed("The process ended without a result")
    raise AttemptFailed(
        error,
        step=step,
        error_class=(
            printable(conclusion.error_class, MAX_STEP_CHARACTERS)
            if isinstance(conclusion, Failed) and error is said
            else type(error).__qualname__
        ),
        stderr_tail=stderr_tail,
        cpu_s=exited.cpu_s,
        peak_memory_bytes=exited.peak_memory_bytes,
    ) from error


def error_of(failed: Failed) -> ProcessingError:
    """The error that a child reported; a code that is not ours is no reason to give up."""
    known = _PROCESSING_ERRORS.get(failed.code, ProcessingError)
    return known(
        printable(failed.message, MAX_MESSAGE_CHARACTERS) or None,
        retry_after_s=failed.retry_after_s,
    )


def error_of_end(exited: Exited, limits: Limits) -> ProcessingError | None:
    """What the end of a process says that was not killed by us; None for exit code 0."""
    if exited.signal is None:
        if exited.exit_code is None:
            return ChildCrashed("The process could not be started")
        if exited.exit_code == 0:
            return None
        return ChildCrashed(f"The process ended unexpectedly, with exit code {exited.exit_code}")
    if exited.signal == signal.SIGXCPU or (
        exited.signal == signal.SIGKILL and exited.cpu_s >= limits.cpu_s
    ):
        return ChildTimedOut(f"The work took more than {limits.cpu_s} s of processor time")
    if exited.signal == signal.SIGXFSZ:
        return LimitExceeded("A result of the work on this file would be larger than allowed")
    if exited.signal == signal.SIGKILL:
        return ChildCrashed(
            "The process was killed (SIGKILL), most likely because the machine's memory ran out"
        )
    return ChildCrashed(f"The process crashed ({signal_name(exited.signal)})")


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no name
        return f"signal {number}"


def printable(text: str, max_characters: int) -> str:
    """The beginning of `text`, with what could steer a terminal or forge a line escaped."""
    return _escaped(text[:max_characters])[:max_characters]


def tail(raw: bytes) -> str:
    """The end of what a process wrote to stderr; line ends stay, other controls are escaped."""
    lines = raw.decode("utf-8", "replace").split("\n")
    return "\n".join(map(_escaped, lines)).strip()[-STDERR_TAIL_CHARACTERS:]


def _escaped(text: str) -> str:
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def _tree(root: type[ProcessingError]) -> Iterator[type[ProcessingError]]:
    yield root
    for branch in root.__subclasses__():
        yield from _tree(branch)


_PROCESSING_ERRORS = {known.code: known for known in _tree(ProcessingError)}
