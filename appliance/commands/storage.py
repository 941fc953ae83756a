"""`appliance storage lifecycle`: what becomes of stored files with age, told before it is done."""

from __future__ import annotations

import argparse
import json
from typing import Any

from appliance import parts
from appliance.clock import Clock, SystemClock
from appliance.commands.command import Commands, opened_database
from appliance.config import Config
from appliance.costs import monthly_usd, saved_usd
from appliance.database import figures, lifecycle
from appliance.database.protocol import Database, Transaction
from appliance.errors import ConfigurationError
from appliance.maintenance.cooler import Cooler
from appliance.web.words import bytes_in_words

DAY_S = 24 * 3600.0


def add_to(commands: Commands) -> None:
    noun = commands.add_parser("storage", help="what becomes of stored files with age")
    storage = noun.add_subparsers(title="commands", required=True, metavar="COMMAND")
    parser = storage.add_parser(
        "lifecycle",
        help="what is moved to the cold place and what is deleted, now and next",
        description="Tell how much is old enough to be moved or deleted, and what storing costs. "
        "Nothing is changed without --now.",
    )
    parser.add_argument("--now", action="store_true", help="move to the cold place what is due")
    parser.add_argument("--json", action="store_true", help="tell it as JSON")
    parser.set_defaults(run=_run)


async def _run(config: Config, options: argparse.Namespace) -> int:
    clock = SystemClock()
    async with opened_database(config) as database:
        if options.now:
            await _move(config, database, clock)
        document = await database.read(_told(config, now=clock.now()))
    print(json.dumps(document) if options.json else "\n".join(_lines(config, document)))
    return 0


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


def _told(config: Config, *, now: float) -> Transaction[dict[str, Any]]:
    stored = yield from figures.stored()
    total = sum(one.originals.size_bytes + one.results.size_bytes for one in stored.values())
    cold = yield from lifecycle.cold()
    cooling = lifecycle.Totals(0, 0)
    if config.cold_after_days:
        before = now - config.cold_after_days * DAY_S
        cooling = yield from lifecycle.due_for_cold(before=before)
    deletion = lifecycle.Totals(0, 0)
    if config.delete_after_days:
        before = now - config.delete_after_days * DAY_S
        deletion = yield from lifecycle.due_for_deletion(before=before)
    monthly = monthly_usd(hot_bytes=total - cold.size_bytes, cold_bytes=cold.size_bytes)
    return {
        "storedBytes": total,
        "cold": _document(cold),
        "dueForCold": _document(cooling),
        "dueForDeletion": _document(deletion),
        "monthlyUsd": round(monthly, 2),
        "savedUsd": round(saved_usd(cold.size_bytes), 2),
    }


def _document(totals: lifecycle.Totals) -> dict[str, int]:
    return {"files": totals.files, "bytes": totals.size_bytes}


def _lines(config: Config, told: dict[str, Any]) -> list[str]:
    def amount(name: str) -> str:
        return f"{told[name]['files']:,} originals, {bytes_in_words(told[name]['bytes'])}"

    cold, days = config.cold_after_days, config.delete_after_days
    return [
        f"Stored:            {bytes_in_words(told['storedBytes'])}",
        f"In the cold:       {amount('cold')}",
        f"Old enough for it: {amount('dueForCold')} (after {cold} days)" if cold
        else "Nothing goes to the cold place (APPLIANCE_COLD_AFTER_DAYS=0).",
        f"To be deleted:     {amount('dueForDeletion')} with results (after {days} days)" if days
        else "Nothing is deleted by age (APPLIANCE_DELETE_AFTER_DAYS=0).",
        f"At the prices of AWS that is ${told['monthlyUsd']:.2f} a month; the cold place saves "
        f"${told['savedUsd']:.2f} of it.",
    ]  # fmt: skip
