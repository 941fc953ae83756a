"""GET /jobs and GET /jobs/{jobId}: pages, filters, and one job with its history."""

from __future__ import annotations

import pytest
from yarl import URL

from appliance.ids import new_id
from tests import media
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.test_status import MALFORMED
from tests.web.wire import claim, complete, refused, upload


async def names(served: Served, query: str = "") -> list[str]:
    page = await served.json("GET", URL(f"/jobs?{query}", encoded=True))
    return [job["filename"] for job in page["jobs"]]


async def test_pages_follow_each_other_without_gap_or_repeat(serve: Serve) -> None:
    served = await serve()
    sent = [(await upload(served, name=f"{number}.txt"))["jobId"] for number in range(7)]
    newest_first = sorted(sent, reverse=True)
    for limit, pages in ((1, 7), (3, 3), (7, 1), (200, 1)):
        seen: list[str] = []
        cursor: str | None = ""
        for page_number in range(1, pages + 1):
            page = await served.json("GET", f"/jobs?limit={limit}&cursor={cursor}")
            seen += [job["jobId"] for job in page["jobs"]]
            cursor = page["nextCursor"]
            assert (cursor is None) == (page_number == pages)
        assert seen == newest_first


async def test_what_arrives_meanwhile_does_not_shift_the_pages(serve: Serve) -> None:
    served = await serve()
    for number in range(4):
        await upload(served, name=f"{number}.txt")
    first = await served.json("GET", "/jobs?limit=2")
    await upload(served, name="new.txt")
    second = await served.json("GET", f"/jobs?limit=2&cursor={first['nextCursor']}")
    ids = [job["jobId"] for page in (first, second) for job in page["jobs"]]
    assert len(set(ids)) == 4
    assert "new.txt" not in [job["filename"] for job in second["jobs"]]


async def test_a_list_names_fewer_fields(serve: Serve) -> None:
    served = await serve()
    whole = await upload(served, metadata='{"a": 1}')
    (found,) = (await served.json("GET", "/jobs"))["jobs"]
    left_out = {"sha256", "metadata", "result", "scan"}
    assert found == {name: value for name, value in whole.items() if name not in left_out}


async def test_filters(serve: Serve) -> None:
    served = await serve()
    await upload(served, media.jpeg(32, 24), "cat.jpg")
    await upload(served, media.pdf(1), "paper.pdf")
    text = await upload(served, name="cat notes.txt")
    await claim(served, text["jobId"])
    assert await names(served, "type=IMAGE") == ["cat.jpg"]
    assert await names(served, "type=pdf") == ["paper.pdf"]
    assert await names(served, "status=PROCESSING") == ["cat notes.txt"]
    assert await names(served, "status=pending") == ["paper.pdf", "cat.jpg"]
    assert await names(served, "status=PENDING&type=IMAGE") == ["cat.jpg"]
    assert await names(served, "status=FAILED") == []
    assert await names(served, "status=&type=&owner=&q=&cursor=") == await names(served)


async def test_filters_that_name_several_values_or_a_time(serve: Serve) -> None:
    served = await serve()
    await upload(served, media.jpeg(32, 24), "cat.jpg")
    await upload(served, media.pdf(1), "paper.pdf", preset="thumbnail")
    await upload(served, name="notes.txt")
    assert await names(served, "type=IMAGE&type=pdf&type=") == ["paper.pdf", "cat.jpg"]
    assert len(await names(served, "status=PENDING&status=FAILED")) == 3
    assert await names(served, "preset=thumbnail") == ["paper.pdf"]
    assert await names(served, "error=corrupt_file") == []
    assert len(await names(served, "since=1h")) == 3
    assert await names(served, "since=2999-01-01") == []
    assert len(await names(served, "since=2020-01-01T00:00:00Z&until=2999-01-01")) == 3
    assert await names(served, "until=24h") == []
    for wrong in ("since=yesterday", "until=2026-13-01", "since=1y", "status=PENDING&status=DONE"):
        async with served.admin.get(f"/jobs?{wrong}") as response:
            await refused(response, 400, "bad_request")


async def test_search_finds_parts_of_names_and_whole_ids(serve: Serve) -> None:
    served = await serve()
    ids = {}
    for name in ("Cat.txt", "100%.txt", "a_b.txt", "axb.txt", "back slash.txt", "日本.txt"):
        ids[name] = (await upload(served, name=name))["jobId"]
    for q, found in (
        ("cat", ["Cat.txt"]),
        ("CAT.T", ["Cat.txt"]),
        ("%25", ["100%.txt"]),
        ("a_b", ["a_b.txt"]),
        ("%E6%9C%AC", ["日本.txt"]),
        ("%5C", []),
        ("'", []),
        ("%22;DROP TABLE jobs;--", []),
        ("%FF%ED%A0%80", []),
        ("x" * 10_000, []),
        (ids["axb.txt"], ["axb.txt"]),
        (ids["axb.txt"].lower(), ["axb.txt"]),
        (ids["axb.txt"][:10], []),
    ):
        assert await names(served, f"q={q.replace(' ', '+')}") == found, q


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=201", "limit=x", "limit=", "limit=99999999999", "limit=1.5",
        "status=DONE", "status=PENDING,FAILED", "type=AUDIO", "cursor=x", "cursor=0",
        "cursor=%00", "cursor=' OR 1=1",
    ],
)  # fmt: skip
async def test_queries_that_make_no_sense(serve: Serve, query: str) -> None:
    served = await serve()
    async with served.admin.get(f"/jobs?{query}") as response:
        document = await refused(response, 400, "bad_request")
    assert query.partition("=")[0] in document["detail"]


async def test_owners_see_their_own_and_admins_everybodys(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    await upload(served, name="ada.txt", by=ada.http)
    await upload(served, name="bob.txt", by=bob.http)
    await upload(served, name="admin.txt")

    async def seen(person: object, query: str = "") -> set[str]:
        async with person.get(f"/jobs?{query}") as response:  # type: ignore[attr-defined]
            assert response.status == 200
            return {job["filename"] for job in (await response.json())["jobs"]}

    assert await seen(served.admin) == {"ada.txt", "bob.txt", "admin.txt"}
    assert await seen(served.admin, f"owner={ada.key.owner}") == {"ada.txt"}
    assert await seen(served.admin, "owner=nobody") == set()
    assert await seen(ada.http) == {"ada.txt"}
    assert await seen(ada.http, "q=bob") == set()
    assert await seen(ada.http, f"owner={ada.key.owner}") == {"ada.txt"}
    assert await seen(ada.http, f"owner={bob.key.owner}") == set()


# --- one job -----------------------------------------------------------------------------


async def test_a_job_with_its_attempts_and_history(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    found = await served.json("GET", f"/jobs/{job['jobId']}")
    now = await served.json("GET", job["statusUrl"])
    assert {name: found[name] for name in now} == now
    assert [entry["status"] for entry in found["history"]] == ["PENDING", "PROCESSING", "COMPLETED"]
    (attempt,) = found["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["worker"]) == (1, "completed", "w")
    assert attempt["startedAt"] <= attempt["endedAt"]


async def test_jobs_that_there_are_not(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    job = await upload(served, by=ada.http)
    for job_id in (new_id(), *MALFORMED):
        async with served.admin.get(f"/jobs/{job_id}") as response:
            document = await refused(response, 404, "not_found")
    async with bob.http.get(f"/jobs/{job['jobId']}") as response:
        assert await refused(response, 404, "not_found") == document
    async with ada.http.get(f"/jobs/{job['jobId']}") as response:
        assert response.status == 200
