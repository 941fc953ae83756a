"""The copy of a database, opened to be read like the one it was taken from.

It is migrated by that, as at a start: what cannot be opened here could not be started from either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from appliance.database import stored_files
from appliance.database.protocol import Database
from appliance.database.stored_files import StoredFile

OpenDatabase = Callable[[Path], Awaitable[Database]]

BATCH = 1000


async def named_files(database: Database) -> AsyncIterator[StoredFile]:
    """Every file that the database names: originals, then results."""
    after = ""
    while batch := await database.read(stored_files.originals_named(after, limit=BATCH)):
        for file in batch:
            yield file
        after = batch[-1].id
    after, name = "", ""
    while batch := await database.read(stored_files.results_named(after, name, limit=BATCH)):
        for file in batch:
            yield file
        after, name = batch[-1].id, batch[-1].name
