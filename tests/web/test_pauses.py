"""Pauses over HTTP: set, changed, seen, ended, and what they do to the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from appliance.clock import rfc3339, seconds_of
from appliance.ids import new_id
from tests.conftest import Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join
from tests.web.wire import refused, services_of, upload

WHY = {"reason": "The codec is being mended."}


async def in_force(served: Served) -> list[str]:
    return [
        f"{pause['kind']}:{pause['name']}"
        for pause in (await served.json("GET", "/pauses"))["pauses"]
    ]


async def test_a_pause_says_who_why_and_until_when(serve: Serve) -> None:
    served = await serve()
    admin = (await upload(served))["owner"]
    pause = await served.json("PUT", "/pauses/type/video", json={**WHY, "forS": 3600})
    assert pause == {
        "kind": "type", "name": "VIDEO", "reason": WHY["reason"], "actor": admin,
        "since": pause["since"], "until": pause["until"],
    }  # fmt: skip
    assert seconds_of(pause["until"]) == pytest.approx(seconds_of(pause["since"]) + 3600, abs=0.01)
    assert await served.json("GET", "/pauses") == {"pauses": [pause]}


async def test_a_pause_is_changed_by_another(serve: Serve) -> None:
    served = await serve()
    until = rfc3339((datetime.now(UTC) + timedelta(days=1)).timestamp())
    for terms, ends in (({}, None), ({"until": until}, until), ({"forS": None}, None)):
        pause = await served.json("PUT", "/pauses/type/PDF", json={**WHY, **terms})
        assert pause["until"] == ends
        assert await served.json("GET", "/pauses") == {"pauses": [pause]}
    assert [act["action"] for act in (await served.json("GET", "/audit"))["acts"]] == (
        ["pause.set"] * 3
    )


async def test_ending(serve: Serve) -> None:
    served = await serve()
    await served.json("PUT", "/pauses/type/PDF", json=WHY)
    for status in (204, 404, 404):
        async with served.admin.delete("/pauses/type/pdf") as response:
            assert response.status == status
    assert await in_force(served) == []
    acts = (await served.json("GET", "/audit"))["acts"]
    assert [(act["action"], act["subject"]) for act in acts] == [
        ("pause.end", "type:PDF"),
        ("pause.set", "type:PDF"),
    ]
    assert acts[1]["detail"] == {**WHY, "until": None}


async def test_a_pause_holds_and_its_end_lets_go(serve: Serve) -> None:
    served = await serve(workers=True)
    await served.json("PUT", "/pauses/type/ANY", json=WHY)
    job = await upload(served)
    status = await served.json("GET", f"{job['statusUrl']}?wait=0.5")
    assert status["status"] == "PENDING"
    async with served.admin.delete("/pauses/type/ANY") as response:
        assert response.status == 204
    assert (await served.finished(job["jobId"]))["status"] == "COMPLETED"


async def test_a_pause_of_an_owner_holds_nobody_else(serve: Serve, join: Join) -> None:
    served = await serve(workers=True)
    ada = await join(served)
    await served.json("PUT", f"/pauses/owner/{ada.key.owner}", json={**WHY, "forS": 1})
    held = await upload(served, by=ada.http)
    free = await upload(served)
    assert (await served.finished(free["jobId"]))["status"] == "COMPLETED"
    assert (await served.json("GET", held["statusUrl"]))["status"] == "PENDING"
    assert (await served.finished(held["jobId"]))["status"] == "COMPLETED"  # its time is over
    assert await in_force(served) == []


async def test_everybody_sees_what_holds_up_their_own(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    for path in ("type/PDF", f"owner/{ada.key.owner}", f"owner/{bob.key.owner}"):
        await served.json("PUT", f"/pauses/{path}", json=WHY)
    assert len(await in_force(served)) == 3
    async with ada.http.get("/pauses") as response:
        seen = {pause["name"] for pause in (await response.json())["pauses"]}
    assert seen == {"PDF", ada.key.owner}
    for method, path, body in (
        ("PUT", "/pauses/type/PDF", WHY),
        ("DELETE", "/pauses/type/PDF", None),
        ("POST", "/pauses", {"kind": "type", "name": "PDF", **WHY}),
        ("POST", "/pauses/end", {"kind": "type", "name": "PDF"}),
    ):
        async with ada.http.request(method, path, json=body) as response:
            await refused(response, 403, "forbidden")
    assert len(await in_force(served)) == 3


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({}, "reason is missing"),
        ({"reason": None}, "reason: expected `str`"),
        ({"reason": " "}, "reason says why"),
        ({"reason": "x" * 501}, "reason says why"),
        ({"reason": "a\0b"}, "reason says why"),
        ({"reason": "a\u202eb"}, "reason says why"),
        ({**WHY, "forS": 0}, "forS is a number"),
        ({**WHY, "forS": -1}, "forS is a number"),
        ({**WHY, "forS": 1e12}, "forS is a number"),
        ({**WHY, "forS": "60"}, "forS: expected"),
        ({**WHY, "until": "2020-01-01T00:00:00Z"}, "until lies ahead"),
        ({**WHY, "until": "9000-01-01T00:00:00Z"}, "until lies ahead"),
        ({**WHY, "until": "tomorrow"}, "until is a time"),
        ({**WHY, "until": "2999-01-01T00:00:00Z", "forS": 5}, "not both"),
        ({**WHY, "for_s": 5}, "for_s is not known. Known here: reason, until, forS"),
    ],
)
async def test_terms_that_make_no_sense(serve: Serve, terms: Any, words: str) -> None:
    served = await serve()
    async with served.admin.put("/pauses/type/PDF", json=terms) as response:
        assert words in (await refused(response, 400, "bad_request"))["detail"]
    body = {"kind": "type", "name": "PDF", **terms}
    async with served.admin.post("/pauses", json=body) as response:
        assert (
            words.partition("Known")[0] in (await refused(response, 400, "bad_request"))["detail"]
        )
    assert await in_force(served) == []


@pytest.mark.parametrize(
    "path",
    ["type/AUDIO", "type/%00", "owner/ada", "owner/key:x", "owner/key:%20", "kind/PDF", "x/y"],
)
async def test_what_cannot_be_paused(serve: Serve, path: str) -> None:
    served = await serve()
    address = URL(f"/pauses/{path}", encoded=True)
    for method, body in (("PUT", WHY), ("DELETE", None)):
        async with served.admin.request(method, address, json=body) as response:
            await refused(response, 400, "bad_request")
    assert await in_force(served) == []


async def test_an_owner_without_a_pause_has_none_to_end(serve: Serve) -> None:
    served = await serve()
    async with served.admin.delete(f"/pauses/owner/key:{new_id()}") as response:
        await refused(response, 404, "not_found")


async def test_forms(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    form = {"kind": "type", "name": "image", "next": "/dashboard", "until": "", **WHY}
    for for_s in ("", "3600"):
        sent = await browser.send("/pauses", {**form, "forS": for_s})
        assert (sent.status, sent.location) == (303, "/dashboard")
        (pause,) = (await served.json("GET", "/pauses"))["pauses"]
        assert (pause["name"], pause["until"] is None) == ("IMAGE", for_s == "")
    sent = await browser.send("/pauses", {**form, "forS": "an hour"})
    assert (sent.status, "forS: expected" in sent.text) == (400, True)
    ended = {"kind": "type", "name": "IMAGE", "next": "/dashboard"}
    assert [(await browser.send("/pauses/end", ended)).status for _ in range(2)] == [303, 404]
    assert await in_force(served) == []


async def test_the_same_as_json(serve: Serve) -> None:
    served = await serve()
    owner = f"key:{new_id()}"
    named = {"kind": "owner", "name": owner}
    pause = await served.json("POST", "/pauses", json={**named, **WHY})
    assert (pause["kind"], pause["name"]) == ("owner", owner)
    async with served.admin.post("/pauses/end", json=named) as response:
        assert response.status == 204
    assert await in_force(served) == []


async def test_a_pause_whose_time_is_over_is_not_seen(serve: Serve) -> None:
    served = await serve()
    acts = services_of(served).acts
    before = acts.clock.now() - 1
    await acts.pause("type", "PDF", reason="it was", actor="me", until=before)
    assert await in_force(served) == []
