"""`appliance process`: a file that a server has, once more, with another preset."""

from __future__ import annotations

import argparse

from appliance.client import jobs
from appliance.client.connection import Connection
from appliance.clock import SystemClock
from appliance.commands.client import (
    add_common,
    job_id,
    patience_maker,
    prepare,
    say,
    tell,
    tell_json,
)
from appliance.commands.command import Commands, printable
from appliance.config import ClientConfig
from appliance.jobs import DEFAULT_PRIORITY, HIGHEST_PRIORITY

EXIT_FAILED = 1


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "process", help="make something else of a file that a server has",
        description="Have a server make a new job of the stored file of another one, with a "
        "preset. The other job, with its results, stays as it is.",
        epilog="Exit status 0: the new job is there (with --wait: COMPLETED); 1: it is FAILED or "
        "CANCELLED; 2: none was made.",
    )  # fmt: skip
    parser.add_argument("job", metavar="JOB", help="its id, as `upload` tells it")
    parser.add_argument("--preset", required=True, help="what is made of the file")
    parser.add_argument(
        "--priority", type=int, choices=range(HIGHEST_PRIORITY + 1), metavar="0-9",
        default=DEFAULT_PRIORITY, help="9 goes first [5]",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="until the job has come to its end")
    parser.add_argument("--json", action="store_true", help="as the server tells it, in one line")
    parser.add_argument("-q", "--quiet", action="store_true", help="the id of the new job alone")
    add_common(parser)
    parser.set_defaults(run=run)


async def run(config: ClientConfig, options: argparse.Namespace) -> int:
    """Raises ConfigurationError and ClientFailure."""
    prepare()
    old, new_patience = job_id(options.job), patience_maker(options)
    async with Connection(config, clock=SystemClock()) as connection:
        await connection.check()
        document = await jobs.process(
            connection,
            old,
            preset=options.preset,
            priority=options.priority,
            patience=new_patience(),
        )
        if options.wait:
            new = jobs.of(document).job_id
            document = await jobs.final(connection, new, patience=new_patience())
    job = jobs.of(document)
    if options.json:
        tell_json(document)
    elif options.quiet:
        tell(job.job_id)
    else:
        tell(f"{job.job_id}  {job.status:10}  {printable(job.filename)}")
    if not job.has_failed:
        return 0
    say((document.get("error") or {}).get("message") or str(job.status))
    return EXIT_FAILED
