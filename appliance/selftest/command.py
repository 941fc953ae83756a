"""The command `appliance selftest`: what is typed, what is printed, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from appliance.config import Config
from appliance.selftest import trial

LONGEST_S = 3600.0
EXIT_FAILED = 1
EXIT_SIGNAL = 128
"""And the signal's number: how a shell tells that a command was stopped."""


def add_to(commands: Any) -> None:
    """Add the command to an argparse parser's subparsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "selftest", help="try this machine, its disk and these settings",
        description="Start a server of its own beside your data, upload files of every kind, wait "
        "for the results and read everything back. Your files and a server that runs are left "
        "alone, and nothing stays behind. Exit status 0: all is well; 1: something was lost, "
        "altered or stuck; 2: it could not be tried.",
    )  # fmt: skip
    parser.add_argument(
        "--chaos",
        action="store_true",
        help="kill children, nurseries and the server under steady uploads, stop it in the middle, "
        "damage a file, fill a small disk; tell what was lost and how long recovery took",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=60.0,
        metavar="N",
        help="with --chaos, about how long; otherwise, how long the jobs may take [60]",
    )
    parser.add_argument(
        "--json", action="store_true", help="the report as JSON on stdout, all else on stderr"
    )
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 1 <= (seconds := float(text)) <= LONGEST_S:
            return seconds
    raise argparse.ArgumentTypeError(f"give a number of seconds from 1 to {LONGEST_S:.0f}")


async def run(config: Config, options: argparse.Namespace) -> int:
    """The exit status. Raises ConfigurationError when it cannot be tried."""

    def tell(line: str) -> None:
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)

    with _cancelled_by_signals() as stopped_by:
        try:
            report = await trial.run(
                config, with_chaos=options.chaos, seconds=options.seconds, tell=tell
            )
        except asyncio.CancelledError:
            if not stopped_by:
                raise
            tell("Stopped. Nothing is left behind.")
            return EXIT_SIGNAL + stopped_by[0]
    if options.json:
        print(json.dumps(report.document(), indent=2))
    else:
        for line in report.lines():
            tell(line)
    return EXIT_FAILED if report.problems else 0


@contextmanager
def _cancelled_by_signals() -> Iterator[list[int]]:
    """The first SIGINT or SIGTERM cancels this task, and is noted; the clean-up sees no other."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    noted: list[int] = []

    def cancel(number: int) -> None:
        if not noted:
            noted.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel, number)
    try:
        yield noted
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
