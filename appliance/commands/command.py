"""What every command has: a place in the parser, a way to run, an exit status.

A module of this package has `add_to`, which adds the command with `set_defaults(run=…)`; the
coroutine that is run there is given the configuration and the options, and returns the status.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from appliance import bootstrap
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
    database = await bootstrap.open_database(config)
    try:
        yield database
    finally:
        await database.close()
