"""The review of dead letters over HTTP: pages, groups, one, another try, the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import MultiDict
from yarl import URL

from appliance.clock import rfc3339
from appliance.ids import new_id
from tests import media
from tests.conftest import Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join
from tests.web.test_status import MALFORMED
from tests.web.wire import (
    claim,
    complete,
    fail,
    failed,
    redrive_when,
    refused,
    services_of,
    upload,
)


async def listed(served: Served, **query: str) -> list[str]:
    """Ids of the jobs whose dead letters match; as many are told to match."""
    page = await served.json("GET", URL("/dead-letters").with_query(query))
    if "limit" not in query:
        assert page["matching"] == len(page["deadLetters"])
    return [letter["jobId"] for letter in page["deadLetters"]]


async def groups(served: Served) -> dict[str, int]:
    """How many there are with each error code."""
    found = (await served.json("GET", "/dead-letters/groups"))["groups"]
    return {group["errorCode"]: group["jobs"] for group in found}


# --- reading -----------------------------------------------------------------------------


async def test_none(serve: Serve) -> None:
    served = await serve()
    assert await served.json("GET", "/dead-letters") == {
        "deadLetters": [], "nextCursor": None, "matching": 0,
    }  # fmt: skip
    assert await served.json("GET", "/dead-letters/groups") == {"groups": []}


async def test_a_letter_says_what_happened(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    job_id = await failed(served, by=ada.http, name="notes.txt", step="page 3")
    (letter,) = (await served.json("GET", "/dead-letters"))["deadLetters"]
    job = await served.json("GET", f"/status/{job_id}")
    assert letter == {
        "jobId": job_id,
        "at": job["finishedAt"],
        "owner": ada.key.owner,
        "type": "ANY",
        "filename": "notes.txt",
        "sizeBytes": 5,
        "errorCode": "child_crashed",
        "errorClass": "ChildCrashed",
        "step": "page 3",
        "message": "It broke.",
        "fingerprint": letter["fingerprint"],
    }
    await failed(served, step="page 12")  # alike: numbers make no difference
    await failed(served, step="elsewhere")
    found = await served.json("GET", f"/dead-letters/{job_id}")
    assert {name: found[name] for name in letter} == letter
    assert found["others"] == 1
    assert found["job"] == job
    assert [attempt["stderrTail"] for attempt in found["attempts"]] == ["Segmentation fault"]
    assert [entry["status"] for entry in found["history"]] == ["PENDING", "PROCESSING", "FAILED"]


async def test_letters_that_there_are_not(serve: Serve) -> None:
    served = await serve()
    alive = (await upload(served))["jobId"]
    for job_id in (alive, new_id(), *MALFORMED):
        async with served.admin.get(f"/dead-letters/{job_id}") as response:
            await refused(response, 404, "not_found")


async def test_filters(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    first = await failed(served, by=ada.http)
    letter = await served.json("GET", f"/dead-letters/{first}")
    later = await failed(served, code="corrupt_file")
    picture = (await upload(served, media.jpeg(32, 24), "cat.jpg"))["jobId"]
    await claim(served, picture)
    await fail(served, picture, message="Another.")
    at = (await served.json("GET", f"/dead-letters/{later}"))["at"]
    everything = [picture, later, first]
    for query, found in (
        ({}, everything),
        ({"owner": ada.key.owner}, [first]),
        ({"owner": "nobody"}, []),
        ({"type": "image"}, [picture]),
        ({"type": "VIDEO"}, []),
        ({"code": "child_crashed"}, [picture, first]),
        ({"fingerprint": letter["fingerprint"]}, [first]),
        ({"fingerprint": "0" * 16}, []),
        ({"code": "child_crashed", "type": "any"}, [first]),
        ({"since": "2020-01-01T00:00:00Z"}, everything),
        ({"until": "2020-01-01T00:00:00+01:00"}, []),
        ({"since": at, "code": "corrupt_file"}, [later]),
        ({"until": rfc3339(0)}, []),
        ({"owner": "", "type": " ", "code": "", "since": "", "until": ""}, everything),
        ({"owner": "' OR 1=1 --"}, []),
        ({"code": "%"}, []),
    ):  # fmt: skip
        assert await listed(served, **query) == found, query


async def test_pages_follow_each_other(serve: Serve) -> None:
    served = await serve()
    sent = [await failed(served) for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        page = await served.json("GET", f"/dead-letters?limit=2&cursor={cursor}")
        assert page["matching"] == 5
        assert len(page["deadLetters"]) == expected
        seen += [letter["jobId"] for letter in page["deadLetters"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert seen == sorted(sent, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=x", "limit=٣", "cursor=x", "cursor=%00", "type=AUDIO",
        "fingerprint=x", "fingerprint=" + "0" * 17, "fingerprint=%00", "owner=%00",
        "code=" + "x" * 201, "since=yesterday", "since=2026-11-24", "since=2026-11-24T00:00:00",
        "until=2026-13-24T00:00:00Z", "until=9999-12-31T23:59:59-14:00",
        "since=0001-01-01T00:00:00%2B14:00", "since=1", "since=2026-11-24T25:00:00Z",
        "since=2026-11-24T00:00:00 01:00",
    ],
)  # fmt: skip
async def test_queries_that_make_no_sense(serve: Serve, query: str) -> None:
    served = await serve()
    async with served.admin.get(f"/dead-letters?{query}") as response:
        document = await refused(response, 400, "bad_request")
    assert query.partition("=")[0] in document["detail"]


async def test_groups_are_those_that_failed_alike(serve: Serve) -> None:
    served = await serve()
    await failed(served, code="corrupt_file")
    older = await failed(served)
    newer = await failed(served, message="The latest words.")
    large, small = (await served.json("GET", "/dead-letters/groups"))["groups"]
    assert (large["jobs"], small["jobs"]) == (2, 1)
    assert (large["errorCode"], large["type"]) == ("child_crashed", "ANY")
    assert (large["message"], large["example"]) == ("The latest words.", newer)
    assert large["firstAt"] <= large["lastAt"]
    assert await listed(served, fingerprint=large["fingerprint"]) == [newer, older]
    limited = await served.json("GET", "/dead-letters/groups?limit=1")
    assert limited == {"groups": [large]}


# --- another try -------------------------------------------------------------------------


async def test_one_is_tried_again(serve: Serve) -> None:
    served = await serve()
    job_id, other = await failed(served), await failed(served)
    async with served.admin.post("/dead-letters/retry", json={"ids": [job_id]}) as response:
        assert response.status == 202
        answer = await response.json()
    assert answer["count"] == 1
    redrive = answer["redrive"]
    assert redrive["counts"] == {
        "total": 1, "waiting": 0, "running": 1, "completed": 0, "failed": 0, "other": 0,
    }  # fmt: skip
    assert (redrive["state"], redrive["staged"], redrive["filter"]) == (
        "running", False, {"ids": [job_id]},
    )  # fmt: skip
    assert await listed(served) == [other]
    assert (await served.json("GET", f"/status/{job_id}"))["status"] == "PENDING"
    found = await served.json("GET", f"/redrives/{redrive['redriveId']}")
    assert found == redrive


async def test_those_of_a_filter_are_tried_again(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    mine = await failed(served, by=ada.http)
    broken = await failed(served, by=ada.http, code="corrupt_file")
    other = await failed(served)
    fingerprint = (await served.json("GET", f"/dead-letters/{mine}"))["fingerprint"]
    wanted = {"fingerprint": fingerprint, "owner": ada.key.owner, "since": "2020-01-01T00:00:00Z"}
    answer = await served.json("POST", "/dead-letters/retry", json={"filter": wanted})
    assert answer["count"] == 1
    assert answer["redrive"]["filter"] == {**wanted, "since": "2020-01-01T00:00:00.000Z"}
    assert await listed(served) == [other, broken]


async def test_all_are_tried_again_when_that_is_said(serve: Serve) -> None:
    served = await serve()
    for _ in range(3):
        await failed(served)
    answer = await served.json("POST", "/dead-letters/retry", json={"filter": {}, "limit": 2})
    assert answer["count"] == 2
    assert len(await listed(served)) == 1
    answer = await served.json("POST", "/dead-letters/retry", json={"filter": {}})
    assert answer["count"] == 1
    assert await listed(served) == []


async def test_to_ask_twice_does_it_once(serve: Serve) -> None:
    served = await serve()
    job_id = await failed(served)
    counts = [
        (await served.json("POST", "/dead-letters/retry", json={"ids": [job_id]}))["count"]
        for _ in range(2)
    ]
    assert counts == [1, 0]
    history = (await served.json("GET", f"/jobs/{job_id}"))["history"]
    assert len([entry for entry in history if "tried again" in (entry["detail"] or "")]) == 1


async def test_waves_stop_by_themselves(serve: Serve) -> None:
    served = await serve()
    ids = [await failed(served) for _ in range(4)]
    body = {"filter": {"code": "child_crashed"}, "staged": True}
    answer = await served.json("POST", "/dead-letters/retry", json=body)
    redrive_id = answer["redrive"]["redriveId"]
    assert answer["count"] == 4
    assert answer["redrive"]["wave"] == 1
    assert answer["redrive"]["counts"] == {
        "total": 4, "waiting": 3, "running": 1, "completed": 0, "failed": 0, "other": 0,
    }  # fmt: skip
    twice = await served.json("POST", "/dead-letters/retry", json=body)
    assert twice["count"] == 0  # they wait for a wave already
    first = min(ids)
    assert (await served.json("GET", f"/status/{first}"))["status"] == "PENDING"
    await claim(served, first)
    await fail(served, first, attempt=2)
    redrive = await redrive_when(served, redrive_id, lambda one: one["state"] != "running")
    assert redrive["state"] == "stopped"
    assert (redrive["counts"]["failed"], redrive["counts"]["waiting"]) == (1, 3)
    assert redrive["endedAt"] >= redrive["createdAt"]
    assert await listed(served) == sorted(ids, reverse=True)


async def test_waves_go_on_while_it_goes_well(serve: Serve) -> None:
    served = await serve()
    ids = sorted([await failed(served) for _ in range(3)])
    answer = await served.json("POST", "/dead-letters/retry", json={"filter": {}, "staged": True})
    redrive_id = answer["redrive"]["redriveId"]
    acts = services_of(served).acts
    for job_id in ids:
        await acts.advance(redrive_id)
        await claim(served, job_id)
        await complete(served, job_id, attempt=2)
    await acts.advance(redrive_id)
    redrive = await served.json("GET", f"/redrives/{redrive_id}")
    assert (redrive["state"], redrive["wave"]) == ("completed", 2)
    assert (redrive["counts"]["completed"], redrive["waveCounts"]["completed"]) == (3, 2)


# --- the end -----------------------------------------------------------------------------


async def test_discarding(serve: Serve) -> None:
    served = await serve()
    job_id = await failed(served)
    broken = await failed(served, code="corrupt_file")
    other = await failed(served)
    for body, count, left in (
        ({"ids": [job_id, new_id()]}, 1, [other, broken]),
        ({"ids": [job_id]}, 0, [other, broken]),
        ({"filter": {"code": "corrupt_file"}}, 1, [other]),
        ({"filter": {}}, 1, []),
        ({"filter": {}}, 0, []),
    ):
        answer = await served.json("POST", "/dead-letters/discard", json=body)
        assert answer == {"count": count}
        assert await listed(served) == left
    assert await groups(served) == {}
    assert (await served.json("GET", f"/status/{job_id}"))["status"] == "FAILED"


async def test_what_was_discarded_is_audited_with_the_filter(serve: Serve) -> None:
    served = await serve()
    job_id = await failed(served)
    await served.json("POST", "/dead-letters/discard", json={"filter": {"code": "child_crashed"}})
    (act,) = (await served.json("GET", "/audit"))["acts"]
    assert (act["action"], act["jobs"]) == ("dead_letters.discard", 1)
    assert act["detail"] == {"filter": {"code": "child_crashed"}, "jobIds": [job_id]}


# --- what is no request ------------------------------------------------------------------


MALFORMED_BODIES: list[tuple[Any, str]] = [
    ({}, "Say which"),
    ({"filter": None}, "Say which"),
    ({"ids": [], "filter": {}}, "not both"),
    ({"ids": []}, "between 1 and 1000"),
    ({"ids": ["x"]}, "'x' is not the id of a job"),
    ({"ids": ["\ud800\0<script>"]}, "not"),
    ({"ids": [1]}, "ids[0]: expected `str`, got `int`"),
    ({"ids": "x"}, "ids: expected"),
    ({"id": ["x"]}, "id is not known. Known here: ids, filter"),
    ({"filter": {"fingerprnt": "x"}}, "filter.fingerprnt is not known. Known here: fingerprint"),
    ({"filter": {"ids": []}}, "filter.ids is not known"),
    ({"filter": {"since": 5}}, "filter.since: expected"),
    ({"filter": {"since": "yesterday"}}, "since is a time"),
    ({"filter": {"type": "AUDIO"}}, "type is one of IMAGE, PDF, VIDEO, ANY"),
    ({"filter": []}, "filter: expected"),
    ([], "expected `object`, got `array`"),
    ("words", "expected `object`"),
    (None, "expected `object`"),
]
RETRY_ONLY: list[tuple[Any, str]] = [
    ({"filter": {}, "limit": 0}, "limit: expected `int` >= 1"),
    ({"filter": {}, "limit": 100_001}, "limit: expected `int` <= 100000"),
    ({"filter": {}, "limit": "5"}, "limit: expected `int`"),
    ({"filter": {}, "limit": 1e300}, "limit: expected `int`"),
    ({"filter": {}, "staged": "yes"}, "staged: expected `bool`"),
]


@pytest.mark.parametrize("act", ["retry", "discard"])
async def test_bodies_that_make_no_sense(serve: Serve, act: str) -> None:
    served = await serve()
    job_id = await failed(served)
    for body, words in MALFORMED_BODIES + (RETRY_ONLY if act == "retry" else []):
        data = json.dumps(body)
        headers = {"Content-Type": "application/json"}
        async with served.admin.post(
            f"/dead-letters/{act}", data=data, headers=headers
        ) as response:
            document = await refused(response, 400, "bad_request")
            assert words in document["detail"], data
    for data, content_type, words in (
        (b"", "application/json", "The body is empty"),
        (b"{", "application/json", "not JSON"),
        (b"\xff\xfe", "application/json", "not JSON"),
        (b"[" * 60_000, "application/json", "expected `object`"),
        (b'{"ids":' + b"[" * 60_000, "application/json", "ids[0]"),
        (b"<xml/>", "text/xml", "not JSON"),
        (b" " * 70_000, "application/json", "more than 64 KiB"),
        (b'{"filter": {}}', "application/x-www-form-urlencoded", "looks like JSON"),
        (b"all=1", "multipart/form-data; boundary=x", "Send JSON, or a form as"),
        (b"all=1&" * 3000, "application/x-www-form-urlencoded", "cannot be read"),
        (b"owner=%ff", "application/x-www-form-urlencoded", "cannot be read"),
        (b"owner=\xff", "application/x-www-form-urlencoded", "cannot be read"),
        (b"", "application/x-www-form-urlencoded", "Say which"),
        (b"all=0", "application/x-www-form-urlencoded", "Say which"),
        (b"al=1", "application/x-www-form-urlencoded", "al is not known"),
        (b"ids=&all=", "application/x-www-form-urlencoded", "Say which"),
        (b"owner=a&ids=" + new_id().encode(), "application/x-www-form-urlencoded", "not both"),
    ):
        async with served.admin.post(
            f"/dead-letters/{act}", data=data, headers={"Content-Type": content_type}
        ) as response:
            document = await refused(response, 400, "bad_request")
            assert words in document["detail"], data[:60]
    assert await listed(served) == [job_id]
    assert (await served.json("GET", "/audit"))["acts"] == []


async def test_a_limit_is_of_another_try_only(serve: Serve) -> None:
    served = await serve()
    body = {"filter": {}, "limit": 5}
    async with served.admin.post("/dead-letters/discard", json=body) as response:
        document = await refused(response, 400, "bad_request")
    assert document["detail"] == "limit is not known. Known here: ids, filter."


# --- forms -------------------------------------------------------------------------------


async def test_forms_say_the_same_as_json(serve: Serve, join: Join) -> None:
    served = await serve()
    browser = await signed_in(served)
    ada = await join(served)
    ids = [await failed(served) for _ in range(3)]
    mine = await failed(served, by=ada.http)
    back = {"next": "/dashboard"}

    sent = await browser.send(
        "/dead-letters/retry", MultiDict([("ids", ids[0]), ("ids", ids[1]), *back.items()])
    )
    assert (sent.status, sent.location) == (303, "/dashboard")
    assert await listed(served) == [mine, ids[2]]

    owner = {"owner": ada.key.owner, "type": "any", "code": "", "fingerprint": ""}
    sent = await browser.send("/dead-letters/discard", {**owner, **back})
    assert (sent.status, sent.location) == (303, "/dashboard")
    assert await listed(served) == [ids[2]]

    sent = await browser.send(
        "/dead-letters/retry", {"all": "1", "staged": "on", "limit": "10", **back}
    )
    assert (sent.status, sent.location) == (303, "/dashboard")
    assert await listed(served) == []
    (redrive, *_) = (await served.json("GET", "/redrives"))["redrives"]
    assert (redrive["staged"], redrive["filter"]) == (True, {})


async def test_a_form_that_selects_nothing_says_so_on_a_page(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    job_id = await failed(served)
    sent = await browser.send("/dead-letters/discard", {"next": "/dashboard"})
    assert sent.status == 400
    assert "Say which" in sent.text
    assert "<html" in sent.text
    assert await listed(served) == [job_id]


async def test_a_program_may_send_a_form_too(serve: Serve) -> None:
    served = await serve()
    await failed(served)
    answer = await served.json("POST", "/dead-letters/discard", data={"all": "1"})
    assert answer == {"count": 1}
