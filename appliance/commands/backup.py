"""`appliance backup`, `restore` and `verify`: copies that somebody can rely on."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance import data_dir, parts
from appliance.backups import place as places
from appliance.backups import restoring
from appliance.backups.proving import Proof, prove
from appliance.clock import SystemClock
from appliance.commands.command import Commands, opened_database, printable
from appliance.commands.progress import Progress
from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.setting_values import parse_storage_url
from appliance.web.words import bytes_in_words

_SHOWN = 20
"""Names that are told one by one."""


def add_to(commands: Commands) -> None:
    backup = commands.add_parser(
        "backup",
        help="take a backup; the server may run meanwhile",
        description="Copy the database and every stored file into a directory or a bucket; a "
        "second time only what is new. Exit status 0: all of it is there; 1: files are missing or "
        "damaged in the store, and the rest is there; 2: there is no backup.",
    )
    _place(backup, "APPLIANCE_BACKUP_URL")
    backup.add_argument("--keep", type=int, metavar="N", help="keep the newest N (14)")
    backup.add_argument("--list", action="store_true", help="list the backups that are there")
    backup.set_defaults(run=_backup)
    verify = commands.add_parser(
        "verify",
        help="prove that a backup can be restored, without restoring it",
        description="Read every file of a backup against its digest, open its database, and look "
        "for every file that this names. Exit status 0: it can be restored; 1: it is damaged.",
    )
    _place(verify, "APPLIANCE_BACKUP_URL")
    _snapshot(verify)
    verify.set_defaults(run=_verify)
    restore = commands.add_parser(
        "restore",
        help="restore a backup into an empty data directory",
        description="Restore into the data directory and the store of the settings, which must be "
        "empty. Every file is checked. Stopped in the middle, give the command again.",
    )
    _place(restore, "APPLIANCE_BACKUP_URL")
    _snapshot(restore)
    restore.add_argument(
        "--despite-damage", action="store_true", help="leave out what is damaged in the backup"
    )
    restore.set_defaults(run=_restore)


def _place(parser: argparse.ArgumentParser, setting: str) -> None:
    parser.add_argument(
        "place", nargs="?", metavar="DIR", help=f"a directory, s3://… or gs://… ({setting})"
    )
    parser.add_argument("--json", action="store_true", help="tell the outcome as JSON")


def _snapshot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--snapshot", metavar="NAME", help="an older one, of `backup --list`")


async def _backup(config: Config, options: argparse.Namespace) -> int:
    url = _url(config, options)
    if options.keep is not None:
        if options.keep < 1:
            raise ConfigurationError(["--keep: give a number above 0."])
        config = replace(config, backup_keep=options.keep)
    if options.list:
        return await _list(config, options, url)
    progress = Progress("copied")
    async with (
        opened_database(config) as database,
        parts.backups(
            config, url, database=database, clock=SystemClock(), counted=progress.count
        ) as backups,
    ):
        taken = await backups.take()
    progress.end()
    _tell(
        options,
        taken.__dict__,
        f"Backup {taken.snapshot}: {_amount(taken.files, taken.size_bytes)}; new were "
        f"{_amount(taken.new_files, taken.new_bytes)}.",
    )
    _name("missing in the store", taken.missing)
    _name("damaged in the store", taken.damaged)
    return 1 if taken.missing or taken.damaged else 0


async def _list(config: Config, options: argparse.Namespace, url: str) -> int:
    place = await parts.open_backup_place(config, url)
    try:
        there = await places.snapshots(place, now=SystemClock().now())
    finally:
        await place.close()
    _tell(options, {"snapshots": there}, "\n".join(there) or "There is no backup yet.")
    return 0


async def _verify(config: Config, options: argparse.Namespace) -> int:
    url = _url(config, options)
    progress = Progress("read")
    proof, snapshot = await _proof(config, options, url, progress)
    progress.end()
    sound = not proof.faults
    _tell(
        options,
        {"snapshot": snapshot, "files": proof.files, "sizeBytes": proof.size_bytes,
         "faults": proof.faults, "more": proof.more},
        f"Backup {snapshot} can be restored: {_amount(proof.files, proof.size_bytes)}, every "
        "digest right, the database sound."
        if sound
        else f"Backup {snapshot} is damaged:",
    )  # fmt: skip
    if not options.json:
        for fault in proof.faults:
            print(f"  {printable(fault)}", file=sys.stderr)
        if proof.more:
            print(f"  and {proof.more:,} more", file=sys.stderr)
    return 0 if sound else 1


async def _proof(
    config: Config, options: argparse.Namespace, url: str, progress: Progress
) -> tuple[Proof, str]:
    """Recorded where this machine has the appliance whose backup it is."""
    clock = SystemClock()
    if parts.has_database(config):
        async with (
            opened_database(config) as database,
            parts.backups(
                config, url, database=database, clock=clock, counted=progress.count
            ) as backups,
        ):
            snapshot = await places.chosen(backups.place, options.snapshot, now=clock.now())
            return await backups.prove(snapshot), snapshot
    place = await parts.open_backup_place(config, url)
    try:
        snapshot = await places.chosen(place, options.snapshot, now=clock.now())
        with tempfile.TemporaryDirectory() as folder:
            proof = await prove(
                place,
                snapshot,
                folder=Path(folder),
                open_copy=parts.open_database_at,
                now=clock.now(),
                counted=progress.count,
            )
        return proof, snapshot
    finally:
        await place.close()


async def _restore(config: Config, options: argparse.Namespace) -> int:
    url = _url(config, options)
    data_dir.prepare(config.data_dir)
    progress = Progress("restored")
    with data_dir.locked(config.data_dir):
        place = await parts.open_backup_place(config, url)
        try:
            snapshot = await places.chosen(place, options.snapshot, now=SystemClock().now())
            store = await parts.open_store(config)
            await restoring.check_empty(
                config.data_dir,
                database=await parts.database_in_place(config),
                store=store,
                snapshot=snapshot,
            )
            restored = await restoring.restore(
                place,
                snapshot,
                data_dir=config.data_dir,
                coming=parts.coming_database(config),
                adopt=partial(parts.adopt_database, config),
                store=store,
                open_copy=parts.open_database_at,
                despite_damage=options.despite_damage,
                counted=progress.count,
            )
            await store.close()
        finally:
            await place.close()
    progress.end()
    key = " Files are encrypted: start with the same encryption key." if restored.encrypted else ""
    _tell(
        options,
        restored.__dict__,
        f"Restored {snapshot} into {config.data_dir}: "
        f"{_amount(restored.files, restored.size_bytes)}, every digest right. Start with "
        f"`appliance serve`.{key}",
    )
    _name("not in the backup", restored.lacking)
    return 1 if restored.lacking else 0


def _url(config: Config, options: argparse.Namespace) -> str:
    """Raises ConfigurationError."""
    given: str | None = options.place
    if given is None:
        if config.backup_url is None:
            raise ConfigurationError(
                ["Say where: `appliance backup /mnt/backups`, or set APPLIANCE_BACKUP_URL."]
            )
        return config.backup_url
    if "://" not in given:
        return f"file://{quote(str(Path(given).expanduser().absolute()))}"
    try:
        return parse_storage_url(given)
    except ValueError as error:
        raise ConfigurationError([f"{given}: {error}."]) from error


def _tell(options: argparse.Namespace, document: dict[str, Any], words: str) -> None:
    print(json.dumps(document, ensure_ascii=False) if options.json else words)


def _amount(files: int, size_bytes: int) -> str:
    return f"{files:,} files, {bytes_in_words(size_bytes)}"


def _name(what: str, keys: list[str]) -> None:
    for key in keys[:_SHOWN]:
        print(f"  {what}: {printable(key)}", file=sys.stderr)
    if len(keys) > _SHOWN:
        print(f"  and {len(keys) - _SHOWN:,} more", file=sys.stderr)
