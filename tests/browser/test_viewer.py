"""The large view: a film with its storyboard, a PDF page by page with its text."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests import media
from tests.browser.conftest import Visitor
from tests.browser.test_pages import WAIT_MS, a_file, card

pytestmark = pytest.mark.browser


async def opened(page: Page, name: str, content: bytes, kind: str) -> None:
    await page.set_input_files("#choose", [a_file(name, content, kind)])
    await expect(card(page, name)).to_have_attribute("data-status", "COMPLETED", timeout=WAIT_MS)
    await card(page, name).locator(".picture").click()
    await expect(page.locator("#viewer")).to_be_visible()


async def test_a_moment_of_a_film_is_found_by_the_storyboard(visitor: Visitor) -> None:
    page = visitor.page
    await opened(page, "clip.mp4", media.mp4(4, codec="mpeg4"), "video/mp4")
    bar = page.get_by_role("slider", name="Position")
    await expect(bar).to_have_attribute("aria-valuemax", "4")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("button", name="Play")).to_be_visible()

    box = await bar.bounding_box()
    assert box is not None
    tile = page.locator(".seek-picture")
    seen = set()
    for share in (0.05, 0.95):
        await page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        await expect(tile).to_be_visible()
        style = await tile.evaluate(
            "tile => [tile.style.backgroundImage, tile.style.backgroundPosition]"
        )
        assert "/storyboard.webp" in style[0]
        seen.add(style[1])
    assert len(seen) == 2
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"])
    await page.mouse.up()
    await expect(bar).to_have_attribute("aria-valuenow", "2")
    await expect(page.locator(".player-time")).to_have_text("0:02 / 0:04")
    await page.mouse.move(0, 0)
    await expect(tile).to_be_hidden()

    await bar.focus()
    for key, now in (("Home", "0"), ("ArrowRight", "4"), ("ArrowLeft", "0"), ("End", "4")):
        await page.keyboard.press(key)
        await expect(bar).to_have_attribute("aria-valuenow", now)
        await expect(tile).to_be_visible()
    assert await bar.get_attribute("aria-valuetext") == "4 seconds of 4 seconds"
    await page.keyboard.press("Escape")
    await expect(page.locator("#viewer")).to_be_hidden()
    await expect(card(page, "clip.mp4").locator(".picture")).to_be_focused()


async def test_a_pdf_is_read_page_by_page_and_searched(visitor: Visitor) -> None:
    page = visitor.page
    await opened(page, "cat.jpg", media.jpeg(64, 48), "image/jpeg")
    await page.keyboard.press("Escape")
    await opened(page, "report.pdf", media.pdf(6, "Quarterly (2026)"), "application/pdf")
    count, text = page.locator(".reader-count"), page.locator(".reader-text")
    picture = page.locator(".reader-picture img")
    await expect(count).to_have_text("Page 1 of 6")
    await expect(text).to_contain_text("Page 1")
    assert await picture.evaluate("async image => { await image.decode(); return image.alt }") == (
        "report.pdf, page 1"
    )
    await page.keyboard.press("ArrowRight")
    await expect(count).to_have_text("Page 2 of 6")
    await expect(text).to_contain_text("Page 2")
    await page.keyboard.press("End")  # the preset draws five
    await expect(page.get_by_text("There is no picture of this page.")).to_be_visible()
    await expect(text).to_contain_text("Page 6")
    await page.keyboard.press("ArrowRight")
    await expect(count).to_have_text("Page 6 of 6")

    search = page.get_by_label("Search the text")
    await search.fill("pAgE  4")
    await expect(count).to_have_text("Page 4 of 6")
    await expect(page.locator(".reader-found")).to_have_text("1 of 1")
    await expect(page.locator("mark[data-now]")).to_have_text("Page 4")
    await search.fill("quarterly (2026)")  # as it stands, no pattern
    await expect(count).to_have_text("Page 1 of 6")
    await page.keyboard.press("Shift+Enter")  # backwards, so the last
    await expect(count).to_have_text("Page 6 of 6")
    await search.fill("nowhere")
    await expect(page.locator(".reader-found")).to_have_text("Not found")
    await page.keyboard.press("ArrowLeft")  # in the field, not in the pages
    await expect(count).to_have_text("Page 6 of 6")
    await page.keyboard.press("Escape")
    await expect(search).to_have_value("")
    await expect(page.locator("#viewer")).to_be_visible()
    await page.get_by_role("button", name="Next", exact=True).click()
    await expect(page.locator("#stage > img")).to_have_attribute("alt", "cat.jpg")
    await page.keyboard.press("Escape")
    await expect(page.locator("#viewer")).to_be_hidden()
    await expect(card(page, "cat.jpg").locator(".picture")).to_be_focused()
