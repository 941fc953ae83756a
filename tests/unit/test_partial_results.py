"""Results that are seen while the work goes on, with a real nursery, SQLite and files: what is
seen is what was checked, and nothing of an attempt that did not complete stays."""

# ruff: noqa: F811  (fixtures of test_pool)

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from appliance.database import jobs, stored_files
from appliance.database.protocol import Transaction
from appliance.errors import DatabaseUnavailable, StorageFull
from appliance.jobs import Job, JobStatus
from appliance.workers import partial_results
from tests.unit.test_pool import (  # noqa: F401
    DEADLINE_S,
    Works,
    new_works,
    works,
)


def go(works: Works, job_id: str) -> None:
    """Let the child go on."""
    (works.root / "scratch" / f"{job_id}-1" / "output" / "go").touch()


async def shown(works: Works, job_id: str) -> Job:
    """The job as soon as it has a result."""
    return await works.until(job_id, lambda job: job.files)


def stored(works: Works, job: Job, name: str) -> bytes:
    (file,) = (file for file in job.files if file.name == name)
    content = (works.root / "files" / file.storage_key).read_bytes()
    assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return content


async def nothing_left(works: Works, job_id: str) -> None:
    """No row of a result now, and soon no file."""
    keys, _ = await works.database.read(stored_files.results_in_use([job_id]))
    assert keys == set()
    await works.until_quiet()
    assert works.results() == []


async def test_a_result_is_seen_while_the_work_goes_on(works: Works) -> None:
    job_id = await works.submit("show_early")
    before = await works.status(job_id, JobStatus.PROCESSING)
    job = await shown(works, job_id)
    assert (job.status, job.version > before.version) == (JobStatus.PROCESSING, True)
    (file,) = job.files
    assert (file.name, file.storage_key) == ("early.txt", f"processed/{job_id}/1/early.txt")
    assert stored(works, job, "early.txt") == b"early"
    go(works, job_id)
    done = await works.status(job_id, JobStatus.COMPLETED)
    assert [file.name for file in done.files] == ["early.txt", "late.txt"]
    assert done.files[0] == file
    assert (stored(works, done, "early.txt"), stored(works, done, "late.txt")) == (
        b"early",
        b"late",
    )


async def test_large_files_wait_and_keep_their_place(works: Works) -> None:
    job_id = await works.submit("show_large_first")
    job = await shown(works, job_id)
    assert [file.name for file in job.files] == ["early.txt"]
    go(works, job_id)
    done = await works.status(job_id, JobStatus.COMPLETED)
    assert [file.name for file in done.files] == ["large.txt", "early.txt", "late.txt"]


# --- the child is hostile ------------------------------------------------------------------


async def test_a_file_that_is_swapped_later_stays_as_it_was_seen(works: Works) -> None:
    job_id = await works.submit("show_early_and_swap")
    await shown(works, job_id)
    go(works, job_id)
    done = await works.status(job_id, JobStatus.COMPLETED)
    assert stored(works, done, "early.txt") == b"early"


async def test_a_file_that_is_swapped_under_our_hands_is_stored_as_it_was_checked(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = partial_results.read_output

    def swapping(output_dir: Path, *arguments: Any, **options: Any) -> Any:
        found = read(output_dir, *arguments, **options)
        (output_dir / "early.txt").write_bytes(b"another")
        return found

    monkeypatch.setattr(partial_results, "read_output", swapping)
    job_id = await works.submit("show_early")
    assert stored(works, await shown(works, job_id), "early.txt") == b"early"
    go(works, job_id)
    done = await works.status(job_id, JobStatus.COMPLETED)
    assert stored(works, done, "early.txt") == b"early"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("show_link", "early.txt: Too many levels of symbolic links"),
        ("show_hard_link", "early.txt is no plain file, or has a second name"),
        ("show_pipe", "early.txt is no plain file, or has a second name"),
        ("show_twice", "The work reported a file twice"),
        ("show_lie", "50000 × 50000 px"),
    ],
)
async def test_what_may_not_be_kept_ends_the_work_at_once(
    works: Works,
    behaviour: str,
    reason: str,
) -> None:
    """The child would go on for ever."""
    job_id = await works.submit(behaviour)
    job = await works.status(job_id, JobStatus.FAILED)
    assert job.error is not None
    assert job.error.code == "output_refused"
    assert reason in job.error.message
    await nothing_left(works, job_id)


# --- the attempt does not complete ---------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("show_early_and_fail", JobStatus.RETRYING),
        ("show_early_and_be_corrupt", JobStatus.FAILED),
    ],
)
async def test_a_failed_attempt_takes_its_results_along(
    works: Works,
    behaviour: str,
    status: JobStatus,
) -> None:
    job_id = await works.submit(behaviour)
    await shown(works, job_id)
    go(works, job_id)
    await works.status(job_id, status)
    await nothing_left(works, job_id)


async def test_a_cancelled_job_has_no_results(works: Works) -> None:
    job_id = await works.submit("show_early_and_hang")
    await shown(works, job_id)
    await works.database.write(jobs.cancel(job_id, now=3.0, actor="key:A"))
    await nothing_left(works, job_id)
    assert await works.outcomes(job_id) == ["cancelled"]


async def test_a_drained_worker_takes_its_results_along(works: Works) -> None:
    job_id = await works.submit("show_early_and_hang")
    await shown(works, job_id)
    await works.crew.drain(0.0)
    await works.status(job_id, JobStatus.PENDING)
    await nothing_left(works, job_id)


async def test_a_lost_lease_leaves_the_results_of_its_successor(works: Works) -> None:
    job_id = await works.submit("show_early_and_hang")
    await shown(works, job_id)
    await works.database.write(
        jobs.release(job_id, attempt=1, now=2.0, outcome="lost", detail="paused")
    )
    keys, _ = await works.database.read(stored_files.results_in_use([job_id]))
    assert keys == set()
    await works.database.write(jobs.claim(job_id, worker="other", now=3.0))
    await works.until_quiet()
    assert works.results() == []


# --- the surroundings ----------------------------------------------------------------------


async def test_a_full_disk_hands_the_job_back(
    works: Works,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = await works.submit("show_early_and_hang")

    async def full(_: str) -> Any:
        raise StorageFull("The disk is full.")

    monkeypatch.setattr(works.storage, "receive", full)
    job = await works.until(job_id, lambda job: job.attempt and job.status is JobStatus.PENDING)
    assert (job.retry_count, job.error) == (0, None)
    await nothing_left(works, job_id)
    assert (await works.outage()).code == "storage_full"


async def test_a_database_that_is_down_costs_no_work(
    works: Works,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, refused = works.database.write, asyncio.Event()

    async def refusing(transaction: Transaction[Any]) -> Any:
        if transaction.__name__ == "publish":
            refused.set()
            raise DatabaseUnavailable("The database is locked.")
        return await write(transaction)

    monkeypatch.setattr(works.database, "write", refusing)
    job_id = await works.submit("show_early")
    async with asyncio.timeout(DEADLINE_S):
        await refused.wait()
    assert (await works.job(job_id)).files == ()
    go(works, job_id)
    done = await works.status(job_id, JobStatus.COMPLETED)
    assert [file.name for file in done.files] == ["early.txt", "late.txt"]
    assert stored(works, done, "early.txt") == b"early"
    assert await works.outcomes(job_id) == ["completed"]
