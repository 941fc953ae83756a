"""Uploads from the page that are broken off, by the network, the person, the server or the clock,
and go on where they stopped.

What is asked of the server tells whether one goes on or begins anew: POST /files begins one,
the Upload-Offset of PATCH /files/{uploadId} says from where it goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, Request, Route, expect

from tests.acceptance.conftest import Server, new_server
from tests.browser.conftest import Visitor, sign_in, signed_in
from tests.browser.line import Line, line
from tests.conftest import Serve

__all__ = ["new_server"]

pytestmark = pytest.mark.browser

WAIT_MS = 30_000
SIZE = 3_000_000
SLOW = 500_000
"""Bytes a second: the whole takes six seconds, time enough to break it off."""


STUCK = 1_000_000


def text_file(folder: Path, name: str = "notes.txt", size: int = SIZE) -> Path:
    """Text that is another for every name, as long as it is asked to be."""
    line = "".join(random.Random(name).choices("abcdefgh ", k=999)) + "\n"
    path = folder / name
    path.write_text((line * (size // 1000 + 1))[:size])
    return path


def card(page: Page, name: str = "notes.txt") -> Locator:
    """Of an upload of this page's own; other tabs' jobs turn up beside it."""
    return page.locator(f'#now .card[data-seen]:has(.name[title="{name}"])')


def says(page: Page, name: str = "notes.txt") -> Locator:
    return card(page, name).locator(".says-text")


async def throttle(page: Page, bytes_per_s: int = SLOW) -> None:
    """What is sent; -1 lets it go again."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    await devtools.send(
        "Network.emulateNetworkConditions", {**limits, "uploadThroughput": bytes_per_s}
    )


async def until_part_is_there(page: Page, name: str = "notes.txt", part: float = 0.2) -> None:
    await page.wait_for_function(
        """([name, part]) => {
            const title = document.querySelector(`#now .name[title="${name}"]`);
            return title?.closest(".card").querySelector(".part-upload").value >= part;
        }""",
        arg=[name, part],
        timeout=WAIT_MS,
    )


class Asked:
    """What a page has asked of /files."""

    def __init__(self, page: Page) -> None:
        self.begun = 0
        self.offsets: list[int] = []
        page.on("request", self._heard)

    def _heard(self, request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/files"):
            self.begun += 1
        if request.method == "PATCH":
            self.offsets.append(int(request.headers["upload-offset"]))

    def went_on(self) -> bool:
        """Whether the last request sent what was not there, and not all of it."""
        return self.offsets[-1] > SIZE // 10


async def became_a_job(visitor: Visitor, path: Path) -> None:
    """The card shows its job, whose original is the file, to the byte."""
    shown = card(visitor.page, path.name)
    await expect(shown).to_have_attribute("data-status", "PENDING", timeout=WAIT_MS)
    job_id = await shown.get_attribute("data-job")
    async with visitor.served.admin.get(f"/jobs/{job_id}/files/original") as response:
        assert response.status == 200
        received = hashlib.sha256(await response.read()).digest()
    assert received == hashlib.sha256(path.read_bytes()).digest()


def excuse(visitor: Visitor, *provoked: str) -> None:
    """The console tells of every request that failed; these are what the test is about."""
    visitor.complaints[:] = [
        one for one in visitor.complaints if not any(word in one for word in provoked)
    ]


async def leave_in_the_middle(visitor: Visitor, road: Line, path: Path) -> Page:
    """Upload until the road is stuck, and close the tab; a new one of the same browser.

    The server does not hear of the closed tab: to it the old connection is still open.
    """
    road.stuck_after = STUCK
    await visitor.page.goto(road.url)
    await visitor.page.set_input_files("#choose", path)
    await until_bytes_are_kept(visitor)
    await visitor.page.close()
    road.stuck_after = None
    visitor.page = await visitor.context.new_page()
    visitor.page.set_default_timeout(WAIT_MS)
    visitor.listen(visitor.page)
    return visitor.page


def partials(visitor: Visitor) -> list[int]:
    """The sizes of what lies in the store, but for what is small."""
    files = (visitor.served.data_dir / "files").rglob("*")
    return [
        path.stat().st_size for path in files if path.is_file() and path.stat().st_size > STUCK / 2
    ]


async def until_bytes_are_kept(visitor: Visitor) -> None:
    async with asyncio.timeout(WAIT_MS / 1000):
        while not partials(visitor):
            await visitor.page.evaluate("() => new Promise(requestAnimationFrame)")


@pytest.fixture
async def visitor(serve: Serve, browser: Browser) -> Any:
    """On an appliance without workers: what arrives stays PENDING."""
    one = await signed_in(await serve(max_upload_bytes="8MiB"), browser)
    one.page.set_default_timeout(WAIT_MS)
    yield one
    await one.context.close()
    assert one.complaints == []


@pytest.fixture
async def road(visitor: Visitor) -> AsyncIterator[Line]:
    async with line(visitor.served.url) as one:
        yield one
        await visitor.page.close()


async def test_several_at_once_and_the_others_wait_their_turn(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.page
    await throttle(page)
    paths = [text_file(tmp_path, f"{n}.txt", 400_000) for n in range(5)]
    await page.set_input_files("#choose", paths)
    await expect(page.get_by_text("Waiting for its turn")).to_have_count(2)
    await expect(says(page, "0.txt")).to_have_text(
        re.compile(r"Uploading \d+%, [\d.]+ [KM]B/s, .+ left"), timeout=WAIT_MS
    )
    for path in paths:
        await became_a_job(visitor, path)


async def test_small_files_take_one_request_each(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    asked = Asked(page)
    path = text_file(tmp_path, size=10_000)
    await page.set_input_files("#choose", path)
    await became_a_job(visitor, path)
    assert asked.begun == 0


async def test_pause_and_go_on(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    asked = Asked(page)
    await throttle(page)
    path = text_file(tmp_path)
    await page.set_input_files("#choose", path)
    await until_part_is_there(page)
    await card(page).get_by_role("button", name="Pause").focus()
    await page.keyboard.press("Enter")
    await expect(says(page)).to_have_text(re.compile(r"Paused, [\d.]+ [KM]B kept"))
    # The same button has the focus still, and its other face.
    go_on = card(page).get_by_role("button", name="Go on")
    await expect(go_on).to_be_focused()
    # A free place: the next file does not wait for the pause to end.
    other = text_file(tmp_path, "other.txt", 300_000)
    await page.set_input_files("#choose", other)
    await became_a_job(visitor, other)
    await expect(says(page)).to_contain_text("Paused")
    await page.keyboard.press("Tab")
    await go_on.click()
    await became_a_job(visitor, path)
    assert asked.went_on()
    assert asked.begun == 2


async def test_a_lost_network_is_a_quiet_line(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    asked = Asked(page)
    await throttle(page)
    paths = [text_file(tmp_path, f"{n}.txt", 1_500_000) for n in range(4)]
    await page.set_input_files("#choose", paths)
    for path in paths[:3]:
        await until_part_is_there(page, path.name)
    await visitor.context.set_offline(True)
    for path in paths[:3]:
        await expect(says(page, path.name)).to_have_text(
            re.compile(r"Waiting for the network, [\d.]+ [KM]B kept")
        )
        await expect(card(page, path.name)).to_have_attribute("data-signal", "idle")
    # Who has not begun does not try in vain.
    await expect(says(page, "3.txt")).to_have_text("Waiting for its turn")
    await visitor.context.set_offline(False)
    for path in paths:
        await became_a_job(visitor, path)
    assert asked.begun == 4
    assert len([offset for offset in asked.offsets if offset > 150_000]) >= 3
    excuse(visitor, "ERR_INTERNET_DISCONNECTED")


async def test_the_same_file_goes_on_after_a_closed_tab(
    visitor: Visitor, road: Line, tmp_path: Path
) -> None:
    path = text_file(tmp_path)
    page = await leave_in_the_middle(visitor, road, path)
    asked = Asked(page)
    await page.goto(road.url)
    line = page.locator("#unfinished li")
    await expect(line).to_have_text(
        re.compile(
            r"notes\.txt\s*[\d.]+ [KM]B of 3\.0 MB are here\. "
            r"Choose the file again to go on\.\s*Remove"
        )
    )
    await page.set_input_files("#choose", path)
    await expect(line).to_have_count(0)
    await became_a_job(visitor, path)
    assert asked.begun == 0
    assert asked.went_on()

    # It is over: nothing is left to tell of, and the file once more is an upload of its own.
    await page.reload()
    await page.set_input_files("#choose", path)
    await became_a_job(visitor, path)
    assert asked.begun == 1
    assert await page.evaluate("localStorage.length") == 0


async def test_what_earlier_visits_left_can_be_removed(
    visitor: Visitor, road: Line, tmp_path: Path
) -> None:
    page = await leave_in_the_middle(visitor, road, text_file(tmp_path))
    await page.goto(road.url)
    async with page.expect_response(lambda one: one.request.method == "DELETE") as removed:
        await page.get_by_role("button", name="Remove notes.txt").click()
    assert (await removed.value).status == 204
    await expect(page.locator("#unfinished")).to_be_hidden()
    await page.wait_for_function("() => localStorage.length === 0")
    assert partials(visitor) == []


async def test_what_has_expired_is_forgotten_and_begun_anew(
    visitor: Visitor, road: Line, tmp_path: Path
) -> None:
    path = text_file(tmp_path)
    page = await leave_in_the_middle(visitor, road, path)
    await page.goto(f"{road.url}/healthz")
    stored = await page.evaluate("Object.entries(localStorage)")
    ended = await page.evaluate(
        "address => fetch(address, {method: 'DELETE'}).then(answer => answer.status)",
        json.loads(stored[0][1])["address"],
    )
    assert ended == 204
    asked = Asked(page)
    await page.goto(road.url)
    await page.wait_for_function("() => localStorage.length === 0")
    await expect(page.locator("#unfinished")).to_be_hidden()
    # Also when the page has not found out before the file is there.
    await page.evaluate("([[key, value]]) => localStorage.setItem(key, value)", stored)
    await page.set_input_files("#choose", path)
    await became_a_job(visitor, path)
    assert asked.begun == 1
    excuse(visitor, "410", "404")  # and there is no /favicon.ico


async def test_two_tabs_with_the_same_file_leave_each_other_alone(
    visitor: Visitor, tmp_path: Path
) -> None:
    first = visitor.page
    path = text_file(tmp_path)
    await throttle(first)
    await first.set_input_files("#choose", path)
    await until_part_is_there(first)
    first_asked = Asked(first)
    visitor.page = await visitor.context.new_page()
    visitor.listen(visitor.page)
    await visitor.page.goto(visitor.served.url)
    await expect(visitor.page.locator("#unfinished")).to_be_hidden()
    await visitor.page.set_input_files("#choose", path)
    await became_a_job(visitor, path)
    await throttle(first, -1)
    visitor.page = first
    await became_a_job(visitor, path)
    assert first_asked.offsets == []  # nobody broke in upon its one request
    assert len((await visitor.served.json("GET", "/jobs"))["jobs"]) == 2


async def test_cancel_frees_the_room_at_the_server(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    await throttle(page)
    await page.set_input_files("#choose", text_file(tmp_path))
    await until_part_is_there(page, part=0.3)
    await card(page).get_by_role("button", name="Pause").click()
    await expect(says(page)).to_contain_text("Paused")
    await until_bytes_are_kept(visitor)
    async with page.expect_response(lambda one: one.request.method == "DELETE") as removed:
        await card(page).get_by_role("button", name="Cancel").click()
    assert (await removed.value).status == 204
    assert partials(visitor) == []
    await expect(says(page)).to_have_text("Cancelled")
    await expect(card(page).get_by_role("button", name="Try again")).to_be_focused()
    await page.wait_for_function("() => localStorage.length === 0")


async def test_refusals_are_told_in_words(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    asked = Asked(page)
    disguised = tmp_path / "photo.jpg"
    disguised.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(SIZE))
    large = text_file(tmp_path, "large.txt", 9_000_000)
    good = text_file(tmp_path)
    await page.set_input_files("#choose", [disguised, large, good])
    await expect(says(page, "photo.jpg")).to_contain_text("the content is PNG")
    await expect(card(page, "photo.jpg")).to_have_attribute("data-status", "FAILED")
    await expect(says(page, "large.txt")).to_contain_text("larger than the 8.4 MB")
    await became_a_job(visitor, good)
    # By its first bytes: the rest was never sent.
    assert asked.begun == 2
    assert sorted(asked.offsets) == [0, 0, 16_384]
    excuse(visitor, "415")


async def test_a_file_that_changes_on_the_way_is_no_lost_network(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.page
    await throttle(page)
    path = text_file(tmp_path)
    await page.set_input_files("#choose", path)
    await until_part_is_there(page)
    await card(page).get_by_role("button", name="Pause").click()
    path.write_text("another\n" * 400_000)
    await card(page).get_by_role("button", name="Go on").click()
    await expect(says(page)).to_contain_text("was changed or moved while it was sent")
    excuse(visitor, "ERR_UPLOAD_FILE_CHANGED")


async def test_a_server_that_asks_for_patience_gets_it(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    asked = Asked(page)
    full = {"title": "The server's disk is full", "code": "storage_full", "detail": "No room."}

    async def refuse_once(route: Route) -> None:
        if route.request.method != "PATCH" or len(asked.offsets) != 2:
            await route.continue_()
            return
        await route.fulfill(status=507, headers={"Retry-After": "1"}, json=full)

    await page.route("**/files/*", refuse_once)
    path = text_file(tmp_path)
    await page.set_input_files("#choose", path)
    await expect(says(page)).to_have_text("No room. Trying again, 16.4 KB kept.")
    await became_a_job(visitor, path)
    assert asked.begun == 1
    assert asked.offsets == [0, 16_384, 16_384]
    excuse(visitor, "507")


async def test_a_lost_answer_begins_no_second_upload(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    addresses: list[str] = []

    async def lose_the_first(route: Route) -> None:
        answer = await route.fetch()
        addresses.append(answer.headers["location"])
        if len(addresses) == 1:
            await route.abort("connectionreset")
        else:
            await route.fulfill(response=answer)

    await page.route("**/files", lose_the_first)
    path = text_file(tmp_path)
    await page.set_input_files("#choose", path)
    await became_a_job(visitor, path)
    assert len(addresses) == 2
    assert addresses[0] == addresses[1]
    excuse(visitor, "ERR_CONNECTION_RESET")


async def test_the_pace_is_smooth_and_sinks_where_nothing_moves(visitor: Visitor) -> None:
    told = await visitor.page.evaluate(
        """async () => {
            const { Pace } = await import("/static/pace.js");
            const [pace, told] = [new Pace(1e6, 0), []];
            pace.tell(5e6, 300);  // into the buffers of the network, not over it
            told.push(pace.rate);
            for (let s = 1; s <= 20; s += 1) {
                pace.tell(5e6 + s * 1e6, s * 1000);
                told.push(pace.rate);
            }
            for (let s = 21; s <= 50; s += 1) pace.tell(25e6, s * 1000);
            told.push(pace.rate);
            return told;
        }"""
    )
    first, *moving, stalled = told
    assert first == 0
    assert moving == sorted(moving, reverse=True)  # no jumps: only the burst is forgotten
    assert 1e6 <= moving[-1] < 1.1e6
    assert 0 < stalled < 0.01e6


async def test_an_expired_session_keeps_what_is_there(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    asked = Asked(page)
    await throttle(page)
    path = text_file(tmp_path)
    await page.set_input_files("#choose", path)
    await until_part_is_there(page)
    await card(page).get_by_role("button", name="Pause").click()
    cookies = await visitor.context.cookies()
    await visitor.context.clear_cookies()
    await card(page).get_by_role("button", name="Go on").click()
    await expect(says(page)).to_have_text(
        re.compile(r"Your session has ended, [\d.]+ [KM]B kept\. Sign in to go on\.")
    )
    link = card(page).get_by_role("link", name="Sign in")
    assert await link.get_attribute("href") == "/signin?next=/"
    async with visitor.context.expect_page() as opened:
        await link.click()
    other = await opened.value
    await other.wait_for_url("**/signin?next=/")
    await visitor.context.add_cookies(cookies)  # type: ignore[arg-type]
    await other.close()
    await page.bring_to_front()
    await throttle(page, -1)
    # By itself when the tab has the focus again, and by the button.
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await became_a_job(visitor, path)
    assert asked.begun == 1
    assert asked.went_on()
    excuse(visitor, "401")


async def test_a_killed_server_is_waited_for(
    new_server: Callable[..., Server],
    browser: Browser,
    tmp_path: Path,
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    server = new_server(port=port, workers_any="0")
    await server.start()
    context: BrowserContext = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(WAIT_MS)
    await sign_in(page, server.url, server.key)
    asked = Asked(page)
    await throttle(page)
    path = text_file(tmp_path)
    await page.set_input_files("#choose", path)
    # A killed server has what it had told to be there. The pause makes it tell.
    await until_part_is_there(page)
    await card(page).get_by_role("button", name="Pause").click()
    async with page.expect_request(lambda one: one.method == "PATCH") as again:
        await card(page).get_by_role("button", name="Go on").click()
    told = int((await again.value).headers["upload-offset"])
    await server.end(signal.SIGKILL)
    await expect(says(page)).to_have_text(re.compile(r"Waiting for the server, [\d.]+ [KM]B kept"))
    await server.start()
    await throttle(page, -1)
    await expect(card(page)).to_have_attribute("data-job", re.compile(r"."), timeout=WAIT_MS)
    assert asked.begun == 1
    assert asked.offsets[-1] >= told > 0
    job_id = await card(page).get_attribute("data-job")
    received = await server.bytes_of(f"/jobs/{job_id}/files/original")
    assert received == path.read_bytes()
    await context.close()


async def test_after_a_rate_limit_all_arrive(
    serve: Serve, browser: Browser, tmp_path: Path
) -> None:
    visitor = await signed_in(await serve(rate_uploads="4/s"), browser)
    names = [f"{number}.txt" for number in range(8)]
    paths = [text_file(tmp_path, name, 1000) for name in names]
    await visitor.page.set_input_files("#choose", paths)
    for name in names:
        await expect(card(visitor.page, name)).to_have_attribute(
            "data-status", "PENDING", timeout=WAIT_MS
        )
    assert visitor.complaints  # somebody was told to wait
    excuse(visitor, "429")
    assert visitor.complaints == []
    await visitor.context.close()


async def test_a_rate_limit_is_not_asked_for_every_file_that_waits(
    serve: Serve, browser: Browser, tmp_path: Path
) -> None:
    visitor = await signed_in(await serve(rate_uploads="4/min"), browser)
    refused: list[str] = []
    visitor.page.on("response", lambda told: told.status == 429 and refused.append(told.url))
    await visitor.page.set_input_files(
        "#choose", [text_file(tmp_path, f"{number}.txt", 1000) for number in range(20)]
    )
    held = visitor.page.get_by_text("The server asked to wait 15 s. Trying again.")
    await expect(held.first).to_be_visible(timeout=WAIT_MS)
    waiting = visitor.page.locator("#now").get_by_text("Waiting for its turn")
    await expect(visitor.page.locator("#now .card[data-status=PENDING]")).to_have_count(4)
    assert await waiting.count() >= 20 - 4 - 3  # as many as are sent at a time
    assert 1 <= len(refused) <= 3
    await visitor.context.close()
