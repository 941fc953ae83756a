"""The command `appliance`: its parser, and what becomes of its errors.

What it can do is in `appliance.commands`, a module for each noun.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvloop

import appliance
from appliance import log
from appliance.commands import (
    backup,
    check,
    dead_letters,
    download,
    encryption,
    keys,
    process,
    scrub,
    serve,
    status,
    storage,
    upload,
    worker,
)
from appliance.commands.command import EXIT_FAULT
from appliance.config import load, load_client
from appliance.errors import ApplianceError, ConfigurationError
from appliance.selftest import command as selftest

COMMANDS = (
    serve,
    worker,
    check,
    selftest,
    keys,
    dead_letters,
    encryption,
    backup,
    storage,
    scrub,
    upload,
    status,
    process,
    download,
)
"""In the order of `--help`; each module has `add_to`."""

EXIT_INTERRUPTED = 130
"""As shells have it for Ctrl-C."""


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        if options.is_client:  # it needs none of a server's settings
            log.configure("console", "warning")
            client = load_client(os.environ, server=options.server, key=options.key)
            code = uvloop.run(options.run(client, options))
        else:
            config = load(os.environ, toml_path=options.config, flags=vars(options))
            # The others are a conversation, not a log: only what went wrong is worth a line.
            level = config.log_level if options.run in (serve.run, worker.run) else "warning"
            log.configure(config.log_format, level)
            code = uvloop.run(options.run(config, options))
    except ConfigurationError as error:
        for fault in error.faults:
            print(f"appliance: {fault}", file=sys.stderr)
        code = EXIT_FAULT
    except ApplianceError as error:
        print(f"appliance: {error.detail}", file=sys.stderr)
        code = EXIT_FAULT
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
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
    parser.set_defaults(is_client=False)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
