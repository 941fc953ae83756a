"""What would not fit into memory: names of a million files, each with where its bytes are.

A table in a temporary file. It holds nothing that could not be made anew, so nothing is synced.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Self

from appliance.backups.place import Stored
from appliance.errors import StorageFull, StorageUnavailable


class Index:
    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;"
            "CREATE TABLE known (name TEXT PRIMARY KEY, sha256 TEXT, size INTEGER) WITHOUT ROWID;"
        )

    def add(self, name: str, stored: Stored | None = None) -> None:
        """Raises StorageFull, StorageUnavailable."""
        row = (name, *(stored or (None, 0)))
        try:
            self._connection.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", row)
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                raise StorageFull(f"No room is left beside {self._path}.") from error
            raise StorageUnavailable(f"{self._path} cannot be written: {error}.") from error

    def clear(self) -> None:
        self._connection.execute("DELETE FROM known")

    def get(self, name: str) -> Stored | None:
        sha256, size = self._row(name) or (None, 0)
        return None if sha256 is None else Stored(sha256, size)

    def __contains__(self, name: str) -> bool:
        return self._row(name) is not None

    def _row(self, name: str) -> tuple[str | None, int] | None:
        with closing(self._connection.cursor()) as cursor:
            found = cursor.execute("SELECT sha256, size FROM known WHERE name = ?", (name,))
            row: tuple[str | None, int] | None = found.fetchone()
            return row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._path.unlink(missing_ok=True)
