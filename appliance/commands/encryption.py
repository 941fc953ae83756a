"""`appliance encryption`: how stored files are encrypted, and encrypting those from before."""

from __future__ import annotations

import argparse
import sys

from appliance import parts
from appliance.commands.command import EXIT_FAULT, Commands
from appliance.config import Config
from appliance.storage.conversion import Conversion


def add_to(commands: Commands) -> None:
    noun = commands.add_parser("encryption", help="encryption of stored files")
    encryption = noun.add_subparsers(title="commands", required=True, metavar="COMMAND")
    encryption.add_parser(
        "status", help="which key is in force, and how many files are not encrypted"
    ).set_defaults(run=_status)
    encryption.add_parser(
        "encrypt",
        help="encrypt the files from before encryption was set",
        description="Encrypt the files from before encryption was set. The server may run "
        "meanwhile, with the key. May be stopped at any time, and begun again.",
    ).set_defaults(run=_encrypt)


async def _status(config: Config, options: argparse.Namespace) -> int:
    conversion = await _conversion(config)
    if conversion is None:
        return EXIT_FAULT
    print(f"Files are encrypted; the key in force has the fingerprint {conversion.fingerprint}.")
    if not conversion.plaintext_allowed:
        print("Nothing that is not encrypted is read.")
        return 0
    plain = [key async for key in conversion.plaintext()]
    print(f"{len(plain):,} files from before are not encrypted: `appliance encryption encrypt`.")
    return 0


async def _encrypt(config: Config, options: argparse.Namespace) -> int:
    conversion = await _conversion(config)
    if conversion is None:
        return EXIT_FAULT
    done = 0
    async for key in conversion.plaintext():
        done += await conversion.encrypt(key)
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
    return 0


async def _conversion(config: Config) -> Conversion | None:
    conversion = await parts.open_conversion(config)
    if conversion is None:
        print(
            "appliance: files are not encrypted. Set APPLIANCE_ENCRYPTION_KEY_FILE and start the "
            "server with it first.",
            file=sys.stderr,
        )
    return conversion
