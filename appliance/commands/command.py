"""What every command has: a place in the parser, a way to run, an exit status.

A module of this package has `add_to`, which adds the command with `set_defaults(run=…)`; the
coroutine that is run there is given the configuration and the options, and returns the status.
"""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from appliance import parts
from appliance.config import Config
from appliance.database.protocol import Database

EXIT_FAULT = 2

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object  # the class is argparse's own, and has no public name


@asynccontextmanager
async def opened_database(config: Config) -> AsyncIterator[Database]:
    """The database, beside a server that runs or without one."""
    database = await parts.open_database(config)
    try:
        yield database
    finally:
        await database.close()


def actor() -> str:
    """Who types this, for the audit log: who has logged in, whoever he has become since."""
    try:
        return f"shell:{os.getlogin()}"
    except OSError:  # no terminal
        pass
    try:
        return f"shell:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a container's user without a name
        return f"shell:{os.getuid()}"


def printable(text: str) -> str:
    """Somebody else's text, fit for a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
