"""What streams tell of jobs is read once for all that ask, and never of before a question."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.database import jobs
from appliance.database.protocol import Transaction
from appliance.errors import DatabaseUnavailable
from appliance.jobs import JobStatus
from appliance.web import job_news
from appliance.web.job_news import JobNews, News
from tests.conftest import Serve
from tests.records import a_job
from tests.web.test_events import listening, subscribed
from tests.web.wire import claim, services_of, until, upload


class Slow:
    """A database whose reads begin when they are asked for, and end when they may."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.reads = 0
        self.may_end = asyncio.Event()
        self.fails = False

    async def read(self, transaction: Transaction[Any]) -> Any:
        self.reads += 1
        if self.fails:
            transaction.close()
            raise DatabaseUnavailable("It is away.")
        found = await self._database.read(transaction)
        await self.may_end.wait()
        return found


async def test_a_read_that_has_begun_answers_no_later_question(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_news, "GATHER_S", 0.0)
    served = await serve()
    database = services_of(served).database
    job = a_job()
    await database.write(jobs.create([job]))
    slow = Slow(database)
    news = JobNews(slow)  # type: ignore[arg-type]
    before = [asyncio.create_task(news.of([job.id])) for _ in range(100)]
    await until(lambda: slow.reads)
    await database.write(jobs.claim(job.id, worker="w", now=job.created_at + 1))
    after = [asyncio.create_task(news.of([job.id])) for _ in range(100)]
    before[0].cancel()  # who goes away takes nothing from the others
    slow.may_end.set()

    def statuses(found: list[News]) -> set[JobStatus]:
        return {one.jobs[job.id].status for one in found}

    # The first read may have ended before the move or behind it; the second began behind it.
    assert len(statuses(await asyncio.gather(*before[1:]))) == 1
    assert statuses(await asyncio.gather(*after)) == {JobStatus.PROCESSING}
    assert slow.reads == 2


async def test_a_failed_read_is_told_to_all_and_forgotten(serve: Serve) -> None:
    slow = Slow(services_of(await serve()).database)
    slow.fails = True
    slow.may_end.set()
    news = JobNews(slow)  # type: ignore[arg-type]
    found = await asyncio.gather(*(news.of(["x"]) for _ in range(3)), return_exceptions=True)
    assert {type(one) for one in found} == {DatabaseUnavailable}
    slow.fails = False
    assert (await news.of(["x"])).jobs == {}
    assert slow.reads == 2


async def test_personal_facts_are_for_the_owner_alone(serve: Serve) -> None:
    job = a_job(result={"widthPx": 1, "personal": {"camera": "Leica"}})
    news = News(7, [job])
    assert b"Leica" in news.body(job, job.owner)
    assert b"Leica" not in news.body(job, "key:other")
    assert news.body(job, "key:one") is news.body(job, "key:other")


async def test_fifty_streams_cost_one_reading_of_each_change(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    read = []
    news = job_news._news

    def counted(job_ids: list[str]) -> Transaction[News]:
        read.append(job_ids)
        return news(job_ids)

    monkeypatch.setattr(job_news, "_news", counted)
    job = await upload(served)

    async def listens() -> str:
        async with listening(served.admin, "/events") as stream:
            await subscribed(served)
            arrived.append(1)
            event = await stream.next()
            assert event is not None
            return str(event.job["status"])

    arrived: list[int] = []
    streams = [asyncio.create_task(listens()) for _ in range(50)]
    topics = services_of(served).coordination._subscriptions  # type: ignore[attr-defined]
    await until(lambda: len(topics["jobs"]) == len(arrived) == 50)
    await claim(served, job["jobId"])
    assert set(await asyncio.gather(*streams)) == {"PROCESSING"}
    assert len(read) <= 3  # one, where nothing else keeps the machine busy
