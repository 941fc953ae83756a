"""Panels are made once for all who look at them, and nobody is shown what is not for him."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from appliance.database import figures
from appliance.errors import DatabaseUnavailable
from appliance.permissions import Permission, Role
from appliance.web import shared_panels
from appliance.web.shared_panels import MOST, Key, SharedPanels
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import HTML, Page
from tests.web.wire import upload

PANELS = "/dashboard?fragment=panels"
KEY = Key(PANELS, frozenset({Permission.READ_ALL}))


class Kitchen:
    """Makes panels, when it is told to."""

    def __init__(self) -> None:
        self.orders = 0
        self.may_go_on = asyncio.Event()
        self.fails = False

    async def make(self) -> bytes:
        self.orders += 1
        number = self.orders
        await self.may_go_on.wait()
        if self.fails:
            raise DatabaseUnavailable("It is away.")
        return b"%d" % number


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


async def test_all_who_ask_at_once_get_the_same(kitchen: Kitchen) -> None:
    panels = SharedPanels()
    asking = [asyncio.create_task(panels.get(KEY, now=0.0, make=kitchen.make)) for _ in range(200)]
    await asyncio.sleep(0)
    asking[0].cancel()  # the one that began it goes away, and takes nothing from the others
    kitchen.may_go_on.set()
    bodies = {made.body for made in await asyncio.gather(*asking[1:])}
    assert (bodies, kitchen.orders) == ({b"1"}, 1)
    with pytest.raises(asyncio.CancelledError):
        await asking[0]


async def test_for_a_second_and_for_the_same_permissions(kitchen: Kitchen) -> None:
    panels = SharedPanels()
    kitchen.may_go_on.set()
    other = Key(PANELS, frozenset())
    for key, now, body in (
        (KEY, 0.0, b"1"), (KEY, 0.9, b"1"), (other, 0.9, b"2"), (KEY, 1.1, b"3"),
    ):  # fmt: skip
        assert (await panels.get(key, now=now, make=kitchen.make)).body == body


async def test_whoever_changed_something_gets_what_is_so_now(kitchen: Kitchen) -> None:
    panels = SharedPanels()
    before = asyncio.create_task(panels.get(KEY, now=0.0, make=kitchen.make))
    await asyncio.sleep(0)
    after = asyncio.create_task(panels.anew(KEY, now=0.1, make=kitchen.make))
    await asyncio.sleep(0)
    kitchen.may_go_on.set()
    assert ((await before).body, (await after).body) == (b"1", b"2")
    assert (await panels.get(KEY, now=0.2, make=kitchen.make)).body == b"2"  # the others too


async def test_a_failure_is_everybody_s_and_is_not_kept(kitchen: Kitchen) -> None:
    panels = SharedPanels()
    kitchen.fails = True
    kitchen.may_go_on.set()
    asking = [panels.get(KEY, now=0.0, make=kitchen.make) for _ in range(3)]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(one) for one in found} == {DatabaseUnavailable}
    kitchen.fails = False
    assert (await panels.get(KEY, now=0.1, make=kitchen.make)).body == b"2"


async def test_only_so_many_are_kept(kitchen: Kitchen) -> None:
    panels = SharedPanels()
    kitchen.may_go_on.set()
    for number in range(MOST + 5):
        await panels.get(Key(str(number), frozenset()), now=0.0, make=kitchen.make)
    assert len(panels._made) == MOST


@asynccontextmanager
async def asked(
    served: Served, path: str = PANELS, http: aiohttp.ClientSession | None = None, **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (http or served.admin).get(path, headers=HTML | names) as response:
        yield response


async def test_fifty_open_dashboards_cost_one_reading(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    read = []
    queue = figures.queue

    def counted() -> object:
        read.append(1)
        return queue()

    monkeypatch.setattr(figures, "queue", counted)
    monkeypatch.setattr(shared_panels, "FRESH_S", 3600.0)

    async def looks() -> str:
        async with asked(served) as response:
            return await response.text()

    found = await asyncio.gather(*(looks() for _ in range(50)))
    assert len(set(found)) == 1
    assert len(read) == 1


async def test_a_viewer_gets_no_buttons_of_others(serve: Serve, join: Join) -> None:
    served = await serve()
    await upload(served)
    people = [await join(served, role) for role in (Role.OPERATOR, Role.VIEWER, Role.OPERATOR)]
    buttons = []
    for person in people:
        async with asked(served, http=person.http) as response:
            buttons.append(len(list(Page(await response.text()).acts())))
    assert buttons[0] == buttons[2] > 0
    assert buttons[1] == 0
    anybody = await join(served, Role.USER)
    async with asked(served, http=anybody.http) as response:
        assert response.status == 403


async def test_what_is_shown_is_not_sent_again(serve: Serve) -> None:
    served = await serve()
    path = "/dashboard/audit?fragment=panels"
    async with asked(served, path) as response:
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Vary"] == "Accept-Encoding"
    async with asked(served, path, If_None_Match=tag) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == tag
    await served.json("PUT", "/pauses/type/PDF", json={"reason": "Holiday"})
    async with asked(served, f"{path}&fresh=1", If_None_Match=tag) as response:
        assert response.status == 200
        assert response.headers["ETag"] != tag
        assert "Holiday" in await response.text()


async def test_compressed_where_the_client_takes_it(serve: Serve) -> None:
    served = await serve()
    async with aiohttp.ClientSession(
        served.url, headers=served.admin.headers, auto_decompress=False
    ) as http:
        async with asked(served, http=http, Accept_Encoding="gzip") as response:
            assert response.headers["Content-Encoding"] == "gzip"
            small = gzip.decompress(await response.read())
        async with asked(served, http=http, Accept_Encoding="identity") as response:
            assert "Content-Encoding" not in response.headers
            assert await response.read() == small


async def test_one_s_own_act_is_seen_at_once(serve: Serve) -> None:
    served = await serve()
    job = await upload(served, name="mine.txt")
    async with asked(served) as response:
        assert f"/jobs/{job['jobId']}/cancel" in await response.text()
    await served.json("POST", f"/jobs/{job['jobId']}/cancel")
    async with asked(served, f"{PANELS}&fresh=1") as response:
        text = await response.text()
    assert f"/jobs/{job['jobId']}/cancel" not in text
    assert "fresh=1" not in text  # addresses on the page are those of the page
    async with asked(served) as response:
        assert await response.text() == text
