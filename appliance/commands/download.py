"""`appliance download`: a job's files from a server."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.client import downloads, jobs
from appliance.client.connection import Connection
from appliance.client.downloads import Wanted
from appliance.client.failures import ClientFailure, TargetUnfit
from appliance.clock import SystemClock
from appliance.commands.client import add_common, job_id, patience_maker, prepare, say, tell
from appliance.commands.command import Commands, printable
from appliance.config import ClientConfig
from appliance.errors import ConfigurationError

if TYPE_CHECKING:
    from appliance.client.screen import Screen

EXIT_FAILED = 1


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "download", help="fetch the files of a job from a server",
        description="Fetch the results of a job (all, or those named), the original with "
        "--original, both with --all. What breaks off, or was killed, goes on where it was. A file "
        "gets its name when its SHA-256 is right; another one of that name is left alone.",
        epilog="Exit status 0: all of them are there; 1: some are not; 2: nothing could be begun.",
    )  # fmt: skip
    parser.add_argument("job", metavar="JOB", help="its id, as `upload` tells it")
    parser.add_argument("names", metavar="NAME", nargs="*", help="as `status` lists them")
    parser.add_argument("--all", action="store_true", help="the results and the original")
    parser.add_argument("--original", action="store_true", help="what was uploaded")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="the folder for them [.]"
    )
    parser.add_argument("--force", action="store_true", help="replace files of the same names")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing but errors")
    add_common(parser)
    parser.set_defaults(run=run)


async def run(config: ClientConfig, options: argparse.Namespace) -> int:
    """Raises ConfigurationError and ClientFailure."""
    prepare()
    wanted_id = job_id(options.job)
    async with Connection(config, clock=SystemClock()) as connection:
        await connection.check()
        document = await jobs.read(connection, wanted_id, patience=patience_maker(options)())
        chosen = _choose(document, options)
        folder: Path = options.output
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise TargetUnfit(f"{folder} cannot be made: {error.strerror}.") from error

        from appliance.client.screen import Screen  # what draws is loaded by those who see it

        total_bytes = sum(wanted.size_bytes for wanted in chosen)
        screen = Screen(count=len(chosen), total_bytes=total_bytes, quiet=options.quiet)
        failed = 0
        try:
            with screen:
                for wanted in chosen:
                    failed += not await _fetch(connection, wanted, screen, options)
                    screen.ended()
        except asyncio.CancelledError:
            say("Stopped. The same command, given again, goes on from here.")
            raise
    return EXIT_FAILED if failed else 0


async def _fetch(
    connection: Connection, wanted: Wanted, screen: Screen, options: argparse.Namespace
) -> bool:
    """Whether it is there, in the end; what happened is told."""
    try:
        with screen.row(wanted.name, wanted.size_bytes) as watcher:
            is_new = await downloads.fetch(
                connection,
                wanted,
                options.output,
                overwrite=options.force,
                patience=patience_maker(options)(),
                watcher=watcher,
            )
    except ClientFailure as failure:
        say(f"{wanted.name}: {failure.detail}")
        return False
    if not options.quiet:
        note = "" if is_new else "  (was there already)"
        tell(f"{printable(str(options.output / wanted.name))}{note}")
    return True


def _choose(document: dict[str, Any], options: argparse.Namespace) -> list[Wanted]:
    """Raises ConfigurationError when there is nothing to fetch, or not what was named."""
    chosen, missing = downloads.choose(
        document,
        options.names,
        results=options.all or not (options.names or options.original),
        original=options.all or options.original,
    )
    status = jobs.of(document).status
    if missing:
        listed = ", ".join(str(file.get("name")) for file in document["files"]) or "none"
        raise ConfigurationError(
            [
                f"The job is {status} and has no file {printable(name)!r}. Its results: "
                f"{printable(listed)}."
                for name in missing
            ]
        )
    wants_results = options.all or not (options.names or options.original)
    if wants_results and not status.is_final:
        raise ConfigurationError(
            [
                f"The job is {status}, so its results are still to come. `appliance status JOB "
                "--wait` waits for them; --original fetches what was uploaded."
            ]
        )
    if not chosen:
        raise ConfigurationError(
            [f"The job is {status} and has no results. --original fetches what was uploaded."]
        )
    return chosen
