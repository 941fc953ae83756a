"""`appliance status`: how a job is, or how it ended."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from appliance.client import jobs
from appliance.client.connection import Connection
from appliance.clock import SystemClock
from appliance.commands.client import (
    add_common,
    job_id,
    patience_maker,
    prepare,
    size,
    tell,
    tell_json,
)
from appliance.commands.command import Commands, printable
from appliance.config import ClientConfig
from appliance.jobs import JobStatus

EXIT_FAILED = 1
TOLD_ABOVE = frozenset({"digest", "sizeBytes"})
"""Of a result, what is also the file's."""


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "status", help="how a job is, read from a server",
        description="Read a job from a server.",
        epilog="Exit status 0: the job is, or may still get, COMPLETED; 1: it is FAILED or "
        "CANCELLED; 2: it could not be read.",
    )  # fmt: skip
    parser.add_argument("job", metavar="JOB", help="its id, as `upload` tells it")
    parser.add_argument("--wait", action="store_true", help="until it has come to its end")
    parser.add_argument("--json", action="store_true", help="as the server tells it, in one line")
    add_common(parser)
    parser.set_defaults(run=run)


async def run(config: ClientConfig, options: argparse.Namespace) -> int:
    """Raises ConfigurationError and ClientFailure."""
    prepare()
    wanted = job_id(options.job)
    new_patience = patience_maker(options)
    async with Connection(config, clock=SystemClock()) as connection:
        await connection.check()
        asked = jobs.final if options.wait else jobs.read
        document = await asked(connection, wanted, patience=new_patience())
    if options.json:
        tell_json(document)
    else:
        for line in lines(document):
            tell(line)
    return EXIT_FAILED if jobs.of(document).has_failed else 0


def lines(job: Mapping[str, Any]) -> Iterator[str]:
    """The job for people; of what a newer server tells beside, nothing."""
    told = [("job", job["jobId"]), ("status", _status(job))]
    if error := job.get("error"):
        told.append(("error", f"{error.get('message')} ({error.get('code')})"))
    told.append(("file", f"{job.get('contentType')}, {size(job.get('sizeBytes') or 0)}"))
    told.append(("SHA-256", job["sha256"]))
    told.append(("came", job.get("createdAt")))
    result = {k: v for k, v in (job.get("result") or {}).items() if k not in TOLD_ABOVE}
    for name, values in (("result", result), ("metadata", job.get("metadata"))):
        if values:
            told.append(
                (name, ", ".join(f"{key} {_value(value)}" for key, value in values.items()))
            )
    yield printable(str(job["filename"]))
    for name, value in told:
        yield f"  {name:<9} {printable(str(value))}"
    files = job.get("files") or []
    width = max((len(printable(str(file["name"]))) for file in files), default=0)
    for number, file in enumerate(files):
        row = f"{printable(str(file['name'])):<{width}}  {size(file['sizeBytes']):>8}"
        if file.get("width"):
            row += f"  {file['width']} × {file['height']}"
        yield f"  {'files' if not number else '':<9} {row}"


def _status(job: Mapping[str, Any]) -> str:
    status, step = job["status"], job.get("step")
    if status == JobStatus.PROCESSING:
        status += f" {job.get('progress') or 0:.0%}" + (f", {step}" if step else "")
    if (job.get("attempt") or 0) > 1:
        status += f", attempt {job['attempt']} of {job.get('maxAttempts')}"
    if job.get("nextAttemptAt"):
        status += f", next at {job['nextAttemptAt']}"
    return str(status)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else text[:79] + "…"
