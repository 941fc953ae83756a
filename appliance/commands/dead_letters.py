"""`appliance dead-letters`: the review from a shell, on the database beside a running server.

What is tried again becomes PENDING here; a running server finds it within 2 s, and its redriver
goes on with what follows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from appliance import parts
from appliance.clock import rfc3339
from appliance.commands.command import (
    EXIT_FAULT,
    Commands,
    actor,
    opened_database,
    printable,
)
from appliance.config import Config
from appliance.database import dead_letters, redrives
from appliance.database.dead_letters import DeadLetter, Filter, Group
from appliance.database.protocol import Database, Transaction
from appliance.database.redrives import Counts, Redrive
from appliance.errors import BadRequest, NotFound
from appliance.ids import is_id
from appliance.web import filters
from appliance.web.dead_letters import Story, story_of
from appliance.web.filters import FilterFields
from appliance.web.representation import dead_letter_document, group_document

EXIT_FAILED_AGAIN = 1
POLL_S = 0.5
QUIET_S = 15.0
"""Nothing has moved for this long: perhaps no server runs."""
SHOWN_GROUPS = 20


def add_to(commands: Commands) -> None:
    review = commands.add_parser(
        "dead-letters", help="review the jobs that were given up"
    ).add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = review.add_parser(
        "list", help="in groups of those that failed alike, then one by one"
    )
    _add_filter(listing)
    listing.add_argument("--limit", type=_number, default=20, metavar="N", help="as many [20]")
    listing.add_argument("--json", action="store_true", help="as one JSON document")
    listing.set_defaults(run=_list)

    show = review.add_parser("show", help="one, with its attempts and its history")
    show.add_argument("job", metavar="JOB")
    show.add_argument("--json", action="store_true", help="as one JSON document")
    show.set_defaults(run=_show)

    retry = review.add_parser(
        "retry", help="try some or all of them again",
        description="Try jobs again: those named, those that match, or --all. Exit status 0: done; "
        "with --wait, 1: some failed again.",
    )  # fmt: skip
    _add_selection(retry)
    retry.add_argument(
        "--staged", action="store_true",
        help="one first, then 10, then 100; it stops by itself when a tenth fails again",
    )  # fmt: skip
    retry.add_argument(
        "--limit", type=_number, default=redrives.MAX_JOBS, metavar="N", help="the oldest N of them"
    )
    retry.add_argument("--wait", action="store_true", help="until it is done, and tell how it went")
    retry.set_defaults(run=_retry)

    discard = review.add_parser(
        "discard", help="end the review of some or all of them",
        description="End the review: the jobs stay FAILED.",
    )  # fmt: skip
    _add_selection(discard)
    discard.add_argument("--yes", action="store_true", help="do not ask")
    discard.set_defaults(run=_discard)


def _add_filter(parser: argparse.ArgumentParser) -> None:
    for name, metavar, meaning in (
        ("type", "TYPE", "IMAGE, PDF, VIDEO or ANY"),
        ("code", "CODE", "an error code, such as child_crashed"),
        ("owner", "OWNER", "key:<id>"),
        ("fingerprint", "F", "of a group, as `list` shows it"),
        ("since", "TIME", "failed then or later, such as 2026-11-24T08:00:00Z"),
        ("until", "TIME", "failed before then"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, help=meaning)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", metavar="JOB", nargs="*", help="id of a job")
    _add_filter(parser)
    parser.add_argument("--all", action="store_true", help="all there are")


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= redrives.MAX_JOBS:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {redrives.MAX_JOBS}")
    return int(text)


def _filter(options: argparse.Namespace) -> Filter:
    """Raises BadRequest."""
    given = {name: getattr(options, name) for name in FilterFields.__struct_fields__}
    return FilterFields(**given).parsed()


def _selection(options: argparse.Namespace) -> Filter:
    """Raises BadRequest when it is not said which."""
    wanted = _filter(options)
    said = [bool(options.jobs), wanted != Filter(), options.all]
    if sum(said) != 1:
        raise BadRequest(
            "Say which, in one of three ways: ids of jobs, a filter such as --code, or --all. "
            "`appliance dead-letters list` shows what there is."
        )
    return filters.of_ids(options.jobs) if options.jobs else wanted


# --- list, show --------------------------------------------------------------------------


async def _list(config: Config, options: argparse.Namespace) -> int:
    wanted = _filter(options)

    def reading() -> Transaction[tuple[list[Group], list[DeadLetter], int]]:
        groups = yield from dead_letters.groups(limit=1000)
        letters = yield from dead_letters.page(wanted, limit=options.limit)
        return groups, letters, (yield from dead_letters.count(wanted))

    async with opened_database(config) as database:
        groups, letters, matching = await database.read(reading())
    groups = [group for group in groups if _is_of(group, wanted)]
    if options.json:
        _print_json(
            {
                "groups": [group_document(group) for group in groups],
                "deadLetters": [dead_letter_document(letter) for letter in letters],
                "matching": matching,
            }
        )
        return 0
    for group in groups[:SHOWN_GROUPS]:
        print(
            f"{group.fingerprint}  {group.jobs:6} × {group.type:5}  {group.error_code}  "
            f"{_place(group.step)}  until {rfc3339(group.last_at)}  {printable(group.message)}"
        )
    if len(groups) > SHOWN_GROUPS:
        print(f"… and {len(groups) - SHOWN_GROUPS} smaller groups; --json gives all")
    if groups:
        print()
    for letter in letters:
        print(
            f"{letter.job_id}  {rfc3339(letter.created_at)}  {letter.type:5}  "
            f"{letter.error_code}  {_place(letter.step)}  {printable(letter.filename)}"
        )
    print(f"{matching} in all." if matching <= len(letters) else f"{len(letters)} of {matching}.")
    return 0


def _is_of(group: Group, wanted: Filter) -> bool:
    """Whether the group may hold what is wanted; of owners and times a group says nothing."""
    if wanted.owner is not None or wanted.since is not None or wanted.until is not None:
        return False
    return (
        wanted.fingerprint in (None, group.fingerprint)
        and wanted.type in (None, group.type)
        and wanted.code in (None, group.error_code)
    )


def _place(step: str) -> str:
    return f"at “{printable(step)}”"


async def _show(config: Config, options: argparse.Namespace) -> int:
    async with opened_database(config) as database:
        story = await database.read(story_of(options.job)) if is_id(options.job) else None
    if story is None:
        raise NotFound(
            f"There is no dead letter of a job {filters.shown(options.job)}; "
            "`appliance dead-letters list` shows what there is."
        )
    if options.json:
        _print_json(story.document(""))
    else:
        _tell(story)
    return 0


def _tell(story: Story) -> None:
    letter = story.letter
    print(f"{letter.job_id}  {letter.type}  {printable(letter.filename)}")
    print(f"owner        {letter.owner}")
    print(f"given up     {rfc3339(letter.created_at)} {_place(letter.step)}")
    print(f"error        {letter.error_code} ({letter.error_class}): {printable(letter.message)}")
    print(f"fingerprint  {letter.fingerprint}; {story.others} more failed alike")
    for attempt in story.attempts:
        end = (
            "runs" if attempt.ended_at is None else f"{attempt.ended_at - attempt.started_at:.1f} s"
        )
        print(
            f"attempt {attempt.number:<4} {rfc3339(attempt.started_at)}  {end}  "
            f"{attempt.outcome or ''}  {printable(attempt.message or '')}".rstrip()
        )
        for line in (attempt.stderr_tail or "").splitlines():
            print(f"    {printable(line)}")
    for entry in story.history:
        print(f"{rfc3339(entry.at)}  {entry.status}  {printable(entry.detail or '')}".rstrip())


# --- retry -------------------------------------------------------------------------------


async def _retry(config: Config, options: argparse.Namespace) -> int:
    wanted = _selection(options)
    async with parts.beside(config) as (database, acts):
        redrive = await acts.retry_dead_letters(
            wanted, actor=actor(), staged=options.staged, limit=options.limit
        )
        count = redrive.counts.total
        if not count:
            return _none_matched(options)
        how = "tried again, in waves" if options.staged else "tried again"
        print(f"{_are(count)} {how} (redrive {redrive.id}).", flush=True)
        return await _follow(database, redrive) if options.wait else 0


async def _follow(database: Database, redrive: Redrive) -> int:
    """Tell each wave's outcome as it comes, to the end."""
    told, moved_at = 0, time.monotonic()
    while True:
        found = await database.read(redrives.with_waves(redrive.id))
        assert found is not None
        now, waves = found
        if now != redrive:
            redrive, moved_at = now, time.monotonic()
        ended = redrive.state != "running"
        settled = ended and not redrive.counts.running
        while told < redrive.wave - (not settled):
            told += 1
            print(f"Wave {told}: {_outcome(waves[told])}.", flush=True)
        if settled:
            return _tell_end(redrive)
        if time.monotonic() - moved_at > QUIET_S:
            moved_at = time.monotonic()
            print(
                f"Nothing has moved for {QUIET_S:.0f} s. Jobs are worked on by a server: is one "
                "running on this data directory, or is something paused? The redrive goes on "
                "without this command; Ctrl-C ends the waiting.",
                file=sys.stderr,
            )
        await asyncio.sleep(POLL_S)


def _tell_end(redrive: Redrive) -> int:
    counts = redrive.counts
    if redrive.state == "stopped":
        why = "too many failed again" if redrive.stopped_by is None else "somebody stopped it"
        print(f"Stopped: {why}. {counts.waiting} were not begun.")
    else:
        print(f"Done: {_outcome(counts)}.")
    return EXIT_FAILED_AGAIN if counts.failed else 0


def _outcome(counts: Counts) -> str:
    told = [f"{counts.completed} completed"]
    if counts.failed:
        told.append(f"{counts.failed} failed again")
    if counts.other:
        told.append(f"{counts.other} cancelled, deleted or discarded")
    return ", ".join(told)


# --- discard -----------------------------------------------------------------------------


async def _discard(config: Config, options: argparse.Namespace) -> int:
    wanted = _selection(options)
    async with parts.beside(config) as (database, acts):
        if not options.yes and sys.stdin.isatty():
            count = await database.read(dead_letters.count(wanted))
            if not _confirmed(f"Discard {count} dead letters? The jobs stay FAILED. [y/N] "):
                print("Nothing was discarded.")
                return 0
        count = await acts.discard_dead_letters(wanted, actor=actor())
    if not count:
        return _none_matched(options)
    print(f"{_are(count)} discarded.")
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _none_matched(options: argparse.Namespace) -> int:
    if options.jobs:
        print(
            "appliance: there is no dead letter of what was named; see "
            "`appliance dead-letters list`.",
            file=sys.stderr,
        )
        return EXIT_FAULT
    print("No dead letter matches.")
    return 0


def _are(count: int) -> str:
    return "One dead letter is" if count == 1 else f"{count} dead letters are"


def _print_json(document: Mapping[str, Any]) -> None:
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
