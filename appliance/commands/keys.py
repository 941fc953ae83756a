"""`appliance keys`: making, listing and ending API keys, beside a running server or without."""

from __future__ import annotations

import argparse
import sys
import time

from appliance.admin_key import create_key
from appliance.clock import rfc3339
from appliance.commands.command import EXIT_FAULT, Commands, opened_database
from appliance.config import Config
from appliance.database import keys
from appliance.keys import Role


def add_to(commands: Commands) -> None:
    key = commands.add_parser("keys", help="API keys").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    create = key.add_parser("create", help="make a key and show it, once")
    create.add_argument("name", help="what it is for, such as `backup script`")
    create.add_argument("--role", choices=[role.value for role in Role], default=Role.USER.value)
    create.set_defaults(run=_create)
    key.add_parser("list", help="the keys, without their secrets").set_defaults(run=_list)
    revoke = key.add_parser("revoke", help="end a key and its sessions")
    revoke.add_argument("id", help="as `appliance keys list` shows it")
    revoke.set_defaults(run=_revoke)


async def _create(config: Config, options: argparse.Namespace) -> int:
    async with opened_database(config) as database:
        key, secret = await create_key(
            database, name=options.name, role=Role(options.role), now=time.time()
        )
    print(f"Key {key.id} ({key.role}, {key.name}). It is shown only now:", file=sys.stderr)
    print(secret)
    return 0


async def _list(config: Config, options: argparse.Namespace) -> int:
    async with opened_database(config) as database:
        found = await database.read(keys.list_all())
    for key in found:
        state = "revoked" if key.revoked_at else "valid"
        created = rfc3339(key.created_at)
        print(f"{key.id}  {key.prefix}…  {key.role:5}  {state:7}  {created}  {key.name}")
    return 0


async def _revoke(config: Config, options: argparse.Namespace) -> int:
    async with opened_database(config) as database:
        revoked = await database.write(keys.revoke(options.id, now=time.time()))
    if not revoked:
        print(
            f"appliance: there is no valid key {options.id!r}; see `appliance keys list`.",
            file=sys.stderr,
        )
        return EXIT_FAULT
    print("Revoked. It stops working within a second.")
    return 0
