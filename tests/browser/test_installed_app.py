"""The upload page as an app, and how much of it comes at first."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests import media
from tests.browser.conftest import Visitor
from tests.browser.test_pages import WAIT_MS, a_file, card

pytestmark = pytest.mark.browser

FIRST_VIEW_BYTES = 100_000


async def test_a_browser_would_install_it(visitor: Visitor) -> None:
    devtools = await visitor.context.new_cdp_session(visitor.page)
    manifest = await devtools.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert manifest["manifest"]["shareTarget"]["method"] == "kPost"
    missing = await devtools.send("Page.getInstallabilityErrors")
    # The tests' windows are private ones, into which nothing is installed.
    assert {one["errorId"] for one in missing["installabilityErrors"]} <= {"in-incognito"}


async def test_the_first_view_is_small(visitor: Visitor) -> None:
    """Over the wire, with an upload in it; the large view is fetched when something is opened."""
    page = visitor.page
    await page.set_input_files("#choose", [a_file("cat.jpg", media.jpeg(640, 480), "image/jpeg")])
    await expect(card(page, "cat.jpg")).to_have_attribute(
        "data-status", "COMPLETED", timeout=WAIT_MS
    )
    devtools = await visitor.context.new_cdp_session(page)
    await devtools.send("Network.enable")
    await devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    modules: set[str] = set()
    page.on("request", lambda request: modules.add(request.url.rpartition("/")[2]))
    await page.reload(wait_until="load")
    await expect(page.locator(".picture-img").first).to_be_visible()
    assert len(sizes) > 15
    assert sum(sizes) < FIRST_VIEW_BYTES
    assert not modules & {"viewer.js", "player.js", "reader.js"}
    await card(page, "cat.jpg").locator(".picture").click()
    await expect(page.locator("#stage img")).to_be_visible()
    assert "viewer.js" in modules
    assert "reader.js" not in modules
