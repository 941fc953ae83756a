"""`appliance keys`: making, listing and ending API keys, beside a running server or without."""

from __future__ import annotations

import argparse
import re
import sys
import time

from appliance.admin_key import create_key, revoke_key
from appliance.clock import rfc3339
from appliance.commands.command import EXIT_FAULT, Commands, actor, opened_database, printable
from appliance.config import Config
from appliance.database import keys
from appliance.permissions import EVERY_SCOPE, Role, Scope
from appliance.setting_values import parse_bytes

DAY_S = 24 * 3600.0


def add_to(commands: Commands) -> None:
    key = commands.add_parser("keys", help="API keys").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    create = key.add_parser("create", help="make a key and show it, once")
    create.add_argument("name", help="what it is for, such as `backup script`")
    create.add_argument("--role", choices=[role.value for role in Role], default=Role.USER.value)
    create.add_argument(
        "--scopes",
        type=_scopes,
        default=EVERY_SCOPE,
        metavar="SCOPES",
        help=f"what it is good for within its role: {', '.join(EVERY_SCOPE)}; "
        "several with commas between",
    )
    create.add_argument(
        "--expires-days", type=_days, metavar="DAYS", help="how long it is valid; else for ever"
    )
    create.add_argument(
        "--quota", type=_size, metavar="SIZE",
        help="most that it may keep here, such as 5GiB; else APPLIANCE_QUOTA_BYTES",
    )  # fmt: skip
    create.set_defaults(run=_create)
    key.add_parser("list", help="the keys, without their secrets").set_defaults(run=_list)
    revoke = key.add_parser("revoke", help="end a key and its sessions")
    revoke.add_argument("id", help="as `appliance keys list` shows it")
    revoke.set_defaults(run=_revoke)


def _scopes(text: str) -> tuple[Scope, ...]:
    try:
        return tuple(dict.fromkeys(Scope(part.strip()) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"give some of {', '.join(EVERY_SCOPE)}, with commas between"
        ) from None


def _days(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not int(text):
        raise argparse.ArgumentTypeError("give a whole number of days from 1 to 9999")
    return int(text)


def _size(text: str) -> int:
    try:
        size_bytes = parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not size_bytes:
        raise argparse.ArgumentTypeError("give a size above 0")
    return size_bytes


async def _create(config: Config, options: argparse.Namespace) -> int:
    now = time.time()
    async with opened_database(config) as database:
        key, secret = await create_key(
            database,
            name=options.name,
            role=Role(options.role),
            now=now,
            scopes=options.scopes,
            expires_at=now + options.expires_days * DAY_S if options.expires_days else None,
            quota_bytes=options.quota,
            actor=actor(),
        )
    print(f"Key {key.id} ({key.role}, {key.name}). It is shown only now:", file=sys.stderr)
    print(secret)
    return 0


async def _list(config: Config, options: argparse.Namespace) -> int:
    async with opened_database(config) as database:
        found = await database.read(keys.list_all())
    now = time.time()
    for key in found:
        scopes = "all" if set(key.scopes) == set(EVERY_SCOPE) else ",".join(key.scopes)
        used = rfc3339(key.last_used_at) if key.last_used_at else "never used"
        print(
            f"{key.id}  {key.prefix}…  {key.role:8}  {key.state(now):7}  "
            f"{rfc3339(key.created_at)}  {used:24}  {scopes}  {printable(key.name)}"
        )
    return 0


async def _revoke(config: Config, options: argparse.Namespace) -> int:
    async with opened_database(config) as database:
        revoked = await revoke_key(database, options.id, now=time.time(), actor=actor())
    if not revoked:
        print(
            f"appliance: there is no valid key {options.id!r}; see `appliance keys list`.",
            file=sys.stderr,
        )
        return EXIT_FAULT
    print("Revoked. It stops working within a second.")
    return 0
