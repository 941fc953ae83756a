"""`appliance worker`: a process that works on jobs, beside the servers that take them."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import AsyncExitStack

from appliance import workforce
from appliance.commands.command import Commands
from appliance.commands.serving import asked_to_stop, raise_descriptor_limit
from appliance.config import Config
from appliance.jobs import JobType


def add_to(commands: Commands) -> None:
    worker = commands.add_parser(
        "worker",
        help="work on jobs only, beside the servers",
        description="Work on the jobs that servers have taken. Database and storage have to be "
        "shared with them: APPLIANCE_DATABASE_URL=postgresql://…, APPLIANCE_STORAGE_URL=s3://…; "
        "APPLIANCE_QUEUE_URL and APPLIANCE_CACHE_URL are as theirs.",
    )
    worker.add_argument(
        "--types",
        type=_types,
        default=tuple(JobType),
        metavar="TYPES",
        help="which jobs: image, pdf, video, any, with commas between; without it: all",
    )
    worker.set_defaults(run=run)


def _types(text: str) -> tuple[JobType, ...]:
    known = {job_type.value.lower(): job_type for job_type in JobType}
    words = [word.strip() for word in text.lower().split(",")]
    if not all(word in known for word in words):
        raise argparse.ArgumentTypeError(f"give some of {', '.join(known)}, with commas between")
    return tuple(known[word] for word in dict.fromkeys(words))


async def run(config: Config, options: argparse.Namespace) -> int:
    raise_descriptor_limit()
    stop, began = asked_to_stop(), time.monotonic()
    async with AsyncExitStack() as stack:
        await workforce.start_worker(stack, config, types=options.types)
        types = ", ".join(job_type.value.lower() for job_type in options.types)
        print(f"Works on {types} (ready in {time.monotonic() - began:.1f} s).", flush=True)
        await stop.wait()
        print("Stopping: running jobs may finish …", file=sys.stderr)
    print("Stopped.", file=sys.stderr)
    return 0
