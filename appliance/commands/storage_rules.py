"""`appliance storage lifecycle --apply`: have the bucket move by itself what is old."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from appliance import parts
from appliance.commands.command import actor, opened_database, printable
from appliance.config import Config
from appliance.database import audit
from appliance.database.protocol import Database, Transaction
from appliance.errors import ConfigurationError, StorageRefused
from appliance.storage.own_rules import Cooling, OwnRules, Rules
from appliance.storage.protocol import Storage

NEEDED = (
    "Not every store knows such rules; where it does, the key must be allowed to see and set them "
    "(s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration, with Google "
    "storage.buckets.get and storage.buckets.update). Without them the appliance itself moves what "
    "is old."
)
NONE = Rules()


def add_to(parser: argparse.ArgumentParser, does: argparse._MutuallyExclusiveGroup) -> None:
    """To `does` what it can be told to do, to `parser` how."""
    does.add_argument(
        "--apply",
        action="store_true",
        help="have the bucket's own lifecycle rules move what is old; those of others stay",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="with --apply: show the rules, set none"
    )


async def apply(config: Config, options: argparse.Namespace, *, now: float) -> int:
    """Raises ConfigurationError where the store can have no rules, StorageUnavailable."""
    _check(config)
    # First: what the audit log could not take down is not done.
    async with opened_database(config) as database:
        store = parts.store_beside(config)
        try:
            return await _apply(config, options, store, database, now=now)
        except StorageRefused as error:
            raise ConfigurationError([f"{error.detail} {NEEDED}"]) from error
        finally:
            await store.close()


async def _apply(
    config: Config, options: argparse.Namespace, store: Storage, database: Database, *, now: float
) -> int:
    own_rules = store.own_rules
    assert own_rules is not None  # of a bucket
    rules = own_rules.wanted(config.cold_after_days)
    before, deleting = await own_rules.installed(), await own_rules.deleting()
    changed = (before or NONE) != rules
    if changed and not options.dry_run:
        await own_rules.install(rules)
        await database.write(_audited(own_rules.subject, rules, now=now))
    if options.json:
        document = {
            "bucket": own_rules.subject,
            "before": None if before is None else _document(before),
            "rules": _document(rules),
            "installed": not (changed and options.dry_run),
            "deletingRules": deleting,
        }
        print(json.dumps(document))
        return 0
    title = "Would be installed" if options.dry_run else "Installed"
    if not changed:
        title = "Installed already"
    lines = [f"{title} as lifecycle rules of {own_rules.subject}:", *_lines(rules)]
    if rules.cooling is None:
        lines.append(
            "The URL names no cold_class."
            if own_rules.cold_class is None
            else "APPLIANCE_COLD_AFTER_DAYS is 0."
        )
    if changed and before is not None:
        lines += ["In the place of:", *_lines(before)]
    lines += [
        "No rule deletes a file: a bucket knows nothing of pins, reviews and the ages of owners "
        "and presets. The appliance deletes what is old enough.",
        "Rules of others stay as they are.",
    ]
    print("\n".join(lines))
    for name in deleting:
        print(f"appliance: {_deletes(own_rules, name)}", file=sys.stderr)
    return 0


def _audited(subject: str, rules: Rules, *, now: float) -> Transaction[None]:
    cooling = rules.cooling
    detail = {
        "coldAfterDays": cooling.after_days if cooling else 0,
        "coldClass": cooling.storage_class if cooling else None,
    }
    yield from audit.add(
        actor=actor(), action="storage.rules", subject=subject, now=now, detail=detail
    )


def _check(config: Config) -> None:
    """Raises ConfigurationError."""
    if config.storage_url.startswith("file:"):
        raise ConfigurationError(
            [
                "--apply: APPLIANCE_STORAGE_URL is a directory, which has no rules of its own. "
                "The appliance itself moves and deletes what is old; nothing is to be done."
            ]
        )
    if config.cold_storage_url is not None:
        raise ConfigurationError(
            [
                "--apply: originals go to APPLIANCE_COLD_STORAGE_URL, and no rule of a bucket "
                "moves anything to another place. The appliance itself does; nothing is to be "
                "done."
            ]
        )


async def words(own_rules: OwnRules | None, config: Config) -> list[str]:
    """What the bucket does by itself, for `appliance check`; nothing where it does not tell.

    Raises StorageUnavailable.
    """
    if own_rules is None:
        return []
    try:
        rules, deleting = await own_rules.installed(), await own_rules.deleting()
    except StorageRefused:
        return []
    told = [_deletes(own_rules, name) for name in deleting]
    if rules is not None and rules.cooling is not None:
        told.append(f"The bucket's own rules move {_moved(rules.cooling)}.")
        days, storage_class = config.cold_after_days, own_rules.cold_class
        if rules.cooling != (days, storage_class, own_rules.originals):
            wanted = "that they stay"
            if days and storage_class is not None:
                wanted = _moved(Cooling(days, storage_class, own_rules.originals))
            told[-1] += (
                f" The settings say {wanted}: `appliance storage lifecycle --apply` changes the "
                "rules."
            )
    return told


def _deletes(own_rules: OwnRules, name: str) -> str:
    return (
        f"{own_rules.subject} has a rule of somebody else that deletes files of the appliance "
        f"({printable(name)}). It knows nothing of pins and reviews: take it away, or have it "
        "spare the prefix."
    )


def _moved(cooling: Cooling) -> str:
    return (
        f"originals ({printable(cooling.prefix)}) to {printable(cooling.storage_class)} after "
        f"{cooling.after_days} days"
    )


def _document(rules: Rules) -> dict[str, Any]:
    cooling = rules.cooling
    return {
        "coldAfterDays": cooling.after_days if cooling else 0,
        "coldClass": cooling.storage_class if cooling else None,
        "coldPrefix": cooling.prefix if cooling else None,
        "abandonedAfterDays": rules.abandoned_after_days,
    }


def _lines(rules: Rules) -> list[str]:
    cooling = rules.cooling
    lines = ["  originals stay where they are" if cooling is None else f"  {_moved(cooling)}"]
    if rules.abandoned_after_days:
        days = rules.abandoned_after_days
        lines.append(f"  parts of uploads that were never ended: deleted after {days} days")
    return lines
