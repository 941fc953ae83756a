"""`appliance upload`: files to a server, resumable."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.client import batch, jobs, sources
from appliance.client.batch import Outcome
from appliance.client.connection import Connection
from appliance.client.journal import Journal
from appliance.client.sources import Source
from appliance.client.uploads import Uploads
from appliance.clock import SystemClock
from appliance.commands.client import (
    add_common,
    parallel,
    patience_maker,
    prepare,
    say,
    size,
    tell,
    tell_json,
)
from appliance.commands.command import Commands, printable
from appliance.config import ClientConfig
from appliance.errors import ConfigurationError

if TYPE_CHECKING:
    from appliance.client.screen import Screen

EXIT_FAILED = 1


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "upload", help="send files to a server, resumable",
        description="Send files to a server. What breaks off goes on by itself; what was killed "
        "goes on when the same command is given again, and sends nothing twice.",
        epilog="Exit status 0: every file is safe on the server (with --wait: and its job "
        "COMPLETED); 1: some failed; 2: nothing could be begun; 130: stopped by Ctrl-C.",
    )  # fmt: skip
    parser.add_argument(
        "files", metavar="FILE", nargs="+",
        help="a file, a folder with all below it, a pattern such as 'photos/**/*.jpg', "
        "or - for standard input",
    )  # fmt: skip
    parser.add_argument("--name", help="the file's name at the server; needed for -")
    parser.add_argument("--wait", action="store_true", help="until the jobs have come to their end")
    parser.add_argument(
        "--json", action="store_true", help="a line of JSON for each file, as it comes to its end"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="nothing but the ids of the jobs, and errors"
    )
    parser.add_argument(
        "-j", "--parallel", type=parallel, default=3, metavar="N", help="files at once [3]"
    )
    parser.add_argument("--preset", help="what is made of the files")
    parser.add_argument(
        "--priority", choices=[str(n) for n in range(10)], metavar="0-9",
        help="9 goes first [5]",
    )  # fmt: skip
    parser.add_argument(
        "--metadata", type=_pair, action="append", default=[], metavar="KEY=VALUE",
        help="of yours, which the jobs carry; may be given several times",
    )  # fmt: skip
    add_common(parser)
    parser.set_defaults(run=run)


async def run(config: ClientConfig, options: argparse.Namespace) -> int:
    """Raises ConfigurationError, and ClientFailure before anything is begun."""
    prepare()
    found, faults = await asyncio.to_thread(sources.find, options.files, name=options.name)
    if faults:
        raise ConfigurationError(faults)
    asked = _asked(options)
    clock, new_patience = SystemClock(), patience_maker(options)
    async with Connection(config, clock=clock) as connection:
        await connection.check()
        journal = Journal(
            config.state_dir / "uploads",
            server_url=config.server_url,
            key=config.key,
            clock=clock,
        )
        uploads = Uploads(connection, journal, asked=asked, new_patience=new_patience)
        screen = _screen(found, quiet=options.quiet)

        def settle(outcome: Outcome) -> None:
            _tell(outcome, options)
            screen.ended()

        try:
            with screen:
                outcomes = await batch.run(
                    found,
                    uploads=uploads,
                    connection=connection,
                    new_patience=new_patience,
                    watch=lambda source, is_through: screen.row(
                        source.shown, _size(source), is_through=is_through
                    ),
                    tell=settle,
                    parallel=options.parallel,
                    follow=options.wait,
                )
        except asyncio.CancelledError:
            say("Stopped. The same command, given again, goes on from here.")
            if any(source.is_stream for source in found):
                say("What comes from a pipe begins anew.")
            raise
        if all(outcome.sent is not None for outcome in outcomes):
            journal.forget()
    failed = sum(not outcome.is_good for outcome in outcomes)
    if failed and len(outcomes) > 1:
        say(f"{failed} of {len(outcomes)} files failed.")
    return EXIT_FAILED if failed else 0


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError("KEY=VALUE")
    return key, value


def _asked(options: argparse.Namespace) -> dict[str, str]:
    """The options of the jobs, as the server wants them. Raises ConfigurationError."""
    asked = {}
    if options.preset is not None:
        asked["preset"] = options.preset
    if options.priority is not None:
        asked["priority"] = options.priority
    if options.metadata:
        metadata = dict(options.metadata)
        if len(metadata) != len(options.metadata):
            raise ConfigurationError(["--metadata: each KEY once."])
        asked["metadata"] = msgspec.json.encode(metadata).decode()
    return asked


def _screen(found: Sequence[Source], *, quiet: bool) -> Screen:
    from appliance.client.screen import Screen  # what draws is loaded by those who want to see

    sizes = [_size(source) for source in found]
    total_bytes = None if None in sizes else sum(size or 0 for size in sizes)
    return Screen(count=len(found), total_bytes=total_bytes, quiet=quiet)


def _size(source: Source) -> int | None:
    """In bytes, as far as it is known beforehand."""
    if source.path is None or source.is_stream:
        return None
    with contextlib.suppress(OSError):
        return source.path.stat().st_size
    return None


# --- telling -----------------------------------------------------------------------------


def _tell(outcome: Outcome, options: argparse.Namespace) -> None:
    if options.json:
        tell_json(_document(outcome))
        return
    if outcome.job is not None:
        job = jobs.of(outcome.job)
        if options.quiet:
            tell(job.job_id)
        else:
            shown = printable(outcome.source.shown) + _notes(outcome)
            tell(f"{job.job_id}  {job.status:10}  {shown}")
        if not outcome.is_good and outcome.failure is None:
            error = outcome.job.get("error") or {}
            say(f"{outcome.source.shown}: {error.get('message') or job.status}")
    if outcome.failure is not None:
        say(f"{outcome.source.shown}: {outcome.failure.detail}")


def _notes(outcome: Outcome) -> str:
    if outcome.sent is None or not outcome.sent.resumed_bytes:
        return ""
    if outcome.sent.was_there:
        return "  (was there already)"
    return f"  (went on at {size(outcome.sent.resumed_bytes)})"


def _document(outcome: Outcome) -> dict[str, Any]:
    """`job` is as the server tells it; `error` is ours: why it is not there, or not followed."""
    sent, job = outcome.sent, outcome.job
    return {
        "file": printable(outcome.source.shown),
        "jobId": None if job is None else job["jobId"],
        "status": None if job is None else job["status"],
        "sizeBytes": None if sent is None else sent.size_bytes,
        "resumedBytes": None if sent is None else sent.resumed_bytes,
        "job": job,
        "error": None if outcome.failure is None else outcome.failure.document(),
    }
