"""Both dialects are asked the same questions, of the same tables."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from appliance.database.postgres import prepared_statements
from appliance.database.sqlite import define_functions, migrate
from appliance.database.statements import SQL, load
from tests import databases
from tests.unit.test_query_plans import GROW, MAY_SCAN, SMALL_INDEXES

OWN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|::\w+|:(?P<name>\w+)")


def parameters(sql: str) -> set[str]:
    return {found["name"] for found in OWN.finditer(sql) if found["name"]}


def test_they_have_the_same_statements() -> None:
    ours, theirs = load("sqlite"), load("postgres")
    assert ours.keys() == theirs.keys()
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing == {"release_scan", "uploads_named"}
    for name in differing:
        assert parameters(ours[name]) == parameters(theirs[name]), name


def test_migrations_are_in_step() -> None:
    """PostgreSQL begins with what SQLite has after its 20th."""
    ours, theirs = (
        {
            entry.name
            for entry in (SQL / dialect / "migrations").iterdir()
            if int(entry.name[:4]) > 20
        }
        for dialect in ("sqlite", "postgres")
    )
    assert ours == theirs


async def test_they_have_the_same_tables_and_columns(tmp_path: Path) -> None:
    file = sqlite3.connect(":memory:", isolation_level=None)
    define_functions(file)
    migrate(file)
    ours = {
        (table, column)
        for table, column in file.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c"
            " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
            " AND t.name NOT LIKE 'upload_names%'"
        )
    }
    file.close()
    connection = await asyncpg.connect(databases.postgres_at(tmp_path))
    rows = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name <> 'schema_version'"
    )
    await connection.close()
    assert {tuple(row) for row in rows} == ours


async def test_postgres_understands_every_statement(tmp_path: Path) -> None:
    connection = await asyncpg.connect(databases.postgres_at(tmp_path))
    faults = {}
    for name, (sql, _) in prepared_statements().items():
        try:
            await connection.prepare(sql)
        except asyncpg.PostgresError as error:
            faults[name] = str(error)
    await connection.close()
    assert faults == {}


BY_AGE = {"originals_due", "results_due", "prune_deliveries"}
"""Planned anew for the age that is asked for: any age may be that of a third of all rows."""
OF_OWNERS = {"usage_by_place"}
"""Likewise for the owners: they may be all there are."""

FILL = """
    SET session_replication_role = replica;
    CREATE TEMPORARY TABLE n AS SELECT g, lpad(g::text, 26, '0') AS id, 'key:' || g % 50 AS owner
    FROM generate_series(1, 30000) g;
    INSERT INTO uploads
    SELECT id, owner, 'cat ' || g, 'image/jpeg', g, lpad(id, 64, '0'), 'raw/' || id, g FROM n;
    INSERT INTO upload_numbers SELECT g, id FROM n;
    INSERT INTO jobs (id, upload_id, owner, status, type, preset, priority, max_retries,
                      created_at, started_at, finished_at, scan)
    SELECT id, id, owner, 'COMPLETED', CASE g % 2 WHEN 0 THEN 'IMAGE' ELSE 'PDF' END, 'default',
           5, 3, g, g, g, '{}' FROM n;
    INSERT INTO attempts SELECT id, 1, 'w', g, g, 'completed' FROM n;
    INSERT INTO files SELECT id, 0, 'a', 'image/webp', 5, '', 'processed/' || id FROM n;
    INSERT INTO history SELECT g, id, owner, g, 'COMPLETED', 1 FROM n;
    INSERT INTO dead_letters SELECT id, g, 'c', 'm', 'f' || g % 500, owner, 'PDF', '', '', g FROM n;
    INSERT INTO redrives SELECT id, 'a', g, g, 'completed', 1, 1, '{}' FROM n WHERE g % 100 = 0;
    INSERT INTO redrive_jobs
    SELECT lpad((g / 100 * 100)::text, 26, '0'), id, 1, 'completed' FROM n;
    INSERT INTO resumable_uploads (id, owner, state, kind, by_length, announced, options,
                                   created_at, expires_at, ended_at)
    SELECT id, owner, 'completed', 'plain', 1, '', '', g, g, g FROM n;
    INSERT INTO deliveries (id, url, owner, job_id, event, payload, lane, state, created_at,
                            ended_at)
    SELECT id, 'u', owner, id, 'e', '', 'l', 'delivered', g, g FROM n;
    INSERT INTO delivery_tries SELECT id, 1, g, 1 FROM n;
    SET session_replication_role = origin;
    ANALYZE;
"""


async def test_no_statement_must_walk_through_a_large_table(tmp_path: Path) -> None:
    """By the plans that are made for any values, with tables that hold many rows each.
    An index that is walked from end to end is no better than the table, unless it is small."""
    connection = await asyncpg.connect(databases.postgres_at(tmp_path))
    await connection.execute(FILL)
    await connection.execute("SET plan_cache_mode = force_generic_plan; SET random_page_cost = 1.1")
    walking = {}
    for name, (sql, names) in prepared_statements().items():
        await connection.execute(f"PREPARE asked AS {sql}")
        nothing = f"({', '.join(['NULL'] * len(names))})" if names else ""
        (plan,) = await connection.fetchrow(f"EXPLAIN (FORMAT JSON) EXECUTE asked{nothing}")
        await connection.execute("DEALLOCATE asked")
        if walked := sorted(set(walks(json.loads(plan)[0]["Plan"]))):
            walking[name] = walked
    await connection.close()
    assert walking.keys() - BY_AGE - OF_OWNERS <= MAY_SCAN.keys(), walking


def walks(node: dict[str, Any]) -> Iterator[str]:
    """The large tables that a plan walks through."""
    is_led = any(condition in node for condition in ("Index Cond", "Recheck Cond"))
    index = node.get("Index Name")
    is_read = node["Node Type"] != "ModifyTable" and index not in SMALL_INDEXES
    if node.get("Relation Name") in GROW and is_read and not is_led:
        yield f"{node['Relation Name']} by {index}"
    for child in node.get("Plans", []):
        yield from walks(child)
