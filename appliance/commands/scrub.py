"""`appliance scrub`: read every stored file against its digest, now."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import msgspec

from appliance import parts
from appliance.clock import SystemClock
from appliance.commands.command import Commands, opened_database, printable
from appliance.commands.progress import Progress
from appliance.config import Config
from appliance.database import scrub
from appliance.database.scrub import DamagedFile
from appliance.maintenance.scrubber import Outcome, Scrubber
from appliance.web.words import bytes_in_words

_SHOWN = 20


def add_to(commands: Commands) -> None:
    parser = commands.add_parser(
        "scrub",
        help="read every stored file against its digest",
        description="Read every stored file against its digest, as fast as it goes; the server may "
        "run meanwhile. It does the same by itself, slowly. Exit status 0: all is as it was "
        "stored; 1: files are damaged, missing or cannot be read.",
    )
    parser.add_argument("--json", action="store_true", help="tell the outcome as JSON")
    parser.set_defaults(run=_run)


async def _run(config: Config, options: argparse.Namespace) -> int:
    progress = Progress("read")
    async with opened_database(config) as database, parts.storage_beside(config) as storage:
        scrubber = Scrubber(
            database=database,
            storage=storage,
            clock=SystemClock(),
            bytes_per_s=None,
            every_s=0.0,
            counted=progress.count,
        )
        outcome = await scrubber.pass_over_all()
        found = await database.read(scrub.damaged(_SHOWN))
        damaged = [one for one in found if one.unreadable is None]
    progress.end()
    if options.json:
        keys = [one.storage_key for one in damaged]
        unreadable = [one.storage_key for one in found if one.unreadable is not None]
        told = {"damagedKeys": keys, "unreadableKeys": unreadable}
        print(json.dumps({**msgspec.structs.asdict(outcome), **told}))
    else:
        _tell(outcome, found)
    return 0 if outcome.is_sound else 1


def _tell(outcome: Outcome, found: Sequence[DamagedFile]) -> None:
    print(
        f"{outcome.files:,} files read, {bytes_in_words(outcome.bytes)}; {outcome.damaged:,} are "
        f"damaged, {outcome.missing:,} missing, {outcome.unreadable:,} could not be read."
    )
    for one in found:
        why = "" if one.unreadable is None else f": {printable(one.unreadable)}"
        print(f"  {printable(one.storage_key)}{why}", file=sys.stderr)
    if not outcome.is_sound:
        print("Restore them from a backup into the same places; then scrub again.", file=sys.stderr)
