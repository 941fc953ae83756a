"""What the client commands have in common: the server's address and key, and how things are told.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from appliance.client.patience import Patience
from appliance.clock import SystemClock
from appliance.commands.command import printable
from appliance.config import DEFAULT_SERVER
from appliance.errors import ConfigurationError
from appliance.ids import is_id

MAX_PARALLEL = 32
MAX_RETRY_S = 7 * 86400.0
RETRY_S = 300.0


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--retry-for", type=_seconds, default=RETRY_S, metavar="SECONDS",
        help="go on asking a server that does not answer for so long, once it has [300]",
    )  # fmt: skip
    parser.add_argument(
        "--server", metavar="URL", help=f"its address [APPLIANCE_SERVER, or {DEFAULT_SERVER}]"
    )
    parser.add_argument(
        "--key", help="an API key [APPLIANCE_KEY]; other users of this machine see what is typed"
    )
    parser.set_defaults(is_client=True)


def _seconds(text: str) -> float:
    try:
        if 0 <= (number := float(text)) <= MAX_RETRY_S:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"a number of seconds from 0 to {MAX_RETRY_S:.0f}")


def parallel(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= MAX_PARALLEL:
        return int(text)
    raise argparse.ArgumentTypeError(f"a whole number from 1 to {MAX_PARALLEL}")


def patience_maker(options: argparse.Namespace) -> Callable[[], Patience]:
    clock = SystemClock()
    return lambda: Patience(options.retry_for, clock=clock)


def job_id(text: str) -> str:
    """Raises ConfigurationError."""
    if not is_id(text.upper()):
        raise ConfigurationError(
            [f"{text!r} is no id of a job. It has 26 letters and digits, as `upload` tells it."]
        )
    return text.upper()


def prepare() -> None:
    """At the start of a command: names that this terminal has no letters for are escaped, and
    SIGTERM ends it as Ctrl-C does, with the terminal in order."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)


def say(words: str) -> None:
    """To whoever typed the command."""
    print(f"appliance: {printable(words)}", file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """A result. Where nobody reads results any more (`| head`), the work still goes on."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def tell_json(document: Any) -> None:
    """In one line."""
    tell(msgspec.json.encode(document).decode())


def size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} TB"
