"""`appliance encryption`: how stored files are encrypted, and encrypting those from before."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from functools import partial

from appliance import parts
from appliance.commands.command import EXIT_FAULT, Commands
from appliance.config import Config
from appliance.storage.conversion import Conversion


def add_to(commands: Commands) -> None:
    noun = commands.add_parser("encryption", help="encryption of stored files")
    encryption = noun.add_subparsers(title="commands", required=True, metavar="COMMAND")
    encryption.add_parser(
        "status", help="which key is in force, and how many files are not encrypted"
    ).set_defaults(run=partial(_opened, _status))
    encryption.add_parser(
        "encrypt",
        help="encrypt the files from before encryption was set",
        description="Encrypt the files from before encryption was set. The server may run "
        "meanwhile, with the key. May be stopped at any time, and begun again.",
    ).set_defaults(run=partial(_opened, _encrypt))


async def _opened(
    act: Callable[[Conversion], Awaitable[None]], config: Config, options: argparse.Namespace
) -> int:
    async with parts.conversion(config) as conversion:
        if conversion is not None:
            await act(conversion)
            return 0
    print(
        "appliance: files are not encrypted. Set APPLIANCE_ENCRYPTION_KEY_FILE and start the "
        "server with it first.",
        file=sys.stderr,
    )
    return EXIT_FAULT


async def _status(conversion: Conversion) -> None:
    print(f"Files are encrypted; the key in force has the fingerprint {conversion.fingerprint}.")
    if not conversion.plaintext_allowed:
        print("Nothing that is not encrypted is read.")
        return
    plain = [found async for found in conversion.plaintext()]
    print(f"{len(plain):,} files from before are not encrypted: `appliance encryption encrypt`.")


async def _encrypt(conversion: Conversion) -> None:
    done = 0
    async for found in conversion.plaintext():
        done += await conversion.encrypt(found)
        if done and not done % 100:
            print(f"{done:,} files encrypted …", file=sys.stderr)
    print(f"{done:,} files encrypted.")
    unfinished = await conversion.conclude()
    if unfinished:
        print(
            f"{unfinished:,} unfinished uploads from before are left as they are. Once they are "
            "complete or expired, run this again."
        )
    else:
        print("From the next start of the server on, what is not encrypted is refused.")
