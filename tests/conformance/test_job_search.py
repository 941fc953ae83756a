"""Finding jobs: by parts of names, of any length and script, and by every other filter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.database import job_reads, jobs, stored_files
from appliance.database.job_reads import JobFilter
from appliance.database.protocol import Database
from appliance.ids import first_id_at, new_id, time_of
from appliance.jobs import Job, JobError, JobStatus, JobType
from tests.records import a_job

NAMES = (
    "Cat on a sofa.jpg", "cat.png", 'say "hi" OR NOT.txt', "100%_done.pdf", "été à la plage.jpg",
    "ÉTÉ.JPG", "日本の夏休み.mp4", "naïve*^:(){}.csv", "a", "ab", "photo.jpg",
)  # fmt: skip


async def found(database: Database, limit: int = 100, **wanted: object) -> list[str]:
    page = await database.read(job_reads.page(JobFilter(**wanted), limit=limit))  # type: ignore[arg-type]
    return [job.filename for job in page]


async def fill(database: Database, *names: str, **changes: object) -> None:
    for name in names:
        await database.write(jobs.create([a_job(filename=name, **changes)]))


@pytest.mark.parametrize("most", [0, 2000], ids=["walking", "by the index"])
async def test_a_part_of_a_name_finds_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Whichever way is taken, what is found is the same."""
    monkeypatch.setattr(job_reads, "MOST_BY_NAME", most)
    await fill(database, *NAMES)
    for part, expected in {
        "cat": {"Cat on a sofa.jpg", "cat.png"},
        "CAT ON": {"Cat on a sofa.jpg"},
        '"hi" or not': {'say "hi" OR NOT.txt'},
        '"': {'say "hi" OR NOT.txt'},
        "%": {"100%_done.pdf"},
        "100%_": {"100%_done.pdf"},
        "0__d": set(),
        "été": {"été à la plage.jpg", "ÉTÉ.JPG"},
        "夏休み": {"日本の夏休み.mp4"},
        "夏": {"日本の夏休み.mp4"},
        "*^:(){}": {"naïve*^:(){}.csv"},
        "ab": {"ab"},
        "nothing like it": set(),
        "filename:cat": set(),
    }.items():
        assert set(await found(database, name=part)) == expected, part


async def test_what_is_deleted_is_found_no_more(database: Database) -> None:
    kept, gone = a_job(filename="holiday one.jpg"), a_job(filename="holiday two.jpg")
    await database.write(jobs.create([kept]))
    await database.write(jobs.create([gone]))
    await database.write(jobs.cancel(gone.id, now=2.0, actor="key:A"))
    assert await database.write(stored_files.delete(gone.id))
    assert await found(database, name="holiday") == ["holiday one.jpg"]
    assert await found(database, name="two") == []


async def test_pages_of_a_search_follow_each_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, *(f"photo {number}.jpg" for number in range(9)), "other.txt")
    for most in (2, 2000):  # by walking, by the index
        monkeypatch.setattr(job_reads, "MOST_BY_NAME", most)
        seen: list[str] = []
        while page := await database.read(
            job_reads.page(JobFilter(name="PHOTO"), before=seen[-1] if seen else None, limit=4)
        ):
            seen += [job.id for job in page]
        assert seen == sorted(seen, reverse=True)
        assert len(set(seen)) == 9


def begun_at(number: int) -> str:
    """An id of a time of its own, far from the others."""
    return first_id_at(1_000_000.0 + number)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    arrivals=st.permutations(range(20)),
    names=st.lists(
        st.sampled_from(["photo.jpg", "photo 2.jpg", "other.txt"]), min_size=20, max_size=20
    ),
    again=st.lists(
        st.tuples(st.integers(0, 19), st.integers(20, 40)), min_size=1, max_size=4, unique=True
    ),
    limit=st.integers(1, 4),
)
async def test_the_way_to_a_page_does_not_change_it(
    database: Database,
    arrivals: list[int],
    names: list[str],
    again: list[tuple[int, int]],
    limit: int,
) -> None:
    """Uploads that come in another order than they were begun in, and further jobs on old ones."""
    await everything_deleted(database)
    made_of = [a_job(id=begun_at(number), filename=names[number]) for number in arrivals]
    await database.write(jobs.create(made_of))
    for which, number in again:
        terms: dict[str, Any] = {"preset": "default", "priority": 5, "max_retries": 3}
        again_at = f"{begun_at(number)[:-2]}{which:02d}"
        made = jobs.create_again(again_at, of=begun_at(which), now=1.0, actor="me", **terms)
        assert await database.write(made) is not None
    pages = []
    for most, latest in ((0, 0), (0, 3), (0, 8), (2000, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(job_reads, "MOST_BY_NAME", most)
            patch.setattr(job_reads, "LATEST", latest)
            page = await database.read(job_reads.page(JobFilter(name="photo"), limit=limit))
            pages.append([job.id for job in page])
    assert pages[1:] == pages[:1] * 3


async def everything_deleted(database: Database) -> None:
    async def delete(job: Job) -> None:
        await database.write(jobs.cancel(job.id, now=2.0, actor="me"))
        assert await database.write(stored_files.delete(job.id))

    left = await database.read(job_reads.page(limit=1000))
    await asyncio.gather(*(delete(job) for job in left))  # they share their commits


async def test_all_filters_must_hold(database: Database) -> None:
    await fill(database, "one.jpg", "two.jpg", owner="key:A")
    await fill(database, "three.pdf", owner="key:A", type=JobType.PDF, preset="thumbnail")
    failed = a_job(filename="four.jpg", owner="key:B")
    await database.write(jobs.create([failed]))
    assert await database.write(jobs.claim(failed.id, worker="w", now=1.0))
    error = JobError(code="corrupt_file", message="x", step="s", permanent=True, attempts=1)
    await database.write(
        jobs.fail(
            failed.id, attempt=1, now=2.0, error=error, error_class="CorruptFile", stderr_tail=None
        )
    )
    assert await found(database, owner="key:A", types=(JobType.PDF,)) == ["three.pdf"]
    assert await found(database, types=(JobType.PDF, JobType.VIDEO)) == ["three.pdf"]
    assert await found(database, preset="thumbnail") == ["three.pdf"]
    assert await found(database, error="corrupt_file") == ["four.jpg"]
    assert await found(database, error="out_of_memory") == []
    both = (JobStatus.PENDING, JobStatus.FAILED)
    assert len(await found(database, statuses=both)) == 4
    assert await found(database, statuses=both, name="o", owner="key:B") == ["four.jpg"]
    assert await found(database, statuses=(JobStatus.CANCELLED,)) == []


async def test_a_time_is_when_an_upload_was_begun(database: Database) -> None:
    await fill(database, "old.jpg")
    (old,) = await database.read(job_reads.page(limit=1))
    at = time_of(old.id)
    assert await found(database, since=at) == ["old.jpg"]
    assert await found(database, since=at + 0.001) == []
    assert await found(database, until=at) == []
    assert await found(database, until=at + 0.001, name="old") == ["old.jpg"]
    assert await found(database, job_id=old.id, since=at + 0.001) == []
    assert await found(database, job_id=old.id, until=at + 0.001, name="OLD") == ["old.jpg"]


@settings(max_examples=200)
@given(st.floats(0, 2**47 / 1000))
def test_ids_lie_behind_the_first_of_their_time(time_s: float) -> None:
    first = first_id_at(time_s)
    assert abs(time_of(first) - time_s) <= 0.001
    assert first.endswith("0" * 16)
    assert first_id_at(time_s + 1) > first
    assert first_id_at(-1) == "0" * 26 < new_id() < first_id_at(2**60)
