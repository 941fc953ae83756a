"""The named statements of a dialect: what both have in common, and what each says in its own words.

`sql/statements` is read by every database. It keeps to what SQLite and PostgreSQL both understand:

- `(x = :x OR :x IS NULL)`, in this order: PostgreSQL takes the type of a parameter from its first
  use. Where that is not enough, a CAST says it.
- `ON CONFLICT (…)` names its columns, and `table.column` the old value beside a new one.
- `json_each`, `lowered`, `instr`, `greatest` are functions of one or made for the other: for SQLite
  in `sqlite.py`, for PostgreSQL in its first migration.
- `x || ''` keeps SQLite's planner off an index, and INDEXED BY on one; PostgreSQL's is not told.

A statement that cannot be said so is in `sql/<dialect>/statements.sql`, of every dialect.
"""

from __future__ import annotations

from importlib import resources

import aiosql

SQL = resources.files("appliance.database") / "sql"


def load(dialect: str) -> dict[str, str]:
    """The statements by name, with `:name` for each parameter."""
    common = _read(SQL / "statements")
    own = _read(SQL / dialect / "statements.sql")
    assert not common.keys() & own.keys(), "a statement is common, or each dialect has its own"
    return common | own


def _read(path: object) -> dict[str, str]:
    queries = aiosql.from_path(str(path), "sqlite3", mandatory_parameters=False)
    return {
        name: getattr(queries, name).sql
        for name in queries.available_queries
        if not name.endswith("_cursor")  # aiosql offers each query a second time, as a cursor
    }
