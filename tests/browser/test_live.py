"""Pages that stay open: they ask while somebody looks, and miss nothing while the network is away.

Time on the page is the test's: `run_for` lets two seconds of it pass at once.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Request, Response, expect

from appliance.permissions import Role
from tests.browser.conftest import Visitor, signed_in
from tests.browser.line import line
from tests.conftest import Serve
from tests.web.wire import claim, complete, upload

pytestmark = pytest.mark.browser

WAIT_MS = 15_000
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def is_of_panels(sent: Request | Response) -> bool:
    return "fragment=panels" in sent.url


async def two_seconds(page: Page) -> Response:
    """Let them pass, and wait for the answer to what the page asks then."""
    async with page.expect_response(is_of_panels) as answered:
        await page.clock.run_for(2000)
    return await answered.value


async def opened(serve: Serve, browser: Browser, path: str) -> Visitor:
    visitor = await signed_in(await serve(), browser, role=Role.ADMIN)
    visitor.page.set_default_timeout(WAIT_MS)
    await visitor.page.clock.install()
    await visitor.page.goto(visitor.served.url + path)
    return visitor


async def test_what_is_shown_already_is_not_sent_again(serve: Serve, browser: Browser) -> None:
    visitor = await opened(serve, browser, "/dashboard/audit")
    page, served = visitor.page, visitor.served
    assert (await two_seconds(page)).status == 200
    assert (await two_seconds(page)).status == 304
    await expect(page.locator("#panels")).to_contain_text("Nothing was done yet.")
    await expect(page.locator("#connection")).to_have_text("")
    await served.json("PUT", "/pauses/type/PDF", json={"reason": "Holiday"})
    while (await two_seconds(page)).status == 304:
        pass  # the server's second is a real one
    await expect(page.locator("#panels")).to_contain_text("Holiday")
    await visitor.context.close()
    assert visitor.complaints == []


async def test_nobody_looks_and_nothing_is_asked(serve: Serve, browser: Browser) -> None:
    visitor = await opened(serve, browser, "/dashboard")
    page = visitor.page
    asked: list[str] = []
    page.on("request", lambda request: is_of_panels(request) and asked.append(request.url))
    await page.evaluate(HIDE, True)
    await page.clock.run_for(60_000)
    assert asked == []
    await upload(visitor.served, name="meanwhile.txt")
    async with page.expect_response(is_of_panels):
        await page.evaluate(HIDE, False)  # at once, not at its next time
    await expect(page.locator("table.jobs")).to_contain_text("meanwhile.txt")
    assert len(asked) == 1
    await two_seconds(page)  # and on as before
    await visitor.context.close()


async def test_a_dashboard_without_a_network_catches_up(serve: Serve, browser: Browser) -> None:
    visitor = await opened(serve, browser, "/dashboard")
    page, served = visitor.page, visitor.served
    await visitor.context.set_offline(True)
    await page.clock.run_for(2000)
    connection = page.locator("#connection")
    await expect(connection).to_contain_text("No answer from the server.")
    job = await upload(served, name="meanwhile.txt")
    await claim(served, job["jobId"])
    await complete(served, job["jobId"])
    await visitor.context.set_offline(False)
    async with page.expect_response(is_of_panels):
        await page.clock.run_for(60_000)
    await expect(page.locator("table.jobs tbody tr")).to_contain_text("Done")
    await expect(connection).to_have_text("")
    await visitor.context.close()


async def test_a_cut_stream_of_events_misses_no_end(
    serve: Serve, browser: Browser, tmp_path: Path
) -> None:
    """The job ends while the upload page's stream is cut; the page is told when it is back."""
    visitor = await signed_in(await serve(), browser)
    page, served = visitor.page, visitor.served
    page.set_default_timeout(WAIT_MS)
    streams: list[Request] = []
    page.on("request", lambda request: "/events" in request.url and streams.append(request))
    async with line(served.url) as road:
        await page.goto(road.url)
        file = tmp_path / "note.txt"
        file.write_text("words")
        await page.locator("input[type=file]").first.set_input_files(file)
        card = page.locator(".card", has_text="note.txt")
        await expect(card).to_contain_text("In the queue")
        (job,) = (await served.json("GET", "/jobs"))["jobs"]
        road.cut()
        await claim(served, job["jobId"])
        await complete(served, job["jobId"])
        await expect(card).to_contain_text("Done")
        # Not those of the page that came before, which went past the line.
        through = [stream for stream in streams if stream.url.startswith(road.url)]
        first, *others = [await stream.all_headers() for stream in through]
        assert "last-event-id" not in first
        assert others  # it came back, at the first try or a later one, and said where it broke off
        assert all(again["last-event-id"].isdecimal() for again in others)
        await visitor.context.close()
