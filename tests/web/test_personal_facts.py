"""What a file tells of a person (the camera, the day) is shown to its owner and to nobody else,
admins included, on whichever way."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest

from appliance.ids import new_id
from appliance.web.routes import ROUTES
from tests.conftest import Serve, Served
from tests.records import a_result
from tests.web.conftest import Join
from tests.web.wire import DEADLINE_S, claim, complete, upload

FACTS = {"width": 4, "personal": {"camera": "Nikon 35Ti", "takenAt": "1999-12-31"}}
WITH_FACTS = {"/status/{job_id}", "/jobs/{job_id}", "/jobs/{job_id}/events", "/events"}
"""Routes that give the facts of a job."""
READING = [
    route.path
    for route in ROUTES
    if route.method == "GET" and route.permission is not None and "{name}" not in route.path
]


async def completed(served: Served, by: aiohttp.ClientSession) -> str:
    job_id: str = (await upload(served, by=by))["jobId"]
    await claim(served, job_id)
    await complete(served, job_id, result=FACTS, files=[a_result(job_id, 1)])
    return job_id


async def read(session: aiohttp.ClientSession, path: str) -> str:
    """An answer, of a stream as far as its first event."""
    async with asyncio.timeout(DEADLINE_S), session.get(path, params={"after": "0"}) as response:
        if path == "/events":
            return (await response.content.readuntil(b"}\n\n")).decode()
        return await response.text()


@pytest.mark.parametrize("route", READING)
async def test_no_route_tells_an_admin(serve: Serve, join: Join, route: str) -> None:
    served = await serve()
    ada = await join(served)
    job_id = await completed(served, ada.http)
    path = re.sub(r"\{job_id\}", job_id, route)
    path = re.sub(r"\{\w+\}", new_id(), path)
    for _ in range(2):  # a status from the database, then from the cache
        told = await read(served.admin, path)
        assert "Nikon" not in told
        assert "1999-12-31" not in told
    if route in WITH_FACTS:
        assert '"width":4' in told
        for _ in range(2):
            assert "Nikon 35Ti" in await read(ada.http, path)
        assert "Nikon" not in await read(served.admin, path)


async def test_an_admin_sees_his_own(serve: Serve) -> None:
    served = await serve()
    job_id = await completed(served, served.admin)
    assert (await served.json("GET", f"/status/{job_id}"))["result"] == FACTS


async def test_an_etag_is_of_what_was_told(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    job_id = await completed(served, ada.http)

    async def asked(session: aiohttp.ClientSession, known: str = "") -> tuple[int, Any, str]:
        headers = {"If-None-Match": known}
        async with session.get(f"/status/{job_id}", headers=headers) as response:
            body = await response.read()
            return response.status, body and json.loads(body), response.headers["ETag"]

    status, mine, my_etag = await asked(ada.http)
    assert (status, mine["result"]) == (200, FACTS)
    status, theirs, their_etag = await asked(served.admin, my_etag)
    assert (status, theirs["result"]) == (200, {"width": 4})
    assert {**theirs, "result": FACTS} == mine
    assert (await asked(served.admin, their_etag))[0] == 304
    assert (await asked(ada.http, my_etag))[0] == 304
    assert (await asked(ada.http, their_etag))[0] == 200
