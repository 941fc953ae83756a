"""GET /audit: every act of an admin, newest first, in pages."""

from __future__ import annotations

import pytest

from tests.conftest import Serve
from tests.web.wire import refused

PATH = "/pauses/type/PDF"


async def test_pages_follow_each_other(serve: Serve) -> None:
    served = await serve()
    assert await served.json("GET", "/audit") == {"acts": [], "nextCursor": None}
    for number in range(5):
        await served.json("PUT", PATH, json={"reason": f"number {number}"})
    seen: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        page = await served.json("GET", f"/audit?limit=2&cursor={cursor}")
        assert len(page["acts"]) == expected
        seen += [act["detail"]["reason"] for act in page["acts"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert seen == [f"number {number}" for number in (4, 3, 2, 1, 0)]


async def test_an_act(serve: Serve) -> None:
    served = await serve()
    pause = await served.json("PUT", PATH, json={"reason": "so"})
    (act,) = (await served.json("GET", "/audit"))["acts"]
    assert act["at"] >= pause["since"]
    assert act == {
        "id": 1,
        "at": act["at"],
        "actor": pause["actor"],
        "action": "pause.set",
        "subject": "type:PDF",
        "jobs": None,
        "detail": {"reason": "so", "until": None},
    }


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=x", "cursor=-1", "cursor=1e9",
                                   "cursor=" + "9" * 19, "cursor=%D9%A3"])  # fmt: skip
async def test_queries_that_make_no_sense(serve: Serve, query: str) -> None:
    served = await serve()
    async with served.admin.get(f"/audit?{query}") as response:
        await refused(response, 400, "bad_request")
