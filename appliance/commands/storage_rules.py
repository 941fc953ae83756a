"""`appliance storage lifecycle --apply`: have the bucket move by itself what is old."""

from __future__ import annotations

import argparse
import json
import sys

from appliance import parts
from appliance.commands.command import actor, opened_database, printable
from appliance.config import Config
from appliance.database import audit
from appliance.errors import ConfigurationError, StorageRefused
from appliance.storage.own_rules import ORIGINALS, OwnRules, Rules

NEEDED = (
    "Not every store knows such rules; where it does, the key must be allowed to see and set them "
    "(s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration, with Google "
    "storage.buckets.get and storage.buckets.update). Without them the appliance itself moves what "
    "is old."
)
NONE = Rules(0, 0)


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
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
    store = parts.store_beside(config)
    try:
        own_rules = store.own_rules
        assert own_rules is not None  # of a bucket
        rules = own_rules.wanted(config.cold_after_days)
        try:
            before, deleting = await own_rules.installed(), await own_rules.deleting()
            if not options.dry_run and (before or NONE) != rules:
                await own_rules.install(rules)
        except StorageRefused as error:
            raise ConfigurationError([f"{error.detail} {NEEDED}"]) from error
    finally:
        await store.close()
    changed = (before or NONE) != rules
    if changed and not options.dry_run:
        detail = {"coldAfterDays": rules.cold_after_days, "coldClass": own_rules.cold_class}
        async with opened_database(config) as database:
            await database.write(
                audit.add(
                    actor=actor(),
                    action="storage.rules",
                    subject=own_rules.subject,
                    now=now,
                    detail=detail,
                )
            )
    if options.json:
        document = {
            "bucket": own_rules.subject,
            "coldClass": own_rules.cold_class,
            "before": None if before is None else _document(before),
            "rules": _document(rules),
            "installed": not (changed and options.dry_run),
            "deletingRules": deleting,
        }
        print(json.dumps(document))
        return 0
    print("\n".join(_lines(own_rules, rules, changed=changed, dry_run=options.dry_run)))
    for name in deleting:
        print(
            f"appliance: {own_rules.subject} has a rule of somebody else that deletes files of "
            f"the appliance ({printable(name)}). It knows nothing of pins and reviews: take it "
            "away, or have it spare the prefix.",
            file=sys.stderr,
        )
    return 0


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


async def words(own_rules: OwnRules | None, config: Config) -> str | None:
    """What the bucket does by itself, for `appliance check`; None: nothing, or it does not tell.

    Raises StorageUnavailable.
    """
    try:
        rules = await own_rules.installed() if own_rules is not None else None
    except StorageRefused:
        return None
    if own_rules is None or rules is None or not rules.cold_after_days:
        return None
    told = (
        f"The bucket's own rules move originals to {own_rules.cold_class} after "
        f"{rules.cold_after_days} days."
    )
    if rules.cold_after_days != config.cold_after_days:
        told += (
            f" The settings say {config.cold_after_days}: `appliance storage lifecycle --apply` "
            "changes the rules."
        )
    return told


def _document(rules: Rules) -> dict[str, int]:
    return {
        "coldAfterDays": rules.cold_after_days,
        "abandonedAfterDays": rules.abandoned_after_days,
    }


def _lines(own_rules: OwnRules, rules: Rules, *, changed: bool, dry_run: bool) -> list[str]:
    title = "Would be installed" if dry_run else "Installed"
    if not changed:
        title = "Installed already"
    cold = f"originals ({ORIGINALS}) to {own_rules.cold_class} after {rules.cold_after_days} days"
    if not rules.cold_after_days:
        cold = "originals stay where they are: " + (
            "the URL names no cold_class"
            if own_rules.cold_class is None
            else "APPLIANCE_COLD_AFTER_DAYS is 0"
        )
    lines = [f"{title} as lifecycle rules of {own_rules.subject}:", f"  {cold}"]
    if rules.abandoned_after_days:
        days = rules.abandoned_after_days
        lines.append(f"  parts of uploads that were never ended: deleted after {days} days")
    return [
        *lines,
        "No rule deletes a file: a bucket knows nothing of pins, reviews and the ages of owners "
        "and presets. The appliance deletes what is old enough.",
        "Rules of others stay as they are.",
    ]
