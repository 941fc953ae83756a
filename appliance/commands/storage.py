"""`appliance storage`: where stored files are, and what becomes of them with age."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from typing import Any

from appliance import parts, upkeep, workforce
from appliance.clock import Clock, SystemClock
from appliance.commands import storage_rules
from appliance.commands.command import Commands, actor, opened_database
from appliance.config import Config
from appliance.costs import Prices
from appliance.database import ages, audit, figures, keys, lifecycle, ownership
from appliance.database.ages import DAY_S, KINDS, Age, Ages, Kind
from appliance.database.protocol import Database, Transaction
from appliance.errors import ConfigurationError
from appliance.maintenance.cooler import Cooler
from appliance.presets.files import MAX_DAYS
from appliance.principals import is_owner
from appliance.web.representation import used_document
from appliance.web.words import bytes_in_words


def add_to(commands: Commands) -> None:
    noun = commands.add_parser("storage", help="where stored files are, and what becomes of them")
    storage = noun.add_subparsers(title="commands", required=True, metavar="COMMAND")
    parser = storage.add_parser(
        "lifecycle",
        help="what is moved to the cold place and what is deleted, now and next",
        description="Tell how much is old enough to be moved or deleted, and what storing costs. "
        "Nothing is changed without --now or --apply.",
    )
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--now", action="store_true", help="move to the cold place what is due")
    storage_rules.add_to(parser, does)
    parser.add_argument("--json", action="store_true", help="tell it as JSON")
    parser.set_defaults(run=_run)
    usage = storage.add_parser("usage", help="what is stored, by owner, type and place")
    usage.add_argument("--json", action="store_true", help="tell it as JSON")
    usage.set_defaults(run=_usage)
    keep = storage.add_parser(
        "keep",
        help="how long the originals, or results, of one owner are kept",
        description="For how long after the end of their jobs. The age of an owner goes before "
        "that of the preset and that of the settings. It holds from the next hour on.",
    )
    keep.add_argument("owner", type=_owner, help="as `key:<id>`")
    keep.add_argument(
        "days", type=_days, help="whole days; 0: for ever; `default`: as for all others"
    )
    keep.add_argument("--results", action="store_true", help="of results; without it: of originals")
    keep.set_defaults(run=_keep)


async def _usage(config: Config, options: argparse.Namespace) -> int:
    async with opened_database(config) as database:
        used = await database.read(ownership.used_by_all())
    if options.json:
        print(json.dumps({"used": [{"owner": one.owner, **used_document(one)} for one in used]}))
        return 0
    for one in used:
        size = bytes_in_words(one.size_bytes)
        print(f"{one.owner} {one.type} {one.kind} {one.place}: {one.files:,} files, {size}")
    return 0


def _owner(text: str) -> str:
    if not is_owner(text):
        raise argparse.ArgumentTypeError(
            "an owner is `key:<id>`, as `appliance keys list` tells it, or `jwt:<issuer>:<sub>`"
        )
    return text


def _days(text: str) -> int | None:
    if text == "default":
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > MAX_DAYS:
        raise argparse.ArgumentTypeError(f"give a number of days up to {MAX_DAYS}, or `default`")
    return int(text)


async def _keep(config: Config, options: argparse.Namespace) -> int:
    owner, days = options.owner, options.days
    kind: Kind = "results" if options.results else "originals"
    now = SystemClock().now()

    def acting() -> Transaction[None]:
        if days is None:
            yield from ages.delete_owner_age(owner, kind)
        else:
            yield from ages.set_owner_age(owner, kind, days)
        yield from audit.add(
            actor=actor(),
            action="storage.keep",
            subject=owner,
            now=now,
            detail={"kind": kind, "days": days},
        )

    of_all = await _ages(config)
    async with opened_database(config) as database:
        await database.write(acting())
        own, is_known = await database.read(_standing(owner))
    for each in KINDS:
        print(f"Owner {owner}, {each}: {_kept(own[each]) if each in own else _of(of_all, each)}")
    if not is_known:
        print(
            f"appliance: nobody here is {owner}: no key, no person, and no files are. It holds "
            "for what comes from that owner later; take it back with `default`.",
            file=sys.stderr,
        )
    return 0


def _standing(owner: str) -> Transaction[tuple[dict[Kind, int], bool]]:
    """The ages of that owner, and whether anything here knows it."""
    own = (yield from ages.owner_ages()).get(owner, {})
    is_known = owner in (yield from keys.names([owner]))
    is_known = is_known or owner in (yield from ownership.taken_by([owner]))
    return own, is_known


async def _run(config: Config, options: argparse.Namespace) -> int:
    clock = SystemClock()
    if options.dry_run and not options.apply:
        raise ConfigurationError(
            ["--dry-run: goes with --apply. What would be moved is told without --now."]
        )
    if options.apply:
        return await storage_rules.apply(config, options, now=clock.now())
    async with opened_database(config) as database:
        if options.now:
            await _move(config, database, clock)
        found = await _ages(config)
        document = await database.read(_told(found, config.prices, now=clock.now()))
    if options.json:
        print(json.dumps(document))
        return 0
    if not config.cold_after_days:
        cooling = "Nothing goes to the cold place (APPLIANCE_COLD_AFTER_DAYS=0)."
    elif found.cold_after_s is None:
        cooling = (
            "There is no cold place: set APPLIANCE_COLD_STORAGE_URL, or cold_class in the URL of "
            "a bucket."
        )
    else:
        due = _amount(document["dueForCold"])
        cooling = f"Old enough for it: {due} (after {config.cold_after_days} days)"
    print("\n".join(_lines(document, cooling)))
    return 0


async def _ages(config: Config) -> Ages:
    """Raises ConfigurationError."""
    presets = await asyncio.to_thread(workforce.load_presets, config)
    store = parts.store_beside(config)
    await store.close()  # it is asked what it can, and for nothing
    return upkeep.ages_of(config, presets, store)


async def _move(config: Config, database: Database, clock: Clock) -> None:
    """Raises ConfigurationError, StorageFull, StorageUnavailable."""
    async with parts.storage_beside(config) as storage:
        if not storage.has_cold_place or not config.cold_after_days:
            raise ConfigurationError(
                ["There is no cold place: set APPLIANCE_COLD_STORAGE_URL and _COLD_AFTER_DAYS."]
            )
        cooler = Cooler(
            database=database,
            storage=storage,
            clock=clock,
            after_s=config.cold_after_days * DAY_S,
        )
        await cooler.run_once()


def _told(found: Ages, prices: Prices, *, now: float) -> Transaction[dict[str, Any]]:
    stored = yield from figures.stored()
    total = sum(one.originals.size_bytes + one.results.size_bytes for one in stored.values())
    cold = yield from lifecycle.cold()
    cooling = lifecycle.Totals(0, 0)
    if found.cold_after_s is not None:
        cooling = yield from lifecycle.due_for_cold(
            before=now - found.cold_after_s, least_bytes=found.least_cold_bytes
        )
    deletion = yield from ages.due_for_deletion(found, now=now)
    monthly = prices.monthly_usd(hot_bytes=total - cold.size_bytes, cold_bytes=cold.size_bytes)
    return {
        "storedBytes": total,
        "cold": _document(cold),
        "dueForCold": _document(cooling),
        "dueForDeletion": {
            "files": sum(share.files for share in deletion),
            "bytes": sum(share.size_bytes for share in deletion),
            "of": [
                {
                    "owner": share.owner,
                    "type": share.type,
                    "kind": share.kind,
                    "files": share.files,
                    "bytes": share.size_bytes,
                }
                for share in deletion
            ],
        },
        "ages": {
            **{kind: _age_document(found.of(kind)) for kind in KINDS},
            "owners": (yield from ages.owner_ages()),
        },
        "monthlyUsd": round(monthly, 2),
        "savedUsd": round(prices.saved_usd(cold.size_bytes), 2),
        "pricesUsd": {"hot": prices.hot_usd, "cold": prices.cold_usd},
    }


def _age_document(age: Age) -> dict[str, Any]:
    return {"days": age.days, "presets": dict(age.presets)}


def _document(totals: lifecycle.Totals) -> dict[str, int]:
    return {"files": totals.files, "bytes": totals.size_bytes}


def _lines(told: dict[str, Any], cooling: str) -> list[str]:
    """`cooling` says what goes to the cold place."""
    kept, deletion, prices = told["ages"], told["dueForDeletion"], told["pricesUsd"]
    return [
        f"Stored:            {bytes_in_words(told['storedBytes'])}",
        f"In the cold:       {_amount(told['cold'])}",
        cooling,
        f"To be deleted:     {_amount(deletion, 'files')}",
        *(
            f"  {share['owner']} {share['type']}: {_amount(share, share['kind'])}"
            for share in deletion["of"]
        ),
        *(f"{kind.capitalize()}: {_kept(kept[kind]['days'])}" for kind in KINDS),
        *(
            f"Preset {name}, {kind}: {_kept(days)}"
            for kind in KINDS
            for name, days in kept[kind]["presets"].items()
        ),
        *(
            f"Owner {owner}, {kind}: {_kept(days)}"
            for owner, own in kept["owners"].items()
            for kind, days in own.items()
        ),
        f"At ${prices['hot']:g} for a GB, and ${prices['cold']:g} in the cold, that is "
        f"${told['monthlyUsd']:.2f} a month; the cold place saves ${told['savedUsd']:.2f}.",
    ]


def _amount(totals: dict[str, Any], what: str = "originals") -> str:
    return f"{totals['files']:,} {what}, {bytes_in_words(totals['bytes'])}"


def _of(of_all: Ages, kind: Kind) -> str:
    age = of_all.of(kind)
    presets = [f"with the preset {name} {_kept(days)}" for name, days in age.presets.items()]
    return ", ".join([_kept(age.days), *presets, "as for all others"])


def _kept(days: int) -> str:
    return f"after {days} days" if days else "kept for ever"
