"""No statement walks through a table that grows with the jobs (BENCH.md, goal 9).

SQLite is asked for the plan of every statement there is; one that scans a large table, or an index
of it that is not partial, must be on the list of those that may, with the reason.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib import resources

import pytest

from appliance.database.sqlite import define_functions
from appliance.database.statements import load

STATEMENTS = load("sqlite")
GROW = {
    "jobs": "j",
    "uploads": "u",
    "attempts": "a",
    "files": "f",
    "history": "h",
    "dead_letters": "d",
    "redrive_jobs": "r",
    "resumable_uploads": "o",
    "upload_numbers": "n",
    "deliveries": "d",
    "delivery_tries": "t",
}
"""Tables that grow with the number of jobs, each with the alias that statements give it."""

SMALL_INDEXES = {
    "jobs_ready", "jobs_ready_of_owner", "jobs_waiting", "jobs_running", "jobs_due", "jobs_waits",
    "uploads_missing", "dead_letters_untold", "resumable_uploads_open",
    "resumable_uploads_expiring", "resumable_uploads_expired", "resumable_uploads_parts",
    "resumable_uploads_parts_of_owner",
    "deliveries_pending",
}  # fmt: skip
"""Partial ones, as large as what they hold: what waits, runs, is missing, is not told yet."""

MAY_SCAN = {
    "count_dead_letters_matching": "an admin's filter over dead letters, counted once",
    "discard_dead_letters": "an act of an admin, in batches",
    "collect_redrive_jobs": "an act of an admin",
    "forget_unfinished_resumables": "once, after a restore",
}


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    define_functions(connection)
    migrations = resources.files("appliance.database") / "sql/sqlite/migrations"
    for migration in sorted(migrations.iterdir(), key=lambda entry: entry.name):
        connection.executescript(migration.read_text("utf-8"))
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    parameters = dict.fromkeys(re.findall(r"(?<!:):(\w+)", sql), 1)
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def walks(step: str) -> str | None:
    """The large table that a step of a plan walks through from end to end."""
    match = re.fullmatch(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
    if match is None or match[2] in SMALL_INDEXES:
        return None
    return next((table for table, alias in GROW.items() if match[1] in (table, alias)), None)


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_no_statement_walks_through_a_large_table(
    connection: sqlite3.Connection, name: str
) -> None:
    walked = [table for step in plan(connection, STATEMENTS[name]) if (table := walks(step))]
    assert bool(walked) == (name in MAY_SCAN), (walked, plan(connection, STATEMENTS[name]))


EXPECTED = {
    "ready_jobs": "jobs_ready (type=? AND large=?)",
    "ready_jobs_of_others": "jobs_ready_of_owner (type=? AND owner=?)",
    "oldest_waiting": "jobs_waiting (type=?)",
    "jobs_page": "sqlite_autoindex_jobs_1 (id>? AND id<?)",
    "jobs_page_by_owner": "jobs_by_owner (owner=? AND id>? AND id<?)",
    "jobs_page_by_status": "jobs_by_status (status=? AND id>? AND id<?)",
    "jobs_page_by_type": "jobs_by_type (type=? AND id>? AND id<?)",
    "jobs_page_of_uploads": "jobs_by_upload (upload_id=?)",
    "uploads_named": "VIRTUAL TABLE INDEX",
    "job": "sqlite_autoindex_jobs_1 (id=?)",
    "claim_jobs": "jobs_by_status (status=? AND id=?)",
    "due_jobs": "jobs_due (next_attempt_at<?)",
    "originals_due": "jobs_finished_of_preset (preset=? AND files_left=? AND finished_at<?)",
    "results_due": "jobs_finished (files_left=? AND finished_at<?)",
    "dead_letters_page_of_group": "dead_letters_by_fingerprint (fingerprint=? AND job_id<?)",
    "moves_since_of_owner": "history_of_owner (owner=? AND id>?)",
    "running_jobs": "jobs_by_status (status=?)",
    "complete_job": "webhooks_active (owner=?)",
    "due_lanes": "deliveries_pending (lane=? AND due_at<?)",
    "claim_delivery": "deliveries_pending (lane=?)",
    "replay_failed": "deliveries_failed (owner=? AND ended_at>?)",
    "prune_deliveries": "deliveries_ended (ended_at<?)",
    "deliveries_page_by_job": "deliveries_by_job (job_id=? AND id<?)",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_hot_statements_go_by_their_index(connection: sqlite3.Connection, name: str) -> None:
    steps = plan(connection, STATEMENTS[name])
    assert any(EXPECTED[name] in step for step in steps), steps


@pytest.mark.parametrize(
    "name",
    ["jobs_page", "jobs_page_by_owner", "jobs_page_by_status", "jobs_page_by_type",
     "dead_letters_page", "dead_letters_page_of_group", "oldest_waiting",
     "deliveries_page", "deliveries_page_by_owner", "deliveries_page_by_webhook",
     "deliveries_page_by_job"],
)  # fmt: skip
def test_a_page_is_read_in_its_order_and_not_sorted(
    connection: sqlite3.Connection, name: str
) -> None:
    assert not [step for step in plan(connection, STATEMENTS[name]) if "TEMP B-TREE" in step]


def test_the_parts_of_ready_jobs_are_not_sorted(connection: sqlite3.Connection) -> None:
    """Only the few rows that come out of both parts are."""
    assert sum("TEMP B-TREE" in step for step in plan(connection, STATEMENTS["ready_jobs"])) == 1


def test_this_test_sees_a_scan(connection: sqlite3.Connection) -> None:
    steps = plan(connection, "SELECT * FROM jobs j WHERE j.preset = :preset")
    assert [walks(step) for step in steps] == ["jobs"]
