"""What a database must do: run transactions made of named statements.

A transaction is written once, as a generator that yields statements and is sent their rows:

    def cancel(job_id: str, *, now: float) -> Transaction[bool]:
        rows = yield Statement("cancel_job", {"id": job_id, "now": now})
        return bool(rows)

    await database.write(cancel(job_id, now=clock.now()))

It does no I/O itself, so that an adapter may drive it wherever its driver wants it: on SQLite's
writer thread, many transactions to one commit, or with awaits on a network connection. Between
two yields it must do nothing that blocks, and it must not care how often it is begun.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Statement(NamedTuple):
    name: str
    """Of a statement in the `.sql` files of the dialect."""
    parameters: Mapping[str, Any] = {}


class Row(Protocol):
    def __getitem__(self, column: str, /) -> Any: ...


Rows = Sequence[Row]
Transaction = Generator[Statement, Rows, T]


class Condition(NamedTuple):
    """How a database is, for people."""

    size_bytes: int
    """Space that it takes, its log included."""
    log_bytes: int | None
    """Of that, what was written and is not in its place yet; None where there is no such thing."""
    checked_at: float | None
    """When it was last looked through for damage by this process; None: not yet."""


class Database(Protocol):
    async def write(self, transaction: Transaction[T]) -> T:
        """Run `transaction`; it is durable when this returns.

        Either all of its statements take effect or none. What the generator raises is raised
        here, after a rollback. Raises StorageFull, DatabaseUnavailable.
        """
        ...

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a transaction that only reads, on one consistent snapshot."""
        ...

    async def check(self, *, now: float) -> Sequence[str]:
        """Look through the whole database for damage; what was found, in the database's words.

        Takes as long as reading it does, and holds nobody up meanwhile.
        """
        ...

    async def copy_to(self, path: Path) -> None:
        """A copy of the whole, as it is at one moment of the call, into a new local file.

        Holds nobody up meanwhile. Raises StorageFull, DatabaseUnavailable.
        """
        ...

    @property
    def faults(self) -> Sequence[str]:
        """What the last `check` found."""
        ...

    async def condition(self) -> Condition: ...

    async def close(self) -> None: ...
