"""GET /audit: every act of an admin, newest first, in pages or as a file."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import aiohttp
import pytest

from appliance.database import audit
from tests.conftest import Serve, Served
from tests.web.pages import links, page
from tests.web.wire import refused, services_of

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


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "cursor=x", "cursor=-1", "cursor=1e9", "cursor=" + "9" * 19,
     "cursor=%D9%A3", "since=yesterday", "until=1", "format=xml", "actor=" + "x" * 201,
     "format=csv&action=%00"],
)  # fmt: skip
async def test_queries_that_make_no_sense(serve: Serve, query: str) -> None:
    served = await serve()
    async with served.admin.get(f"/audit?{query}") as response:
        await refused(response, 400, "bad_request")


# --- which, and as a file ------------------------------------------------------------------


async def export(served: Served, query: str, **headers: str) -> tuple[aiohttp.ClientResponse, str]:
    async with served.admin.get(f"/audit?{query}", headers=headers) as response:
        return response, await response.text()


async def three_acts(served: Served) -> list[Any]:
    """Newest first."""
    await served.json("PUT", PATH, json={"reason": "=HYPERLINK(1)"})
    await served.json("PUT", "/pauses/type/IMAGE", json={"reason": 'quotes ", commas,\nlines'})
    async with served.admin.delete(PATH) as response:
        assert response.status == 204
    acts: list[Any] = (await served.json("GET", "/audit"))["acts"]
    assert [(act["action"], act["subject"]) for act in acts] == [
        ("pause.end", "type:PDF"), ("pause.set", "type:IMAGE"), ("pause.set", "type:PDF")
    ]  # fmt: skip
    return acts


async def test_acts_are_selected_by_who_what_and_when(serve: Serve) -> None:
    served = await serve()
    last, middle, first = await three_acts(served)
    for query, expected in (
        ("action=pause.set", [middle, first]),
        ("subject=type:PDF", [last, first]),
        (f"actor={first['actor']}", [last, middle, first]),
        ("actor=key:nobody", []),
        (f"since={middle['at']}&subject=type:IMAGE", [middle]),
        ("since=2999-01-01T00:00:00Z", []),
        ("until=2999-01-01T00:00:00Z", [last, middle, first]),
        (f"until={first['at']}", []),
        ("action=pause.set&limit=1", [middle]),
    ):
        assert (await served.json("GET", f"/audit?{query}"))["acts"] == expected, query
    shown = await page(served, "/dashboard/audit?action=pause.set")
    assert shown.words().count("until resumed") == 2
    assert len(shown.named("tr")) == 1 + 2


async def test_an_export_has_every_act(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.web.audit.READ_AT_ONCE", 2)
    served = await serve()
    acts = await three_acts(served)
    for query, headers in (("format=jsonl", {}), ("", {"Accept": "application/jsonl"})):
        response, text = await export(served, query, **headers)
        assert response.headers["Content-Disposition"] == 'attachment; filename="audit.jsonl"'
        assert response.headers["Content-Type"] == "application/jsonl; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert [json.loads(line) for line in text.splitlines()] == acts
    response, text = await export(served, "format=jsonl&subject=type:IMAGE")
    assert [json.loads(line) for line in text.splitlines()] == [acts[1]]


async def test_a_table_of_acts_calculates_nothing(serve: Serve) -> None:
    """RFC 4180, and nothing that a spreadsheet takes for a formula."""
    served = await serve()
    acts = await three_acts(served)
    shared = services_of(served)
    for name in ("=1+1", "+1", "-1", "@sum", "\tx", "\rx"):
        await shared.database.write(
            audit.add(actor=name, action="key.create", subject=name, now=shared.clock.now())
        )
    response, text = await export(served, "format=csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["actor"] for row in rows[:6]] == [
        "'\rx", "'\tx", "'@sum", "'-1", "'+1", "'=1+1"
    ]  # fmt: skip
    assert [json.loads(row["detail"]) for row in rows[6:]] == [act["detail"] for act in acts]
    assert [row["at"] for row in rows[6:]] == [act["at"] for act in acts]
    assert {cell[:1] for row in rows for cell in row.values()} & set("=+-@\t\r\0") == set()


async def test_the_page_leads_to_its_export(serve: Serve) -> None:
    served = await serve()
    await three_acts(served)
    shown = await page(served, "/dashboard/audit?action=pause.set")
    assert links(shown, "/audit?") == [
        "/audit?action=pause.set&format=csv", "/audit?action=pause.set&format=jsonl"
    ]  # fmt: skip
    for link in links(shown, "/audit?"):
        response, text = await export(served, link.partition("?")[2])
        assert response.status == 200
        assert "pause.end" not in text
