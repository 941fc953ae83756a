"""GET /events and GET /jobs/{jobId}/events: server-sent events, for one job and for all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from appliance.ids import new_id
from appliance.permissions import Role
from appliance.web import events
from tests import media
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.wire import (
    DEADLINE_S,
    claim,
    complete,
    progress,
    refused,
    services_of,
    until,
    upload,
    wire,
)


class Event(NamedTuple):
    id: int
    job: Any


class Stream:
    """A server-sent event stream, read as the HTML standard says."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self._lines = response.content
        self.last_id = ""

    async def line(self) -> None:
        """One line, for its id."""
        async with asyncio.timeout(DEADLINE_S):
            name, _, value = (await self._lines.readline()).decode().strip().partition(": ")
        if name == "id":
            self.last_id = value

    async def next(self) -> Event | None:
        """The next event; None at the end. Comments and `retry` are passed over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_S):
            while True:
                line = (await self._lines.readline()).decode()
                if not line:
                    return None
                if line == "\n" and "data" in fields:
                    assert fields["event"] == "job"
                    return Event(int(fields["id"]), json.loads(fields["data"]))
                name, _, value = line.rstrip("\n").partition(": ")
                if name != "retry":
                    fields[name] = value
                    self.last_id = fields.get("id", self.last_id)


@asynccontextmanager
async def listening(
    session: aiohttp.ClientSession, path: str, **headers: str
) -> AsyncIterator[Stream]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.get(path, headers=names) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        yield Stream(response)


async def subscribed(served: Served, topic: str = "jobs") -> None:
    topics = services_of(served).coordination._subscriptions  # type: ignore[attr-defined]
    await until(lambda: topics.get(topic))


async def test_one_job_from_now_to_its_end(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    async with listening(served.admin, f"/jobs/{job['jobId']}/events") as stream:
        first = await stream.next()
        assert first is not None
        assert first.job == job
        ids = [first.id]
        for move, status in ((claim, "PROCESSING"), (complete, "COMPLETED")):
            await move(served, job["jobId"])
            event = await stream.next()
            assert event is not None
            assert event.job == await served.json("GET", job["statusUrl"])
            assert event.job["status"] == status
            ids.append(event.id)
        assert await stream.next() is None
    assert ids == sorted(set(ids))


async def test_progress_is_told(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    async with listening(served.admin, f"/jobs/{job['jobId']}/events") as stream:
        await stream.next()
        await progress(served, job["jobId"], 0.25)
        event = await stream.next()
        assert event is not None
        assert (event.job["progress"], event.job["step"]) == (0.25, "resizing")


async def test_changes_in_quick_succession_are_told_as_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "COALESCE_S", 0.3)
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    async with listening(served.admin, f"/jobs/{job['jobId']}/events") as stream:
        await stream.next()
        for hundredth in range(1, 51):
            await progress(served, job["jobId"], hundredth / 100)
        told = 0
        while (event := await stream.next()) is not None:
            told += 1
            if event.job["progress"] == 0.5:
                break
        assert event is not None
        assert told < 25  # one, where nothing else keeps the machine busy


async def test_a_finished_job_is_told_once(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    async with listening(served.admin, f"/jobs/{job['jobId']}/events") as stream:
        event = await stream.next()
        assert event is not None
        assert event.job["status"] == "COMPLETED"
        assert await stream.next() is None


async def test_a_real_job_with_its_results(serve: Serve) -> None:
    served = await serve(workers=True, workers_pdf="0", workers_video="0", workers_any="0")
    job = await upload(served, media.jpeg(640, 480), "cat.jpg")
    seen = []
    async with listening(served.admin, f"/jobs/{job['jobId']}/events") as stream:
        while (event := await stream.next()) is not None:
            seen.append(event.job)
    assert seen[-1]["status"] == "COMPLETED"
    assert seen[-1]["files"]
    assert [job["progress"] for job in seen] == sorted(job["progress"] for job in seen)


async def test_everything_missed_is_caught_up_with(serve: Serve) -> None:
    served = await serve()
    first, second, third = [await upload(served, name=f"{n}.txt") for n in range(3)]
    async with listening(served.admin, "/events", Last_Event_ID="0") as stream:
        told = [await stream.next() for _ in range(3)]
    assert [event.job for event in told if event] == [first, second, third]
    last = told[-1]
    assert last is not None

    await claim(served, first["jobId"])
    await complete(served, first["jobId"])
    await claim(served, third["jobId"])
    async with listening(served.admin, "/events", Last_Event_ID=str(last.id)) as stream:
        missed = [await stream.next() for _ in range(2)]
        assert [event.job["status"] for event in missed if event] == ["COMPLETED", "PROCESSING"]
        live = await upload(served, name="live.txt")
        event = await stream.next()
        assert event is not None
        assert event.job == live
    async with listening(served.admin, f"/events?after={event.id - 1}") as stream:
        again = await stream.next()
        assert again == event


async def test_a_stream_that_is_cut_before_its_first_event_misses_nothing(serve: Serve) -> None:
    served = await serve()
    old = await upload(served, name="old.txt")
    async with listening(served.admin, "/events") as stream:
        while not stream.last_id:
            await stream.line()
        stream.response.close()  # as a network that goes away
    missed = await upload(served, name="missed.txt")
    await claim(served, old["jobId"])
    async with listening(served.admin, "/events", Last_Event_ID=stream.last_id) as back:
        told = [await back.next() for _ in range(2)]
    assert {event.job["jobId"] for event in told if event} == {old["jobId"], missed["jobId"]}


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 400])
async def test_a_last_event_id_of_another_kind_is_no_catch_up(serve: Serve, last_id: str) -> None:
    served = await serve()
    await upload(served, name="old.txt")
    async with listening(served.admin, "/events", Last_Event_ID=last_id) as stream:
        await subscribed(served)
        live = await upload(served, name="live.txt")
        event = await stream.next()
    assert event is not None
    assert event.job == live


async def test_nobody_hears_of_another_owners_jobs(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    await upload(served, name="bob-before.txt", by=bob.http)
    async with (
        listening(ada.http, "/events", Last_Event_ID="0") as adas,
        listening(served.admin, "/events?mine=1", Last_Event_ID="0") as admins_own,
        listening(served.admin, "/events", Last_Event_ID="0") as everybodys,
    ):
        await subscribed(served, f"owner:{ada.key.owner}")
        await upload(served, name="bob.txt", by=bob.http)
        await upload(served, name="mine.txt")
        await upload(served, name="ada.txt", by=ada.http)
        adas_first = await adas.next()
        assert adas_first is not None
        assert adas_first.job["filename"] == "ada.txt"
        own = await admins_own.next()
        assert own is not None
        assert own.job["filename"] == "mine.txt"
        heard = [await everybodys.next() for _ in range(4)]
        names = {event.job["filename"] for event in heard if event}
        assert names == {"bob-before.txt", "bob.txt", "mine.txt", "ada.txt"}


async def test_jobs_that_there_are_not(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    job = await upload(served, by=ada.http)
    for job_id in (new_id(), "x"):
        async with served.admin.get(f"/jobs/{job_id}/events") as response:
            document = await refused(response, 404, "not_found")
    async with bob.http.get(f"/jobs/{job['jobId']}/events") as response:
        assert await refused(response, 404, "not_found") == document


async def test_a_stopping_server_ends_the_streams(serve: Serve) -> None:
    served = await serve()
    async with listening(served.admin, "/events") as stream:
        await subscribed(served)
        services_of(served).stopping.set()
        assert await stream.next() is None


async def test_a_head_of_a_stream_is_its_head_only(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    async with wire(served) as connection:
        for path in ("/events", f"/jobs/{job['jobId']}/events"):
            await connection.head(f"HEAD {path}", "Connection: close" if "jobs" in path else "A: b")
            answer = await connection.answer()
            assert (answer.status, answer.body) == (200, b"")
            assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert await connection.closed() == b""


async def test_who_goes_away_is_forgotten(serve: Serve) -> None:
    served = await serve()
    topics = services_of(served).coordination._subscriptions  # type: ignore[attr-defined]
    async with listening(served.admin, "/events"):
        await subscribed(served)
    await upload(served)  # the next word to them fails, and ends it
    await upload(served)
    await until(lambda: "jobs" not in topics)


async def test_a_stream_ends_with_the_key_that_began_it(serve: Serve, join: Join) -> None:
    served = await serve()
    viewer = await join(served, Role.VIEWER)
    async with listening(viewer.http, "/events") as stream:
        await subscribed(served)
        job = await upload(served)
        event = await stream.next()
        assert event is not None
        assert event.job["jobId"] == job["jobId"]
        async with served.admin.delete(f"/keys/{viewer.key.id}") as response:
            assert response.status == 204
        await upload(served)
        assert await stream.next() is None
