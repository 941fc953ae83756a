"""The command `appliance`: serve, check, selftest, keys."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

import appliance
from appliance import bootstrap, data_dir, log
from appliance.admin_key import create_key
from appliance.clock import rfc3339
from appliance.config import SETTINGS, Config, load
from appliance.database import keys
from appliance.errors import ApplianceError, ConfigurationError
from appliance.keys import Role
from appliance.selftest import command as selftest

EXIT_FAULT = 2


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        config = load(os.environ, toml_path=options.config, flags=vars(options))
        # The other commands are a conversation, not a log: only what went wrong is worth a line.
        level = config.log_level if options.run is _serve else "warning"
        log.configure(config.log_format, level)
        code = uvloop.run(options.run(config, options))
    except ConfigurationError as error:
        for fault in error.faults:
            print(f"appliance: {fault}", file=sys.stderr)
        code = EXIT_FAULT
    except ApplianceError as error:
        print(f"appliance: {error.detail}", file=sys.stderr)
        code = EXIT_FAULT
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="appliance",
        description="The upload server: files in over HTTP, durable work behind it.",
        epilog="Every setting is also an environment variable (APPLIANCE_PORT) and a line of "
        "appliance.toml (port = 8080). docs/settings.md lists all of them.",
    )
    parser.add_argument("--version", action="version", version=appliance.__version__)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the settings file (./appliance.toml)"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve", help="the whole appliance in one process",
        description="Run the whole appliance in one process: HTTP, queue, workers, maintenance.",
    )  # fmt: skip
    for setting in SETTINGS:
        if setting.secret:
            continue
        default = f" [{setting.default}]" if setting.default else ""
        serve.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar="VALUE",
            help=(setting.meaning + default).replace("%", "%%"),
        )
    serve.add_argument("--no-workers", action="store_true", help="be an API server only")
    serve.set_defaults(run=_serve)

    check = commands.add_parser(
        "check", help="read the configuration and reach every part",
        description="Tell what is wrong with the configuration and how to mend it. "
        "Exit status 0: all is well; 2: something is not.",
    )  # fmt: skip
    check.set_defaults(run=_check)
    selftest.add_to(commands)

    key = commands.add_parser("keys", help="API keys").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    create = key.add_parser("create", help="make a key and show it, once")
    create.add_argument("name", help="what it is for, such as `backup script`")
    create.add_argument("--role", choices=[role.value for role in Role], default=Role.USER.value)
    create.set_defaults(run=_keys_create)
    key.add_parser("list", help="the keys, without their secrets").set_defaults(run=_keys_list)
    revoke = key.add_parser("revoke", help="end a key and its sessions")
    revoke.add_argument("id", help="as `appliance keys list` shows it")
    revoke.set_defaults(run=_keys_revoke)
    return parser


async def _serve(config: Config, options: argparse.Namespace) -> int:
    _raise_descriptor_limit()
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        running = await bootstrap.start(stack, config, with_workers=not options.no_workers)
        _greet(running, config, time.monotonic() - began)
        await asked_to_stop.wait()
        print("Stopping: running jobs may finish …", file=sys.stderr)
    print("Stopped.", file=sys.stderr)
    return 0


def _raise_descriptor_limit() -> None:
    """As many open files and connections as this user may have; shells often start with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _greet(running: bootstrap.Appliance, config: Config, took_s: float) -> None:
    print(f"The appliance listens on {running.url} (ready in {took_s:.1f} s).")
    if running.signin_url:
        print(f"Sign in, once, within a day: {running.signin_url}")
    if config.admin_key is None:
        print(f"The admin key is in {config.data_dir / 'admin.key'}.")
    sys.stdout.flush()


async def _check(config: Config, options: argparse.Namespace) -> int:
    """Reach every part; a server that runs on the same data is left alone."""
    faults: list[str] = []
    data_dir.prepare(config.data_dir)
    try:
        await bootstrap.open_messenger(config)
    except ConfigurationError as error:
        faults += error.faults
    try:
        with data_dir.locked(config.data_dir):
            bootstrap.listen(config).close()
            storage = bootstrap.open_storage(config)
            await storage.check()
            space = await storage.space()
            if space is not None and space.free_bytes < config.reserve_bytes:
                faults.append(
                    "APPLIANCE_STORAGE_URL: less free than APPLIANCE_RESERVE_BYTES; uploads would "
                    "be answered 507. Free some space."
                )
            database = await bootstrap.open_database(config)
            await database.close()
    except data_dir.AlreadyRunning:
        if not faults:
            print("An appliance runs on this data directory; its /readyz tells how its parts are.")
            return 0
    except ConfigurationError as error:
        faults += error.faults
    except ApplianceError as error:
        faults.append(error.detail)
    if faults:
        raise ConfigurationError(faults)
    print("The configuration is sound, and every part answers.")
    return 0


async def _keys_create(config: Config, options: argparse.Namespace) -> int:
    database = await bootstrap.open_database(config)
    try:
        key, secret = await create_key(
            database, name=options.name, role=Role(options.role), now=time.time()
        )
    finally:
        await database.close()
    print(f"Key {key.id} ({key.role}, {key.name}). It is shown only now:", file=sys.stderr)
    print(secret)
    return 0


async def _keys_list(config: Config, options: argparse.Namespace) -> int:
    database = await bootstrap.open_database(config)
    try:
        found = await database.read(keys.list_all())
    finally:
        await database.close()
    for key in found:
        state = "revoked" if key.revoked_at else "valid"
        created = rfc3339(key.created_at)
        print(f"{key.id}  {key.prefix}…  {key.role:5}  {state:7}  {created}  {key.name}")
    return 0


async def _keys_revoke(config: Config, options: argparse.Namespace) -> int:
    database = await bootstrap.open_database(config)
    try:
        revoked = await database.write(keys.revoke(options.id, now=time.time()))
    finally:
        await database.close()
    if not revoked:
        print(
            f"appliance: there is no valid key {options.id!r}; see `appliance keys list`.",
            file=sys.stderr,
        )
        return EXIT_FAULT
    print("Revoked. It stops working within a second.")
    return 0
